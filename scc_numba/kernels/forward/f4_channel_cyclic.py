"""F4, channel-cyclic: a thread computes several filters from one read of their window.

Idea: Filters k, k + D, k + 2D, … read the same window, for after D steps it has gone round. Let a thread compute
FILTERS of them at once, each in a register of its own: an element of x is loaded once and used FILTERS times.

Prediction: loads per FMA in the loop 2 → 1.0625. One of x for 16 filters, and a weight for each; the weights are
the same for all lanes of a warp, so that a request for one is a single sector.

What to look at: a class of M = K / D filters has to be there. With M = 1 nothing is shared, and nothing is gained.

Changed against F3: blocks walk along y through classes and groups of FILTERS in them, no more through filters.
The sums live in a local array; all its indices are constants once the loop over it is unrolled, so it is registers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, jit
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile

MOST_BLOCKS = 65_535  # in y and z


@cache
def kernel(sizes: tuple[int, int, int, int, int], filters: int) -> Kernel:
    """The kernel for layers of sizes (C, K, P, G, S), with `filters` of a class to a thread."""
    C, K, P, G, S = map(np.uint32, sizes)
    D = C // np.gcd(C, S)
    ONE, FILTERS = np.uint32(1), np.uint32(filters)
    GROUPS = (K + D * FILTERS - ONE) // (D * FILTERS)  # of FILTERS, in the largest class
    WORK = min(D, K) * GROUPS
    EXACT = bool(K % (D * FILTERS) == 0)  # then no group is cut short
    SIZE = filters

    @jit(pointers=True)
    def forward_channel_cyclic(x, weight, bias, y, N):
        # x: (N, C, P), weight: (K, G), bias: (K,), y: (N, K, P)
        sums = cuda.local.array(SIZE, float32)
        p = uint32(uint32(cuda.blockIdx.x) * uint32(cuda.blockDim.x) + uint32(cuda.threadIdx.x))
        if p < P:
            n = uint32(cuda.blockIdx.z)
            while n < N:
                work = uint32(cuda.blockIdx.y)
                while work < WORK:
                    d = uint32(work // GROUPS)  # the class: k = d, d + D, d + 2D, …
                    first = uint32(d + uint32(work % GROUPS) * FILTERS * D)
                    start = uint32(d * S % C)
                    for i in range(FILTERS):
                        sums[i] = float32(0)
                    at = (uint64(n) * C + start) * P + p  # seek to x[n, start, p]
                    j = uint64(first) * G
                    wrap = j + min(G, uint32(C - start))
                    end = j + G
                    while j < wrap:
                        value = x[at]
                        for i in range(FILTERS):
                            if EXACT or first + i * D < K:
                                sums[i] += value * weight[j + i * D * G]
                        at += P
                        j += ONE
                    at -= C * P  # back to channel 0
                    while j < end:
                        value = x[at]
                        for i in range(FILTERS):
                            if EXACT or first + i * D < K:
                                sums[i] += value * weight[j + i * D * G]
                        at += P
                        j += ONE
                    for i in range(FILTERS):
                        k = uint32(first + i * D)
                        if EXACT or k < K:
                            y[(uint64(n) * K + k) * P + p] = sums[i] + bias[k]
                    work = uint32(work + uint32(cuda.gridDim.y))
                n = uint32(n + uint32(cuda.gridDim.z))

    return forward_channel_cyclic


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """(threads, filters): as many filters as a class has, up to 16; few threads where images are small."""
    most = min(16, 1 << (layer.class_size.bit_length() - 1))
    threads = (128, 32) if layer.pixels > 64 else (32, 64)
    offered = [(threads[0], most), (threads[1], most), (threads[0], min(4, most))]
    return tuple(dict.fromkeys(offered))


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Pixels along x, classes and their groups of filters along y, images along z."""
    threads, filters = tile or tiles(layer)[0]
    N, _, P = layer.input_shape
    groups = layer.classes * -(-layer.class_size // filters)
    grid = (-(-P // threads), min(groups, MOST_BLOCKS), min(N, MOST_BLOCKS))
    return Launch(kernel(layer.sizes, filters), grid, (threads, 1, 1), scalars=(N,))


RUNG = Rung(
    "forward",
    "f4",
    "channel-cyclic, several filters of a class from one read",
    build,
    tiles,
    tile_names=("threads", "filters"),
    dtypes=("float32",),
    compiled_per_layer=True,
    prediction=Prediction("global loads per FMA", at_most=17 / 16, words="loads per FMA in the loop: 2 → 1.0625"),
)
