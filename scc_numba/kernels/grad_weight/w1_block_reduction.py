"""W1, block reduction: a block sums its products in shared memory, then adds once.

Idea: Let a whole block work on one weight. Each thread sums a few products in a register, the block adds its
threads' sums pairwise in shared memory, halving the number each time, and one thread does the one atomic.

Prediction: atomic requests for every 32 products 1 → 1/16, on a layer with 512 products behind each weight.

What to look at: on small images (7×7) the instructions rise, since most threads of a block have nothing to sum.

Changed against W0: a block stands for a weight (k, j) and a part of the pixels of all images; its sum meets
those of the other parts in one atomic. Between two halvings every thread must have written before any
reads: that is what the barrier is for. Threads without a product add zero, and still reach every barrier.
"""

from __future__ import annotations

from functools import cache

import numba
import numpy as np
from numba import cuda

from scc_numba.device import Kernel, jit
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.zero import zero

MOST_BLOCKS = 65_535  # in y and z
PIXELS = 8  # of each image, that a thread sums before the block reduces


@cache
def kernel(threads: int, dtype: np.dtype) -> Kernel:
    """The kernel for blocks of `threads`, a power of two: shared arrays have a size the compiler knows."""
    number = numba.from_dtype(dtype)

    @jit
    def grad_weight_block_reduction(grad_output, x, grad_weight, step):
        N, C, P = x.shape  # grad_output: (N, K, P), x: (N, C, P)
        K, G = grad_weight.shape  # grad_weight: (K, G), all zero at the start
        sums = cuda.shared.array(threads, number)
        t = cuda.threadIdx.x
        k = cuda.blockIdx.z
        while k < K:
            j = cuda.blockIdx.y
            while j < G:
                c = (k * step + j) % C
                total = number(0)
                for n in range(N):
                    p = cuda.grid(1)
                    while p < P:
                        total += grad_output[n, k, p] * x[n, c, p]
                        p += cuda.gridsize(1)
                sums[t] = total
                cuda.syncthreads()
                half = threads // 2
                while half > 0:
                    if t < half:
                        sums[t] += sums[t + half]
                    cuda.syncthreads()
                    half //= 2
                if t == 0:
                    cuda.atomic.add(grad_weight, (k, j), sums[0])
                j += cuda.gridDim.y
            k += cuda.gridDim.z

    return grad_weight_block_reduction


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """Threads of a block, a power of two: few where an image is small."""
    return ((128,), (32,), (256,), (1024,)) if layer.pixels > 64 else ((32,), (64,), (128,))


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Pixels along x, offsets along y, filters along z."""
    (threads,) = tile or tiles(layer)[0]
    K, G = layer.weight_shape
    grid = (-(-layer.pixels // (threads * PIXELS)), min(G, MOST_BLOCKS), min(K, MOST_BLOCKS))
    return Launch(
        kernel(threads, layer.dtype),
        grid,
        (threads, 1, 1),
        scalars=(layer.channels.step,),
        zeroed=zero(layer.weight_shape),
    )


RUNG = Rung(
    "grad_weight",
    "w1",
    "block reduction, one atomic per block",
    build,
    tiles,
    tile_names=("threads",),
    deterministic=False,
    prediction=Prediction(
        "atomic requests per 32 products", at_most=1 / 16, words="atomic requests per 32 products: 1 → 1/16"
    ),
)
