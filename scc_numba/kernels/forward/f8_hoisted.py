"""F8, hoisted: what stays the same is computed once, and small classes share a tile.

Idea: In the k-tile loop only the channel moves on. So a thread finds its filters, its pixels and whether they
exist before the loop; and where a tile holds filters of one class, the window's wrap is one comparison a tile.

Prediction: FFMA share of the k-tile loop, copies included, 86 → 91 %.

         channels →                      Sorted by the start of their window, the filters are a band. A tile of
    k=0  ■ ■ ■ ■ · · · ·  ┐              them reads the union of their windows, and takes zero for the weights
    k=4  ■ ■ ■ ■ · · · ·  ┘ one class    outside the band. In one class there are no such weights; where classes
    k=1  · · ■ ■ ■ ■ · ·  ┐ two classes  are small, the tile still has all its rows.
    k=2  · · · · ■ ■ ■ ■  ┘

Changed against F7: the table `filters`, sorted by start, says which filter a row is. Constants of the layer say
which tests the kernel can do without. The loop turns twice, once for each buffer, so that the buffers' addresses
are constants. y is written 16 bytes at a time where P is a multiple of 4.

What to know: a weight outside the band makes 0 · x, which is NaN where x is not finite. There, and only in a tile
of several classes, a filter can be spoilt by a channel that it does not read.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, device_function, jit
from scc_numba.kernels import primitives as on_gpu
from scc_numba.kernels.primitives import commit_copies, load4, store4, wait_for_copies
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.tiling import cheapest_first, filters_by_start

MOST_BLOCKS = 65_535  # in y
DEPTH = 16
# filters, columns, rows, width: the last two are the sums of a thread
TILES = ((64, 128, 8, 8), (128, 128, 8, 8), (32, 128, 4, 8), (64, 32, 8, 4), (16, 64, 4, 4))


@cache
def kernel(sizes: tuple[int, int, int, int, int], tile: Tile) -> Kernel:
    """The kernel for layers of sizes (C, K, P, G, S); for the tile see `RUNG.tile_names`."""
    C, K, P, G, S = map(np.uint32, sizes)
    FILTERS, COLUMNS, ROWS, WIDTH = map(np.uint32, tile)
    LINE, ZERO, ONE, FOUR, EIGHT, WARP = map(np.uint32, (DEPTH, 0, 1, 4, 8, 32))
    H = np.gcd(C, S)
    D = C // H
    ONE_CLASS = bool(K % (D * FILTERS) == 0 and G % LINE == 0)  # no tile holds a weight outside the band
    NO_WRAP = bool(H % LINE == 0)  # … or has the window's wrap inside it
    NO_TAIL = bool(P % COLUMNS == 0)  # … or sticks out of the last image
    ACROSS, DOWN, W_LINE, GROUPS = COLUMNS // WIDTH, FILTERS // ROWS, LINE + FOUR, WIDTH // FOUR
    THREADS, NEXT_COLUMNS = ACROSS * DOWN, COLUMNS // GROUPS
    X_WIDE, W_WIDE = bool(P % FOUR == 0), bool(G % FOUR == 0 and (ONE_CLASS or H % FOUR == 0))
    copy_x, copy_w = (on_gpu.copy_async_16 if wide else on_gpu.copy_async_4 for wide in (X_WIDE, W_WIDE))
    X_STEP, W_STEP = FOUR if X_WIDE else ONE, FOUR if W_WIDE else ONE  # numbers in a copy
    X_ACROSS, W_ACROSS = COLUMNS // X_STEP, LINE // W_STEP  # copies in a line of a tile
    X_LINES, W_LINES = THREADS // X_ACROSS, THREADS // W_ACROSS  # lines that all threads copy at once
    X_COPIES, W_COPIES = LINE // X_LINES, FILTERS // W_LINES  # of each thread
    X_TILE, TILES_DOWN = LINE * COLUMNS, (K + FILTERS - ONE) // FILTERS
    BUFFER = X_TILE + FILTERS * W_LINE
    SIZE, SUMS, A, B, LINES = 2 * int(BUFFER), tile[2] * tile[3], tile[2] * 4, tile[3], int(W_COPIES)

    @device_function
    def copy(x, weight, tiles, to, first, channel, union, mine):
        """Start copying the tiles of the channels from `first` in the union on, which is `channel` of x."""
        x_from, in_image, w_from, late, length = mine
        t = uint32(cuda.threadIdx.x)
        line, x_to = t // X_ACROSS, uint32(to + t * X_STEP)
        w_to = uint32(to + X_TILE + t // W_ACROSS * W_LINE + t % W_ACROSS * W_STEP)
        for i in range(X_COPIES):
            wanted = in_image and (ONE_CLASS or first + line + i * X_LINES < union)
            back = C * P if not NO_WRAP and channel + line + i * X_LINES >= C else ZERO
            at = x_from + uint64(channel) * P + i * X_LINES * P - back
            copy_x(tiles, x_to + i * X_LINES * COLUMNS, x, at if wanted else uint64(0), wanted)
        for i in range(W_COPIES):
            j = uint32(first + t % W_ACROSS * W_STEP - late[i])  # before its window: negative, a large number
            j = uint32(j + C) if not ONE_CLASS and j >= C else j
            wanted = ONE_CLASS or j < length[i]
            at = w_from[0] + j + i * W_LINES * D * G if ONE_CLASS else w_from[i] + j
            copy_w(tiles, w_to + i * W_LINES * W_LINE, weight, at if wanted else uint64(0), wanted)
        commit_copies()

    @device_function
    def step(sums, tiles, x_at, w_at, inner):
        """Four channels, from `inner` in the tiles on."""
        a = cuda.local.array(A, float32)
        b = cuda.local.array(B, float32)
        for i in range(ROWS):
            h = i * FOUR
            a[h], a[h + 1], a[h + 2], a[h + 3] = load4(tiles, w_at + i * DOWN * W_LINE + inner)
        for channel in range(FOUR):
            for g in range(GROUPS):
                h, at = g * FOUR, x_at + (inner + channel) * COLUMNS + g * NEXT_COLUMNS
                b[h], b[h + 1], b[h + 2], b[h + 3] = load4(tiles, at)
            for i in range(ROWS):
                for h in range(WIDTH):
                    sums[i * WIDTH + h] += a[i * FOUR + channel] * b[h]

    @device_function
    def turn(x, weight, tiles, sums, now, then, first, channel, union, row, column, mine):
        """Multiply the tiles that begin at `now`, while the next ones are copied to `then`."""
        wait_for_copies(0)
        cuda.syncthreads()
        if first < union:
            copy(x, weight, tiles, then, first, channel, union, mine)
        x_at, w_at = now + column, now + X_TILE + row * W_LINE
        step(sums, tiles, x_at, w_at, uint32(0))
        step(sums, tiles, x_at, w_at, uint32(4))
        step(sums, tiles, x_at, w_at, uint32(8))
        step(sums, tiles, x_at, w_at, uint32(12))

    @device_function
    def next_channel(channel):
        after = uint32(channel + LINE)
        return after if after < C else uint32(after - C)

    @jit(pointers=True)
    def forward_hoisted(x, weight, bias, y, filters, N):
        # x: (N, C, P), weight: (K, G), bias: (K,), y: (N, K, P), filters: (K,)
        tiles = cuda.shared.array(SIZE, float32, alignment=16)  # twice: x (LINE, COLUMNS), w (FILTERS, W_LINE)
        sums = cuda.local.array(SUMS, float32)
        w_from = cuda.local.array(LINES, uint64)  # for each line that this thread copies: where its filter begins,
        late = cuda.local.array(LINES, uint32)  # how many channels after the union it does,
        length = cuda.local.array(LINES, uint32)  # and how many it has: none for a line without a filter
        t = uint32(cuda.threadIdx.x)
        lane, warp = t % WARP, t // WARP
        column = uint32((warp % (ACROSS // EIGHT) * EIGHT + lane % EIGHT) * FOUR)
        row = uint32(warp // (ACROSS // EIGHT) * FOUR + lane // EIGHT)
        columns, first_column = uint32(N * P), uint32(uint32(cuda.blockIdx.x) * COLUMNS)
        q = uint32(first_column + t % X_ACROSS * X_STEP)
        in_image = NO_TAIL or q < columns
        x_from = (uint64(q // P) * C + t // X_ACROSS) * P + q % P  # seek to x[n, line, p] of what it copies
        mine = (x_from, in_image, w_from, late, length)
        tile_down = uint32(cuda.blockIdx.y)
        while tile_down < TILES_DOWN:
            first_row = uint32(tile_down * FILTERS)
            start = uint32(filters[first_row] * S % C)
            last = filters[min(uint32(first_row + FILTERS), K) - ONE]
            union = G if ONE_CLASS else min(C, uint32(last * S % C - start + G))
            for i in range(W_COPIES):
                r = uint32(first_row + t // W_ACROSS + i * W_LINES)
                k = filters[first_row] + (t // W_ACROSS) * D if ONE_CLASS else uint64(filters[min(r, K - ONE)])
                w_from[i] = k * G
                late[i] = ZERO if ONE_CLASS else uint32(k * S % C - start)
                length[i] = G if r < K else ZERO
            for i in range(ROWS * WIDTH):
                sums[i] = float32(0)
            channel, first = start, ZERO
            copy(x, weight, tiles, ZERO, first, channel, union, mine)
            while first < union:
                first, channel = uint32(first + LINE), next_channel(channel)
                turn(x, weight, tiles, sums, ZERO, BUFFER, first, channel, union, row, column, mine)
                if first < union:
                    first, channel = uint32(first + LINE), next_channel(channel)
                    turn(x, weight, tiles, sums, BUFFER, ZERO, first, channel, union, row, column, mine)
            cuda.syncthreads()  # before the next tiles are copied over these
            for g in range(GROUPS):
                q = uint32(first_column + column + g * NEXT_COLUMNS)
                for i in range(ROWS):
                    r = uint32(first_row + row + i * DOWN)
                    if (ONE_CLASS or r < K) and (NO_TAIL or q < columns):
                        k, s = filters[r], i * WIDTH + g * FOUR
                        at, b = (uint64(q // P) * K + k) * P + q % P, bias[k]
                        if X_WIDE:
                            store4(y, at, sums[s] + b, sums[s + 1] + b, sums[s + 2] + b, sums[s + 3] + b)
                        else:
                            for h in range(FOUR):
                                if q + h < columns:
                                    y[(uint64((q + h) // P) * K + k) * P + (q + h) % P] = sums[s + h] + b
            tile_down = uint32(tile_down + uint32(cuda.gridDim.y))

    return forward_hoisted


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the one that wastes least: on work outside the band, on rows and columns that do not exist."""
    return cheapest_first(layer, TILES, DEPTH)


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Tiles of columns along x, tiles of sorted filters along y."""
    tile = tile or tiles(layer)[0]
    N, K, P = layer.output_shape
    grid = (-(-N * P // tile[1]), min(-(-K // tile[0]), MOST_BLOCKS), 1)
    threads = tile[0] * tile[1] // (tile[2] * tile[3])
    tables = (filters_by_start(layer),)
    return Launch(kernel(layer.sizes, tile), grid, (threads, 1, 1), tables=tables, scalars=(N,))


RUNG = Rung(
    "forward",
    "f8",
    "wrap and masks hoisted, small classes packed",
    build,
    tiles,
    tile_names=("filters", "columns", "rows", "width"),
    dtypes=("float32",),
    compiled_per_layer=True,
    prediction=Prediction(
        "FFMA share of the k-tile loop, %", at_least=90, words="FFMA share of the k-tile loop: 86 → 91 %"
    ),
)
