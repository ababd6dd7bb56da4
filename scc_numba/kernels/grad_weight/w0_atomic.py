"""W0, atomics: one thread per output gradient, one atomic addition per product.

Idea: The thread of output (n, k, p) walks along its window once more and adds x · grad_output to each weight
of its filter. All N·P threads of a filter add to the same G weights, hence atomically. The paper's code does so.

Prediction: none; this is the baseline.

What to look at: neighbouring threads are neighbouring pixels of one filter, so all 32 threads of a warp add to
one address at the same time. Nothing could queue longer.
"""

from __future__ import annotations

import math

from numba import cuda

from scc_numba.device import jit
from scc_numba.kernels.rung import Launch, Layer, Rung, Tile
from scc_numba.kernels.zero import zero


@jit
def grad_weight_atomic(grad_output, x, grad_weight, step):
    N, C, P = x.shape  # grad_output: (N, K, P), x: (N, C, P)
    K, G = grad_weight.shape  # grad_weight: (K, G), all zero at the start
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        gradient = grad_output[n, k, p]
        for j in range(G):
            c = (k * step + j) % C
            cuda.atomic.add(grad_weight, (k, j), gradient * x[n, c, p])


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """Threads of a block: any number is right."""
    return (128,), (32,), (256,), (1024,)


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """One thread per output gradient, in one long row of blocks, after the result was set to zero."""
    (threads,) = tile or tiles(layer)[0]
    blocks = -(-math.prod(layer.output_shape) // threads)
    return Launch(
        grad_weight_atomic,
        (blocks, 1, 1),
        (threads, 1, 1),
        scalars=(layer.channels.step,),
        zeroed=zero(layer.weight_shape),
    )


RUNG = Rung(
    "grad_weight",
    "w0",
    "one atomic per product",
    build,
    tiles,
    tile_names=("threads",),
    deterministic=False,
)
