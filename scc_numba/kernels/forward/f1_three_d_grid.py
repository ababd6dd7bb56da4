"""F1, 3-D grid: the hardware hands out (n, k, p), and the window wraps without a division.

Idea: Let the three dims of the grid be pixels, filters and images, so that a thread reads its (n, k, p) from
registers instead of dividing for it; walk the window with a running channel that a comparison wraps.

Prediction: integer divisions in the compiled kernel 18 → 2. The one in the source is left, for the first channel of
the window; the compiler makes two of it, a quick one for small numbers and a full one.

Changed against F0: the grid; the running channel c. A grid has at most 65,535 blocks in y and z, so filters
and images are walked in strides of the grid: one step, unless there are more of them than that.
"""

from __future__ import annotations

from numba import cuda

from scc_numba.device import jit
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile

MOST_BLOCKS = 65_535  # in y and z


@jit
def forward_three_d_grid(x, weight, bias, y, step):
    N, C, P = x.shape  # x: (N, C, P)
    K, G = weight.shape  # weight: (K, G), bias: (K,), y: (N, K, P)
    p = cuda.grid(1)
    if p < P:
        n = cuda.blockIdx.z
        while n < N:
            k = cuda.blockIdx.y
            while k < K:
                total = bias[k]
                c = k * step % C
                for j in range(G):
                    total += x[n, c, p] * weight[k, j]
                    c += 1
                    if c == C:
                        c = 0
                y[n, k, p] = total
                k += cuda.gridDim.y
            n += cuda.gridDim.z


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """Threads of a block, all along the pixels: few where an image is small."""
    return ((128,), (32,), (256,)) if layer.pixels > 64 else ((32,), (64,))


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Pixels along x, filters along y, images along z."""
    (threads,) = tile or tiles(layer)[0]
    N, K, P = layer.output_shape
    grid = (-(-P // threads), min(K, MOST_BLOCKS), min(N, MOST_BLOCKS))
    return Launch(forward_three_d_grid, grid, (threads, 1, 1), scalars=(layer.channels.step,))


RUNG = Rung(
    "forward",
    "f1",
    "3-D grid, no division in the loop",
    build,
    tiles,
    tile_names=("threads",),
    prediction=Prediction("divisions", at_most=2, words="divisions in the compiled kernel: 18 → 2"),
)
