"""Setting a result to zero, for kernels that add to it. A launch of its own, so that it is counted too."""

from __future__ import annotations

import math

from numba import cuda

from scc_numba.device import jit
from scc_numba.kernels.rung import Launch

THREADS = 256


@jit
def fill_with_zero(array):
    i = cuda.grid(1)  # array: (size,)
    if i < array.size:
        array[i] = 0.0


def zero(shape: tuple[int, ...]) -> Launch:
    """The launch that sets an array of this shape, viewed flat, to zero."""
    return Launch(fill_with_zero, grid=(-(-math.prod(shape) // THREADS), 1, 1), block=(THREADS, 1, 1))
