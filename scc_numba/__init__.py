"""Sliding-channel convolution in Numba-CUDA, climbed rung by rung."""

from scc_numba.device.simulator import prepare as _prepare_simulator

__version__ = "0.1.0"

# Numba reads its simulator switch when it is first imported, and every room may import it.
_prepare_simulator()
