"""X0, scatter: one thread per output, which adds to every input its filter read.

Idea: Turn the forward kernel around: the thread of output (n, k, p) walks along its window and adds its share
of the gradient to each channel. Many filters read a channel, so the additions must be atomic.

Prediction: none; this output-centric kernel is the baseline, and what the paper improves on.

What to look at: one atomic addition per product. Atomics on one address queue up, they come in no fixed order
(so two runs differ in the last bits), and the gradient has to be set to zero first.
"""

from __future__ import annotations

import math

from numba import cuda

from scc_numba.device import jit
from scc_numba.kernels.rung import Launch, Layer, Rung, Tile
from scc_numba.kernels.zero import zero


@jit
def grad_input_scatter(grad_output, weight, grad_input, step):
    N, C, P = grad_input.shape  # grad_output: (N, K, P), grad_input: (N, C, P), all zero at the start
    K, G = weight.shape  # weight: (K, G)
    i = cuda.grid(1)
    if i < N * K * P:
        p = i % P
        k = i // P % K
        n = i // P // K
        gradient = grad_output[n, k, p]
        for j in range(G):
            c = (k * step + j) % C
            cuda.atomic.add(grad_input, (n, c, p), gradient * weight[k, j])


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """Threads of a block: any number is right."""
    return (128,), (32,), (256,), (1024,)


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """One thread per output, in one long row of blocks, after the gradient was set to zero."""
    (threads,) = tile or tiles(layer)[0]
    blocks = -(-math.prod(layer.output_shape) // threads)
    return Launch(
        grad_input_scatter,
        (blocks, 1, 1),
        (threads, 1, 1),
        scalars=(layer.channels.step,),
        zeroed=zero(layer.input_shape),
    )


RUNG = Rung(
    "grad_input",
    "x0",
    "scatter with atomics",
    build,
    tiles,
    tile_names=("threads",),
    deterministic=False,
)
