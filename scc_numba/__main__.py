"""`python -m scc_numba` is the `scc-numba` command."""

from scc_numba.cli import main

main()
