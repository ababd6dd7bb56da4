"""X1, gather: one thread per input, which collects from every filter that read it.

Idea: Give each input element the thread, and let it look up the filters whose window holds its channel. One
thread owns the sum, so nothing is atomic: the paper's input-centric backward.

Prediction: atomic requests for every 32 products 1 → 0.

Changed against X0: threads stand for (n, c, p). To find the filters that read channel c, unroll the channels:
without wrapping, filter k reads k·S to k·S + G − 1, and channel c comes by once a lap, as v = c, c + C, c + 2C and
so on. The last filter to start at or before v is v // S; those before it hold v too, as long as v lies less than G
behind their start. (With an overlap above one half that is more than two filters: stopping at two is a known
mistake.)
"""

from __future__ import annotations

from numba import cuda

from scc_numba.device import jit
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile

MOST_BLOCKS = 65_535  # in y and z


@jit
def grad_input_gather(grad_output, weight, grad_input, step):
    N, C, P = grad_input.shape  # grad_output: (N, K, P), grad_input: (N, C, P)
    K, G = weight.shape  # weight: (K, G)
    p = cuda.grid(1)
    if p < P:
        n = cuda.blockIdx.z
        while n < N:
            c = cuda.blockIdx.y
            while c < C:
                total = grad_input.dtype.type(0)
                v = c
                while v < (K - 1) * step + G:
                    k = v // step
                    j = v - k * step  # offset of the channel in filter k's window
                    while j < G and k >= 0:
                        if k < K:
                            total += grad_output[n, k, p] * weight[k, j]
                        k -= 1
                        j += step
                    v += C
                grad_input[n, c, p] = total
                c += cuda.gridDim.y
            n += cuda.gridDim.z


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """Threads of a block, all along the pixels: few where an image is small."""
    return ((128,), (32,), (256,)) if layer.pixels > 64 else ((32,), (64,))


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Pixels along x, channels along y, images along z."""
    (threads,) = tile or tiles(layer)[0]
    N, C, P = layer.input_shape
    grid = (-(-P // threads), min(C, MOST_BLOCKS), min(N, MOST_BLOCKS))
    return Launch(grad_input_gather, grid, (threads, 1, 1), scalars=(layer.channels.step,))


RUNG = Rung(
    "grad_input",
    "x1",
    "gather: one thread per input, no atomics",
    build,
    tiles,
    tile_names=("threads",),
    prediction=Prediction(
        "atomic requests per 32 products", at_most=0, words="atomic requests per 32 products: 1 → 0"
    ),
)
