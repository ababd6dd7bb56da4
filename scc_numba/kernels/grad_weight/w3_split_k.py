"""W3, split-K: every block writes its sums to a place of its own, and a second pass adds them in a fixed order.

Idea: Atomics add in the order in which blocks happen to finish, and rounding makes the order show: two runs differ
in their last bits. Let the parts of the pixels each have a copy of the result, and let a second kernel add the
copies one after the other. The same numbers in the same order are the same bits, whatever runs first.

Prediction: atomic requests for every 32 products 1/8 → 0.

    part 0   part 1   part 2                workspace: (parts, K·G, and K for grad_bias)
    [ ... ]  [ ... ]  [ ... ]
       └────────┴────────┴──→ grad_weight   one thread for each number, parts in their order

What to look at: the parts cost memory, their number times that of the weights, written once and read once. With
parts of at least 16 steps that is little beside the reads of x and grad_output.

Changed against W2: a workspace and a second kernel in place of the atomics, and of the zeros that they start from.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, jit
from scc_numba.kernels.parts import add_parts, partial_size
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.tiling import share_of_pixels, smallest_fitting

MOST_BLOCKS = 65_535  # in y
TILES = ((64, 64, 8, 8, 8), (32, 64, 8, 8, 4), (8, 64, 8, 4, 4), (2, 64, 8, 2, 4), (16, 16, 8, 2, 2))


@cache
def kernel(tile: Tile, bias: bool) -> Kernel:
    """The kernel for a tile, for what its numbers mean see `RUNG.tile_names`; `bias`: whether it sums grad_bias."""
    FILTERS, OFFSETS, DEPTH, ROWS, WIDTH = map(np.uint32, tile)
    ONE, ACROSS = np.uint32(1), OFFSETS // WIDTH
    THREADS = FILTERS // ROWS * ACROSS
    G_SHAPE, X_SHAPE, SUMS, ROW, COLUMN = (
        (tile[2], tile[0]),
        (tile[2], tile[1]),
        tile[3] * tile[4],
        tile[3],
        tile[4],
    )

    @jit(pointers=True)
    def grad_weight_split_k(grad_output, x, grad_weight, grad_bias, partial, N, C, K, P, G, S, D, share):
        # grad_output: (N, K, P), x: (N, C, P); partial: (parts, K·G, or K·G + K with the bias), not the results
        g_tile = cuda.shared.array(G_SHAPE, float32)
        x_tile = cuda.shared.array(X_SHAPE, float32)
        sums = cuda.local.array(SUMS, float32)
        bias_sums = cuda.local.array(ROW, float32)
        a = cuda.local.array(ROW, float32)
        b = cuda.local.array(COLUMN, float32)
        t = uint32(cuda.threadIdx.x)
        row, column = uint32(t // ACROSS * ROWS), uint32(t % ACROSS * WIDTH)  # of this thread's sums
        first_pixel = uint32(share * uint32(cuda.blockIdx.x))  # of this block's part, all images in a row
        end = min(uint32(N * P), uint32(first_pixel + share))
        base = uint64(cuda.blockIdx.x) * K * (G + bias)  # of this part
        across = (G + OFFSETS - ONE) // OFFSETS  # tiles
        down = ((K + D - ONE) // D + FILTERS - ONE) // FILTERS  # tiles of the largest class
        work = uint32(cuda.blockIdx.y)
        while work < min(D, K) * down * across:
            d, m = (
                uint32(work // (down * across)),
                uint32(work // across % down * FILTERS),
            )  # class, and filter in it
            first_offset = uint32(work % across * OFFSETS)
            start = uint32(d * S % C + first_offset)
            for i in range(ROWS * WIDTH):
                sums[i] = float32(0)
            for i in range(ROWS):
                bias_sums[i] = float32(0)
            first = first_pixel
            while first < end:
                e = t
                while e < DEPTH * FILTERS:
                    q, k = uint32(first + e % DEPTH), uint32(d + (m + e // DEPTH) * D)
                    value = float32(0)
                    if q < end and k < K:
                        value = grad_output[(uint64(q // P) * K + k) * P + q % P]
                    g_tile[e % DEPTH, e // DEPTH] = value
                    e = uint32(e + THREADS)
                e = t
                while e < DEPTH * OFFSETS:
                    q, line = uint32(first + e % DEPTH), e // DEPTH
                    value = float32(0)
                    if q < end and first_offset + line < G:
                        value = x[(uint64(q // P) * C + uint32(start + line) % C) * P + q % P]
                    x_tile[e % DEPTH, line] = value
                    e = uint32(e + THREADS)
                cuda.syncthreads()
                for pixel in range(DEPTH):
                    for i in range(ROWS):
                        a[i] = g_tile[pixel, row + i]
                    for h in range(WIDTH):
                        b[h] = x_tile[pixel, column + h]
                    for i in range(ROWS):
                        if bias:
                            bias_sums[i] += a[i]
                        for h in range(WIDTH):
                            sums[i * WIDTH + h] += a[i] * b[h]
                cuda.syncthreads()
                first = uint32(first + DEPTH)
            for i in range(ROWS):
                k = uint32(d + (m + row + i) * D)
                for h in range(WIDTH):
                    j = uint32(first_offset + column + h)
                    if k < K and j < G:
                        partial[base + uint64(k) * G + j] = sums[i * WIDTH + h]
                if bias and k < K and first_offset + column == 0:
                    partial[base + uint64(K) * G + k] = bias_sums[i]
            work = uint32(work + uint32(cuda.gridDim.y))

    return grad_weight_split_k


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the smallest that holds a class."""
    return smallest_fitting(TILES, layer.class_size)


def build(layer: Layer, tile: Tile | None = None, bias: bool = False) -> Launch:
    """Parts of the pixels along x; along y classes, tiles of filters in a class, and tiles of offsets."""
    filters, offsets, depth, rows, width = tile = tile or tiles(layer)[0]
    N, C, P = layer.input_shape
    K, G = layer.weight_shape
    work = layer.classes * -(-layer.class_size // filters) * -(-G // offsets)
    share = share_of_pixels(layer, work, depth)
    parts = -(-layer.columns // share)
    no_bias = () if bias else (np.zeros(1, np.float32),)
    return Launch(
        kernel(tile, bias),
        grid=(parts, min(work, MOST_BLOCKS), 1),
        block=(filters // rows * (offsets // width), 1, 1),
        tables=no_bias,
        scalars=(N, C, K, P, G, layer.channels.step, layer.channels.cycle, share),
        results=2 if bias else 1,
        workspace=parts * partial_size(layer, bias),
        then=add_parts(layer, parts, bias),
    )


RUNG = Rung(
    "grad_weight",
    "w3",
    "split-K, parts added in a fixed order",
    build,
    tiles,
    tile_names=("filters", "offsets", "depth", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    with_bias=True,
    prediction=Prediction(
        "atomic requests per 32 products", at_most=0, words="atomic requests per 32 products: 1/8 → 0"
    ),
)
