"""F7, asynchronous copies: the next tiles travel, 16 bytes at a time, while these are multiplied.

Idea: cp.async moves 16 bytes from global to shared memory past the registers, and the thread does not wait for it.
With two buffers the copies of the next tiles run behind the multiplications of the present ones.

Prediction: 128-bit share of the loads from global memory 0 → 100 %.

    buffer 0   copy 0 ─────┐multiply 0       copy 2 ───────┐multiply 2
    buffer 1               └copy 1 ─────────┐multiply 1    └copy 3 ──── …
                                            └ one barrier a tile: copied for all, and read by all

Changed against F6: copies are 16 bytes, DEPTH is 16, and one barrier a tile is enough. 16 bytes must be neighbours
in memory: four pixels of x, so that P has to be a multiple of 4, and four channels of a filter, so that G has to
be; else copies are of 4 bytes. A filter's channels now lie in a line of w_tile, and a thread reads four of them
at once for each of its filters. Its filters are those a warp apart, whose lines, 4 numbers longer than DEPTH,
begin in different banks. Below sm_80 a copy is a load and a store, and nothing runs behind.

What to know: numbers of 16 bits are left out here and in F8. What bypasses the registers cannot be widened on its
way, so that the inner loop would have to do it, once for each number that it loads.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, device_function, jit
from scc_numba.kernels.primitives import commit_copies, copy_async_4, copy_async_16, load4, wait_for_copies
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile

MOST_BLOCKS = 65_535  # in y
DEPTH = 16
# filters, columns, rows, width: the last two are the sums of a thread
TILES = ((64, 128, 8, 8), (32, 128, 8, 8), (16, 128, 4, 8), (64, 32, 8, 4))


@cache
def kernel(sizes: tuple[int, int, int, int, int], tile: Tile) -> Kernel:
    """The kernel for layers of sizes (C, K, P, G, S); for the tile see `RUNG.tile_names`."""
    C, K, P, G, S = map(np.uint32, sizes)
    D = C // np.gcd(C, S)
    FILTERS, COLUMNS, ROWS, WIDTH = map(np.uint32, tile)
    BLOCK_DEPTH, W_LINE, ONE, FOUR, EIGHT, WARP = map(np.uint32, (DEPTH, DEPTH + 4, 1, 4, 8, 32))
    ACROSS, DOWN = COLUMNS // WIDTH, FILTERS // ROWS  # threads
    THREADS, GROUPS = ACROSS * DOWN, WIDTH // FOUR
    NEXT_COLUMNS = COLUMNS // GROUPS  # from a thread's group of 4 columns to its next
    X_WIDE, W_WIDE = sizes[2] % 4 == 0, sizes[3] % 4 == 0
    X_STEP, W_STEP = np.uint32(4 if X_WIDE else 1), np.uint32(4 if W_WIDE else 1)  # numbers in a copy
    X_COPIES, W_COPIES = BLOCK_DEPTH * COLUMNS // X_STEP // THREADS, BLOCK_DEPTH * FILTERS // W_STEP // THREADS
    X_ACROSS, W_ACROSS = COLUMNS // X_STEP, BLOCK_DEPTH // W_STEP  # copies in a line of a tile
    X_TILE, W_TILE = BLOCK_DEPTH * COLUMNS, FILTERS * W_LINE
    CLASSES, PARTS = min(D, K), (K + D * FILTERS - np.uint32(1)) // (D * FILTERS)  # tiles of the largest class
    X_SIZE, W_SIZE, SUMS, A, B = 2 * int(X_TILE), 2 * int(W_TILE), tile[2] * tile[3], tile[2] * 4, tile[3]
    copy_x, copy_w = copy_async_16 if X_WIDE else copy_async_4, copy_async_16 if W_WIDE else copy_async_4

    @device_function
    def copy(x, weight, x_tile, w_tile, buffer, first, first_column, columns, start, d, m):
        t = uint32(cuda.threadIdx.x)
        for i in range(X_COPIES):
            e = uint32(t + i * THREADS)
            line, q = e // X_ACROSS, uint32(first_column + e % X_ACROSS * X_STEP)
            j = uint32(first + line)
            wanted = j < G and q < columns
            c = uint32((start + j) % C)
            at = (uint64(q // P) * C + c) * P + q % P if wanted else uint64(0)
            copy_x(x_tile, buffer * X_TILE + line * COLUMNS + e % X_ACROSS * X_STEP, x, at, wanted)
        for i in range(W_COPIES):
            e = uint32(t + i * THREADS)
            line, j = e // W_ACROSS, uint32(first + e % W_ACROSS * W_STEP)
            k = uint32(d + (m + line) * D)
            wanted = j < G and k < K
            at = uint64(k) * G + j if wanted else uint64(0)
            copy_w(w_tile, buffer * W_TILE + line * W_LINE + e % W_ACROSS * W_STEP, weight, at, wanted)
        commit_copies()

    @device_function
    def step(sums, w_tile, x_tile, w_at, x_at, inner):  # four channels
        a = cuda.local.array(A, float32)
        b = cuda.local.array(B, float32)
        for i in range(ROWS):
            h = i * FOUR
            a[h], a[h + 1], a[h + 2], a[h + 3] = load4(w_tile, w_at + i * DOWN * W_LINE + inner)
        for channel in range(FOUR):
            for g in range(GROUPS):
                h, at = g * FOUR, x_at + (inner + channel) * COLUMNS + g * NEXT_COLUMNS
                b[h], b[h + 1], b[h + 2], b[h + 3] = load4(x_tile, at)
            for i in range(ROWS):
                for h in range(WIDTH):
                    sums[i * WIDTH + h] += a[i * FOUR + channel] * b[h]

    @jit(pointers=True)
    def forward_async_copies(x, weight, bias, y, N):
        # x: (N, C, P), weight: (K, G), bias: (K,), y: (N, K, P)
        x_tile = cuda.shared.array(X_SIZE, float32, alignment=16)  # (2, DEPTH, COLUMNS)
        w_tile = cuda.shared.array(W_SIZE, float32, alignment=16)  # (2, FILTERS, W_LINE)
        sums = cuda.local.array(SUMS, float32)
        t = uint32(cuda.threadIdx.x)
        lane, warp = t % WARP, t // WARP
        column = uint32((warp % (ACROSS // EIGHT) * EIGHT + lane % EIGHT) * FOUR)
        row = uint32(warp // (ACROSS // EIGHT) * FOUR + lane // EIGHT)
        first_column = uint32(uint32(cuda.blockIdx.x) * COLUMNS)
        columns = uint32(N * P)
        work = uint32(cuda.blockIdx.y)
        while work < CLASSES * PARTS:
            d = uint32(work // PARTS)  # the class: k = d, d + D, d + 2D, …
            m = uint32(work % PARTS * FILTERS)  # the tile's first filter in it
            start = uint32(d * S % C)
            for i in range(ROWS * WIDTH):
                sums[i] = float32(0)
            buffer = uint32(0)
            first = uint32(0)  # offset in the window, of the tile's first channel
            copy(x, weight, x_tile, w_tile, buffer, first, first_column, columns, start, d, m)
            while first < G:
                w_at, x_at = buffer * W_TILE + row * W_LINE, buffer * X_TILE + column
                first, buffer = uint32(first + BLOCK_DEPTH), uint32(ONE - buffer)
                wait_for_copies(0)
                cuda.syncthreads()
                if first < G:
                    copy(x, weight, x_tile, w_tile, buffer, first, first_column, columns, start, d, m)
                step(sums, w_tile, x_tile, w_at, x_at, uint32(0))
                step(sums, w_tile, x_tile, w_at, x_at, uint32(4))
                step(sums, w_tile, x_tile, w_at, x_at, uint32(8))
                step(sums, w_tile, x_tile, w_at, x_at, uint32(12))
            cuda.syncthreads()
            for i in range(ROWS):
                k = uint32(d + (m + row + i * DOWN) * D)
                for h in range(WIDTH):
                    q = uint32(first_column + column + h % FOUR + h // FOUR * NEXT_COLUMNS)
                    if k < K and q < columns:
                        y[(uint64(q // P) * K + k) * P + q % P] = sums[i * WIDTH + h] + bias[k]
            work = uint32(work + uint32(cuda.gridDim.y))

    return forward_async_copies


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
    return Launch(kernel(layer.sizes, tile), grid, (threads_of(tile), 1, 1), scalars=(N,))


RUNG = Rung(
    "forward",
    "f7",
    "asynchronous 16-byte copies, two buffers",
    build,
    tiles,
    tile_names=("filters", "columns", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    compiled_per_layer=True,
    prediction=Prediction(
        "128-bit share of global loads, %",
        at_least=100,
        words="128-bit share of the loads from global memory: 0 → 100 %",
    ),
)
