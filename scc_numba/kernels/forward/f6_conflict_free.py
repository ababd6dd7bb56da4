"""F6, conflict-free: shared memory read 128 bits at a time, each bank once, and the k loop unrolled.

Idea: Shared memory has 32 banks of 4 bytes, and serves lanes that want the same bank one after the other. Lay the
tiles out, and deal out the sums, so that the lanes of a warp read neighbouring 16 bytes; and unroll the loop over
the depth, so that nothing is left in it but these reads and FMA.

Prediction: bank conflicts per request to shared memory 1.57 → 0; FMA are 74 % of the SASS of the k-tile loop.

    a thread's 8 columns:   F5   0 1 2 3 4 5 6 7                   lane 1 starts at 8: every second 16 bytes
                            F6   0 1 2 3 … 64 65 66 67             lane 1 starts at 4: neighbouring 16 bytes

Changed against F5: rows and columns of a thread are groups of 4, half a tile apart; a warp is 8 lanes across and
4 down. A row of w_tile is 4 numbers longer than its filters, so that the copies, which write down a column of it,
meet different banks. One step of the k loop is a function, called DEPTH times.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, device_function, jit
from scc_numba.kernels.primitives import NARROW, WIDEN, load4
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile

MOST_BLOCKS = 65_535  # in y
# filters, columns, rows, width: the last two are the sums of a thread
TILES = ((64, 128, 8, 8), (32, 128, 8, 8), (16, 128, 4, 8), (64, 32, 8, 4))


@cache
def kernel(sizes: tuple[int, int, int, int, int], number: str, tile: Tile) -> Kernel:
    """The kernel for layers of sizes (C, K, P, G, S) and a number type; for the tile see `RUNG.tile_names`."""
    widen, narrow = WIDEN[number], NARROW[number]
    C, K, P, G, S = map(np.uint32, sizes)
    D = C // np.gcd(C, S)
    FILTERS, COLUMNS, ROWS, WIDTH = map(np.uint32, tile)
    DEPTH, FOUR, EIGHT, WARP = map(np.uint32, (8, 4, 8, 32))
    ROW_GROUPS, COLUMN_GROUPS = ROWS // 4, WIDTH // 4
    NEXT_ROWS, NEXT_COLUMNS = FILTERS // ROW_GROUPS, COLUMNS // COLUMN_GROUPS  # from a group of 4 to the next
    THREADS = np.uint32(threads_of(tile))
    X_COPIES, W_COPIES = DEPTH * COLUMNS // THREADS, DEPTH * FILTERS // THREADS  # of each thread
    WARPS_ACROSS = COLUMNS // WIDTH // EIGHT
    W_LINE = np.uint32(tile[0] + 4)
    CLASSES, PARTS = min(D, K), (K + D * FILTERS - np.uint32(1)) // (D * FILTERS)  # tiles of the largest class
    X_SIZE, W_SIZE, SUMS, A, B = 8 * tile[1], 8 * (tile[0] + 4), tile[2] * tile[3], tile[2], tile[3]

    @device_function
    def step(sums, w_tile, x_tile, row, column, k):
        w_at, x_at = k * W_LINE + row, k * COLUMNS + column
        a = cuda.local.array(A, float32)
        b = cuda.local.array(B, float32)
        for g in range(ROW_GROUPS):
            i = g * FOUR
            a[i], a[i + 1], a[i + 2], a[i + 3] = load4(w_tile, w_at + g * NEXT_ROWS)
        for g in range(COLUMN_GROUPS):
            i = g * FOUR
            b[i], b[i + 1], b[i + 2], b[i + 3] = load4(x_tile, x_at + g * NEXT_COLUMNS)
        for i in range(ROWS):
            for h in range(WIDTH):
                sums[i * WIDTH + h] += a[i] * b[h]

    @jit(pointers=True)
    def forward_conflict_free(x, weight, bias, y, N):
        # x: (N, C, P), weight: (K, G), bias: (K,), y: (N, K, P)
        x_tile = cuda.shared.array(X_SIZE, float32, alignment=16)  # (DEPTH, COLUMNS)
        w_tile = cuda.shared.array(W_SIZE, float32, alignment=16)  # (DEPTH, W_LINE)
        sums = cuda.local.array(SUMS, float32)
        t = uint32(cuda.threadIdx.x)
        lane, warp = uint32(t % WARP), uint32(t // WARP)
        column = uint32((warp % WARPS_ACROSS * EIGHT + lane % EIGHT) * FOUR)
        row = uint32((warp // WARPS_ACROSS * FOUR + lane // EIGHT) * FOUR)
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
                for i in range(X_COPIES):
                    e = uint32(t + i * THREADS)
                    j, q = uint32(first + e // COLUMNS), uint32(first_column + e % COLUMNS)
                    value = float32(0)
                    if j < G and q < columns:
                        c = uint32((start + j) % C)
                        value = widen(x[(uint64(q // P) * C + c) * P + q % P])
                    x_tile[e] = value
                for i in range(W_COPIES):
                    e = uint32(t + i * THREADS)
                    j, k = uint32(first + e % DEPTH), uint32(d + (m + e // DEPTH) * D)
                    value = float32(0)
                    if j < G and k < K:
                        value = widen(weight[uint64(k) * G + j])
                    w_tile[e % DEPTH * W_LINE + e // DEPTH] = value
                cuda.syncthreads()
                step(sums, w_tile, x_tile, row, column, uint32(0))
                step(sums, w_tile, x_tile, row, column, uint32(1))
                step(sums, w_tile, x_tile, row, column, uint32(2))
                step(sums, w_tile, x_tile, row, column, uint32(3))
                step(sums, w_tile, x_tile, row, column, uint32(4))
                step(sums, w_tile, x_tile, row, column, uint32(5))
                step(sums, w_tile, x_tile, row, column, uint32(6))
                step(sums, w_tile, x_tile, row, column, uint32(7))
                cuda.syncthreads()
                first = uint32(first + DEPTH)
            for i in range(ROWS):
                k = uint32(d + (m + row + i % FOUR + i // FOUR * NEXT_ROWS) * D)
                for h in range(WIDTH):
                    q = uint32(first_column + column + h % FOUR + h // FOUR * NEXT_COLUMNS)
                    if k < K and q < columns:
                        y[(uint64(q // P) * K + k) * P + q % P] = narrow(sums[i * WIDTH + h] + widen(bias[k]))
            work = uint32(work + uint32(cuda.gridDim.y))

    return forward_conflict_free


def threads_of(tile: Tile) -> int:
    """Threads of a block: one for every rows × width sums."""
    return tile[0] * tile[1] // (tile[2] * tile[3])


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the smallest that holds a class, or the narrow one where there are few pixels."""
    M = layer.class_size
    fitting = [tile for tile in TILES if tile[0] >= min(M, 64)]
    few = layer.batch * layer.pixels <= 64 and M > 16
    best = TILES[-1] if few else min(fitting, key=lambda tile: tile[0])
    return tuple(dict.fromkeys((best, *TILES)))


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Tiles of columns along x; along y classes, and tiles of filters in a class."""
    tile = tile or tiles(layer)[0]
    N, _, P = layer.input_shape
    work = layer.classes * -(-layer.class_size // tile[0])
    grid = (-(-N * P // tile[1]), min(work, MOST_BLOCKS), 1)
    return Launch(kernel(layer.sizes, layer.dtype.name, tile), grid, (threads_of(tile), 1, 1), scalars=(N,))


RUNG = Rung(
    "forward",
    "f6",
    "no bank conflicts, k loop unrolled",
    build,
    tiles,
    tile_names=("filters", "columns", "rows", "width"),
    dtypes=("float32", "float16", "bfloat16"),
    flat_columns=True,
    compiled_per_layer=True,
    prediction=Prediction(
        "bank conflicts per shared request", at_most=0, words="bank conflicts per shared request: 1.57 → 0"
    ),
)
