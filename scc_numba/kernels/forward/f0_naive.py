"""F0, naive: one thread per output.

Idea: Give each output its own thread, which walks along its filter's window. This is the paper's kernel, and
reads like the formula.

Prediction: none; this is the baseline that every other rung is measured against.

What to look at: a thread finds its (n, k, p) by dividing its number, and wraps every channel with a `%`. Both
are 64-bit divisions, which a GPU has no instruction for: each becomes dozens. The loads, though, are already
coalesced: neighbouring threads are neighbouring pixels.
"""

from __future__ import annotations

import math

from numba import cuda

from scc_numba.device import jit
from scc_numba.kernels.rung import Launch, Layer, Rung, Tile


@jit
def forward_naive(x, weight, bias, y, step):
    N, C, P = x.shape  # x: (N, C, P)
    K, G = weight.shape  # weight: (K, G), bias: (K,), y: (N, K, P)
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        total = bias[k]
        for j in range(G):
            total += x[n, (k * step + j) % C, p] * weight[k, j]
        y[n, k, p] = total


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """Threads of a block: any number is right."""
    return (128,), (32,), (256,), (1024,)


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """One thread per output, in one long row of blocks."""
    (threads,) = tile or tiles(layer)[0]
    blocks = -(-math.prod(layer.output_shape) // threads)
    return Launch(forward_naive, (blocks, 1, 1), (threads, 1, 1), scalars=(layer.channels.step,))


RUNG = Rung("forward", "f0", "naive: one thread per output", build, tiles, tile_names=("threads",))
