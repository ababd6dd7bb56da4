"""F2, flat pointers: unsigned indices into bare memory, and the loop split where the window wraps.

Idea: Take x as a pointer and step through it, as a C programmer would. An array of Numba's carries its strides
along and tests every index for being negative; a pointer with an unsigned index does neither.

Prediction: SASS instructions per FMA in the loop 45.5 → 6.6.

Changed against F1: the arrays arrive as pointers, the sizes as unsigned 32-bit numbers. The window is two runs of
channels, before the wrap and after it, so that no comparison with C is left in the loop. `while` with an unsigned
counter, since `range` counts in signed 64 bits. Numba makes 64 bits of u32 + u32, so sums are cast back, but for
those that index x and y: there, 64 bits are what an array past 2³² elements needs.
"""

from __future__ import annotations

from numba import cuda, uint32, uint64

from scc_numba.device import jit
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile

MOST_BLOCKS = 65_535  # in y and z


@jit(pointers=True)
def forward_flat_pointers(x, weight, bias, y, N, C, K, P, G, S):
    # x: (N, C, P), weight: (K, G), bias: (K,), y: (N, K, P)
    p = uint32(uint32(cuda.blockIdx.x) * uint32(cuda.blockDim.x) + uint32(cuda.threadIdx.x))
    if p < P:
        n = uint32(cuda.blockIdx.z)
        while n < N:
            k = uint32(cuda.blockIdx.y)
            while k < K:
                start = uint32(k * S % C)
                total = bias[k]
                at = (uint64(n) * C + start) * P + p  # seek to x[n, start, p]
                j = uint64(k) * G
                wrap = j + min(G, uint32(C - start))
                end = j + G
                while j < wrap:
                    total += x[at] * weight[j]
                    at += P
                    j += uint32(1)
                at -= C * P  # back to channel 0
                while j < end:
                    total += x[at] * weight[j]
                    at += P
                    j += uint32(1)
                y[(uint64(n) * K + k) * P + p] = total
                k = uint32(k + uint32(cuda.gridDim.y))
            n = uint32(n + uint32(cuda.gridDim.z))


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """Threads of a block, all along the pixels: few where an image is small."""
    return ((128,), (32,), (256,)) if layer.pixels > 64 else ((32,), (64,))


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Pixels along x, filters along y, images along z."""
    (threads,) = tile or tiles(layer)[0]
    N, C, P = layer.input_shape
    K, G = layer.weight_shape
    grid = (-(-P // threads), min(K, MOST_BLOCKS), min(N, MOST_BLOCKS))
    return Launch(forward_flat_pointers, grid, (threads, 1, 1), scalars=(N, C, K, P, G, layer.channels.step))


RUNG = Rung(
    "forward",
    "f2",
    "flat pointers, unsigned indices",
    build,
    tiles,
    tile_names=("threads",),
    prediction=Prediction(
        "SASS instructions per FMA", at_most=7, words="SASS instructions per FMA in the loop: 45.5 → 6.6"
    ),
)
