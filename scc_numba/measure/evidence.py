"""The figures that predictions are about: a name, and how a rung's figure is found. No GPU is needed for any."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scc_reference import SlidingChannels

from scc_numba.kernels import Layer, Rung
from scc_numba.measure.line_view import profile_rung
from scc_numba.measure.ptx import compile_to_ptx, integer_divisions

# Small enough to be emulated at once, large enough that no block is all tail.
LAYER = Layer(SlidingChannels(32, 32, groups=4, overlap=0.5), batch=2, pixels=256, dtype=np.dtype(np.float32))
WARP = 32


def divisions(rung: Rung) -> float:
    """Integer divisions and remainders in the compiled kernel; a GPU has no instruction for them."""
    return integer_divisions(compile_to_ptx(rung.build(LAYER), rung.op, LAYER, "sm_90"))


def atomic_requests(rung: Rung) -> float:
    """Atomic instructions that warps issue, for every 32 products of the operation."""
    return profile_rung(rung, LAYER).atomics.requests / (LAYER.multiply_adds / WARP)


METRICS: dict[str, Callable[[Rung], float]] = {
    "divisions": divisions,
    "atomic requests per 32 products": atomic_requests,
}


def figure(rung: Rung, metric: str) -> float:
    """The rung's figure.

    Raises:
        KeyError: there is no such metric.
    """
    return METRICS[metric](rung)
