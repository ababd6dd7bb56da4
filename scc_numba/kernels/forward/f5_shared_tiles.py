"""F5, shared tiles: the filters of a class times the pixels of all images, as a matrix product in tiles.

Idea: The filters of a class are the rows of one matrix, and the pixels of all images the columns of another. Let a
block compute a tile of their product: it brings tiles of both into shared memory, a few channels deep at a time,
and every thread computes 8 × 8 sums from there. An element that a block reads once serves a whole row of it.

Prediction: sectors read from global memory for every 32 products 1.28 → 0.16, where a class has 64 filters.

                     columns (n, p)                  each thread: 8 filters × 8 columns
                  ┌────────────────┐
                  │ x_tile   DEPTH │                 one step k of the inner loop reads
                  └────────────────┘                 8 weights and 8 pixels from shared
    filters ┌───┐ ┌────────────────┐                 memory for 64 FMA
            │ w │ │ sums           │
            │   │ │                │
            └───┘ └────────────────┘

Changed against F4: shared memory, and a barrier before it is read and before it is overwritten. Columns are
pixels of all images in a row, so that small images fill a tile too. Where a tile sticks out, zeros are multiplied.
The tiles hold float32: numbers of 16 bits are widened on their way there, and results narrowed once, at the end.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, jit
from scc_numba.kernels.primitives import NARROW, WIDEN
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile

MOST_BLOCKS = 65_535  # in y
TILES = ((64, 128, 8, 8, 8), (32, 128, 8, 8, 8), (8, 128, 8, 8, 4), (2, 128, 8, 2, 4), (64, 32, 8, 8, 4))


@cache
def kernel(sizes: tuple[int, int, int, int, int], number: str, tile: Tile) -> Kernel:
    """The kernel for layers of sizes (C, K, P, G, S) and a number type; for the tile see `RUNG.tile_names`."""
    widen, narrow = WIDEN[number], NARROW[number]
    C, K, P, G, S = map(np.uint32, sizes)
    D = C // np.gcd(C, S)
    FILTERS, COLUMNS, DEPTH, ROWS, WIDTH = map(np.uint32, tile)  # ROWS × WIDTH sums to a thread
    ACROSS = COLUMNS // WIDTH  # threads
    THREADS = FILTERS // ROWS * ACROSS
    CLASSES = min(D, K)
    PARTS = (K + D * FILTERS - np.uint32(1)) // (D * FILTERS)  # tiles that the largest class needs
    X_SHAPE, W_SHAPE, SUMS, A, B = (tile[2], tile[1]), (tile[2], tile[0]), tile[3] * tile[4], tile[3], tile[4]

    @jit(pointers=True)
    def forward_shared_tiles(x, weight, bias, y, N):
        # x: (N, C, P), weight: (K, G), bias: (K,), y: (N, K, P)
        x_tile = cuda.shared.array(X_SHAPE, float32)
        w_tile = cuda.shared.array(W_SHAPE, float32)
        sums = cuda.local.array(SUMS, float32)
        a = cuda.local.array(A, float32)
        b = cuda.local.array(B, float32)
        t = uint32(cuda.threadIdx.x)
        row, column = uint32(t // ACROSS * ROWS), uint32(t % ACROSS * WIDTH)  # of this thread's sums
        first_column = uint32(uint32(cuda.blockIdx.x) * COLUMNS)
        columns = uint32(N * P)
        work = uint32(cuda.blockIdx.y)
        while work < CLASSES * PARTS:
            d = uint32(work // PARTS)  # the class: k = d, d + D, d + 2D, …
            m = uint32(work % PARTS * FILTERS)  # the tile's first filter in it
            start = uint32(d * S % C)
            for i in range(ROWS * WIDTH):
                sums[i] = float32(0)
            first = uint32(0)  # offset in the window, of the tile's first channel
            while first < G:
                e = t
                while e < DEPTH * COLUMNS:
                    j, q = uint32(first + e // COLUMNS), uint32(first_column + e % COLUMNS)
                    value = float32(0)
                    if j < G and q < columns:
                        c = uint32((start + j) % C)
                        value = widen(x[(uint64(q // P) * C + c) * P + q % P])
                    x_tile[e // COLUMNS, e % COLUMNS] = value
                    e = uint32(e + THREADS)
                e = t
                while e < DEPTH * FILTERS:
                    j, k = uint32(first + e % DEPTH), uint32(d + (m + e // DEPTH) * D)
                    value = float32(0)
                    if j < G and k < K:
                        value = widen(weight[uint64(k) * G + j])
                    w_tile[e % DEPTH, e // DEPTH] = value
                    e = uint32(e + THREADS)
                cuda.syncthreads()
                for inner in range(DEPTH):
                    for i in range(ROWS):
                        a[i] = w_tile[inner, row + i]
                    for i in range(WIDTH):
                        b[i] = x_tile[inner, column + i]
                    for i in range(ROWS):
                        for h in range(WIDTH):
                            sums[i * WIDTH + h] += a[i] * b[h]
                cuda.syncthreads()
                first = uint32(first + DEPTH)
            for i in range(ROWS):
                k = uint32(d + (m + row + i) * D)
                for h in range(WIDTH):
                    q = uint32(first_column + column + h)
                    if k < K and q < columns:
                        y[(uint64(q // P) * K + k) * P + q % P] = narrow(sums[i * WIDTH + h] + widen(bias[k]))
            work = uint32(work + uint32(cuda.gridDim.y))

    return forward_shared_tiles


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the smallest that holds a class, or the narrow one where there are few pixels."""
    M = layer.class_size
    fitting = [tile for tile in TILES if tile[0] >= min(M, 64)]
    few = layer.batch * layer.pixels <= 64 and M > 8
    best = TILES[-1] if few else min(fitting, key=lambda tile: tile[0])
    return tuple(dict.fromkeys((best, *TILES)))


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Tiles of columns along x; along y classes, and tiles of filters in a class."""
    tile = tile or tiles(layer)[0]
    N, _, P = layer.input_shape
    filters, columns, _, rows, width = tile
    work = layer.classes * -(-layer.class_size // filters)
    grid = (-(-N * P // columns), min(work, MOST_BLOCKS), 1)
    threads = filters // rows * (columns // width)
    return Launch(kernel(layer.sizes, layer.dtype.name, tile), grid, (threads, 1, 1), scalars=(N,))


RUNG = Rung(
    "forward",
    "f5",
    "shared-memory tiles, 8 × 8 sums to a thread",
    build,
    tiles,
    tile_names=("filters", "columns", "depth", "rows", "width"),
    dtypes=("float32", "float16", "bfloat16"),
    flat_columns=True,
    compiled_per_layer=True,
    prediction=Prediction(
        "sectors read per 32 products", at_most=0.25, words="sectors read per 32 products: 1.28 → 0.16"
    ),
)
