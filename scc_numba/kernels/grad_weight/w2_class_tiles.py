"""W2, class tiles: the gradients of a class as a matrix product, its filters times the channels of their window.

Idea: Filters of a class meet the same G channels, so their gradients are a matrix product over all pixels of all
images. Let a block compute a tile of it, as F5 does: a piece of grad_output and one of x go through shared memory,
and each number that a block reads serves a whole row or column of sums.

Prediction: sectors read from global memory for every 32 products 8 → 0.19, where a class has 64 filters.

                        offsets j in the window
         pixels         ┌──────────────┐
       ┌────────┐       │ x_tile       │ pixels, DEPTH of them at a time
       │ g_tile │       └──────────────┘
       └────────┘       ┌──────────────┐
        filters         │ sums         │ filters        each thread: rows × width of them
                        └──────────────┘

Changed against W1: shared-memory tiles. There are few tiles, K·G over the size of one, and many pixels: so the
pixels are split into parts, a block for each, whose sums meet in one atomic each. The gradient of the bias is a
sum over the same pixels of grad_output: the first thread across adds up what the tile brings anyway.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, jit
from scc_numba.kernels.primitives import atomic_add
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.tiling import share_of_pixels, smallest_fitting
from scc_numba.kernels.zero import zero

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
    def grad_weight_class_tiles(grad_output, x, grad_weight, grad_bias, N, C, K, P, G, S, D, share):
        # grad_output: (N, K, P), x: (N, C, P); grad_weight: (K, G) and grad_bias: (K,), zero at the start
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
                        atomic_add(grad_weight, uint64(k) * G + j, sums[i * WIDTH + h])
                if bias and k < K and first_offset + column == 0:
                    atomic_add(grad_bias, k, bias_sums[i])
            work = uint32(work + uint32(cuda.gridDim.y))

    return grad_weight_class_tiles


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
    grid = (-(-layer.columns // share), min(work, MOST_BLOCKS), 1)
    threads = filters // rows * (offsets // width)
    no_bias = () if bias else (np.zeros(1, np.float32),)
    scalars = (N, C, K, P, G, layer.channels.step, layer.channels.cycle, share)
    zeroed = zero(layer.weight_shape)
    return Launch(
        kernel(tile, bias), grid, (threads, 1, 1), no_bias, scalars, zeroed=zeroed, results=2 if bias else 1
    )


RUNG = Rung(
    "grad_weight",
    "w2",
    "tiles of a class, with the bias",
    build,
    tiles,
    tile_names=("filters", "offsets", "depth", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    with_bias=True,
    deterministic=False,
    prediction=Prediction(
        "sectors read per 32 products", at_most=1, words="sectors read per 32 products: 8 → 0.19"
    ),
)
