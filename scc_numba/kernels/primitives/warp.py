"""A sum over the 32 lanes of a warp, through registers alone.

distance 16      8       4       2       1
lane 0   a0+a16  +a8+a24 …                  every lane adds the value of the lane at that distance;
lane 1   a1+a17  +a9+a25 …                  after five steps each holds the sum of all 32
"""

from __future__ import annotations

from numba import cuda

WHOLE_WARP = 0xFFFFFFFF


@cuda.jit(device=True)
def warp_sum(value):
    """`warp_sum(value)`: the sum of the lanes' values, in every lane. All 32 lanes must call it."""
    value += cuda.shfl_xor_sync(WHOLE_WARP, value, 16)
    value += cuda.shfl_xor_sync(WHOLE_WARP, value, 8)
    value += cuda.shfl_xor_sync(WHOLE_WARP, value, 4)
    value += cuda.shfl_xor_sync(WHOLE_WARP, value, 2)
    value += cuda.shfl_xor_sync(WHOLE_WARP, value, 1)
    return value
