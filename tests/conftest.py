"""Every test runs on the backend that `scc_numba.device` chooses; it must be loaded before Numba is."""

import scc_numba  # noqa: F401
