"""F9, tensor cores: a warp multiplies 16 filters, 8 channels and 8 columns by one instruction, in tf32.

Idea: mma.sync does 1,024 multiply-adds where an FMA of a warp does 32. It takes its operands as tf32, float32
with 10 bits of mantissa instead of 23, and adds in float32.

Prediction: issue slots for each mma, of the whole k-tile loop: none → 4.5.

    mma multiplies A, 16 × 8, by B, 8 × 8. Here A is a piece of x with its columns as rows, B one of w, and a warp
    does 4 × 8 of them for 64 columns and 64 filters. Which channel mma takes for the first does not matter, if both
    agree, nor which column: so a lane's two channels, and its two columns, are neighbours, and each of its loads
    brings the two registers that mma wants side by side.

         lane 4g + q    x: channels 2q, 2q + 1 of columns 2g, 2g + 1        w: channels 2q, 2q + 1 of filter g
                        y: columns 2g, 2g + 1 of filters 2q, 2q + 1

Changed against F8: the step, and the lines of both tiles, which are longer by what keeps the lanes of a warp in
different banks. Operands are rounded to nearest when they are loaded; the tensor cores alone would cut them off.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, device_function, jit
from scc_numba.kernels import primitives as on_gpu
from scc_numba.kernels.primitives import (
    commit_copies,
    load2,
    mma_tf32,
    round_to_tf32,
    store2,
    wait_for_copies,
)
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.tiling import cheapest_first, filters_by_start

MOST_BLOCKS = 65_535  # in y
DEPTH = 16
# filters, columns, rows, width: the last two are the sums of a warp
TILES = ((64, 256, 64, 64), (128, 128, 64, 64), (32, 256, 32, 64), (16, 64, 16, 32), (64, 32, 16, 32))


@cache
def kernel(sizes: tuple[int, int, int, int, int], tile: Tile) -> Kernel:
    """The kernel for layers of sizes (C, K, P, G, S); for the tile see `RUNG.tile_names`."""
    C, K, P, G, S = map(np.uint32, sizes)
    FILTERS, COLUMNS, ROWS, WIDTH = map(np.uint32, tile)
    LINE, ZERO, ONE, TWO, FOUR, EIGHT, WARP = map(np.uint32, (DEPTH, 0, 1, 2, 4, 8, 32))
    H = np.gcd(C, S)
    D = C // H
    ONE_CLASS = bool(K % (D * FILTERS) == 0 and G % LINE == 0)  # no tile holds a weight outside the band
    NO_WRAP = bool(H % LINE == 0)  # … or has the window's wrap inside it
    NO_TAIL = bool(P % COLUMNS == 0)  # … or sticks out of the last image
    SIXTEEN, X_LINE, W_LINE = EIGHT * TWO, COLUMNS + FOUR, LINE + EIGHT
    ACROSS, DOWN = COLUMNS // WIDTH, FILTERS // ROWS  # warps
    THREADS, MMA_ACROSS, MMA_DOWN = ACROSS * DOWN * WARP, WIDTH // SIXTEEN, ROWS // EIGHT
    X_WIDE, W_WIDE = bool(P % FOUR == 0), bool(G % FOUR == 0 and (ONE_CLASS or H % FOUR == 0))
    copy_x, copy_w = (on_gpu.copy_async_16 if wide else on_gpu.copy_async_4 for wide in (X_WIDE, W_WIDE))
    X_STEP, W_STEP = FOUR if X_WIDE else ONE, FOUR if W_WIDE else ONE  # numbers in a copy
    X_ACROSS, W_ACROSS = COLUMNS // X_STEP, LINE // W_STEP  # copies in a line of a tile
    X_PARTS = max(ONE, X_ACROSS // THREADS)  # of a line, where it has more copies than there are threads
    X_LINES, W_LINES = max(ONE, THREADS // X_ACROSS), THREADS // W_ACROSS  # lines that all threads copy at once
    X_COPIES, W_COPIES = LINE // X_LINES, FILTERS // W_LINES  # of each thread
    X_TILE, TILES_DOWN = LINE * X_LINE, (K + FILTERS - ONE) // FILTERS
    BUFFER = X_TILE + FILTERS * W_LINE
    SIZE, PARTS, LINES, SUMS = 2 * int(BUFFER), int(X_PARTS), int(W_COPIES), tile[2] * tile[3] // 32
    A, B = int(MMA_ACROSS) * 4, int(MMA_DOWN) * 2

    @device_function
    def copy(x, weight, tiles, to, first, channel, union, mine):
        """Start copying the tiles of the channels from `first` in the union on, which is `channel` of x."""
        x_from, in_image, w_from, late, length = mine
        t = uint32(cuda.threadIdx.x)
        line, x_to = t // X_ACROSS, uint32(to + t // X_ACROSS * X_LINE + t % X_ACROSS * X_STEP)
        w_to = uint32(to + X_TILE + t // W_ACROSS * W_LINE + t % W_ACROSS * W_STEP)
        for part in range(X_PARTS):
            for i in range(X_COPIES):
                wanted = in_image[part] != 0 and (ONE_CLASS or first + line + i * X_LINES < union)
                back = C * P if not NO_WRAP and channel + line + i * X_LINES >= C else ZERO
                at = x_from[part] + uint64(channel) * P + i * X_LINES * P - back
                copy_x(tiles, x_to + part * THREADS + i * X_LINES * X_LINE, x, at if wanted else uint64(0), wanted)
        for i in range(W_COPIES):
            j = uint32(first + t % W_ACROSS * W_STEP - late[i])  # before its window: negative, a large number
            j = uint32(j + C) if not ONE_CLASS and j >= C else j
            wanted = ONE_CLASS or j < length[i]
            at = w_from[0] + j + i * W_LINES * D * G if ONE_CLASS else w_from[i] + j
            copy_w(tiles, w_to + i * W_LINES * W_LINE, weight, at if wanted else uint64(0), wanted)
        commit_copies()

    @device_function
    def step(sums, tiles, x_at, w_at):
        """Eight channels."""
        a = cuda.local.array(A, uint32)
        b = cuda.local.array(B, uint32)
        for i in range(MMA_ACROSS):
            for channel in range(TWO):
                h = i * FOUR + channel * TWO
                a0, a1 = load2(tiles, x_at + channel * X_LINE + i * SIXTEEN)
                a[h], a[h + 1] = round_to_tf32(a0), round_to_tf32(a1)
        for j in range(MMA_DOWN):
            b0, b1 = load2(tiles, w_at + j * EIGHT * W_LINE)
            b[j * TWO], b[j * TWO + 1] = round_to_tf32(b0), round_to_tf32(b1)
        for i in range(MMA_ACROSS):
            for j in range(MMA_DOWN):
                s, h = (i * MMA_DOWN + j) * FOUR, i * FOUR
                sums[s], sums[s + 1], sums[s + 2], sums[s + 3] = mma_tf32(
                    sums[s], sums[s + 1], sums[s + 2], sums[s + 3],
                    a[h], a[h + 1], a[h + 2], a[h + 3], b[j * TWO], b[j * TWO + 1],
                )  # fmt: skip

    @device_function
    def turn(x, weight, tiles, sums, now, then, first, channel, union, x_at, w_at, mine):
        """Multiply the tiles that begin at `now`, while the next ones are copied to `then`."""
        wait_for_copies(0)
        cuda.syncthreads()
        if first < union:
            copy(x, weight, tiles, then, first, channel, union, mine)
        step(sums, tiles, now + x_at, now + X_TILE + w_at)
        step(sums, tiles, now + x_at + EIGHT * X_LINE, now + X_TILE + w_at + EIGHT)

    @device_function
    def next_channel(channel):
        after = uint32(channel + LINE)
        return after if after < C else uint32(after - C)

    @jit(pointers=True)
    def forward_tensor_cores(x, weight, bias, y, filters, N):
        # x: (N, C, P), weight: (K, G), bias: (K,), y: (N, K, P), filters: (K,)
        tiles = cuda.shared.array(SIZE, float32, alignment=16)  # twice: x (LINE, X_LINE), w (FILTERS, W_LINE)
        sums = cuda.local.array(SUMS, float32)
        x_from = cuda.local.array(PARTS, uint64)  # where the columns that this thread copies begin, and whether
        in_image = cuda.local.array(PARTS, uint32)  # they exist
        w_from = cuda.local.array(LINES, uint64)  # for each line that this thread copies: where its filter begins,
        late = cuda.local.array(LINES, uint32)  # how many channels after the union it does,
        length = cuda.local.array(LINES, uint32)  # and how many it has: none for a line without a filter
        t = uint32(cuda.threadIdx.x)
        warp, g, quad = t // WARP, t % WARP // FOUR, t % FOUR
        row, column = uint32(warp // ACROSS % DOWN * ROWS), uint32(warp % ACROSS * WIDTH + g * TWO)
        x_at, w_at = uint32(quad * TWO * X_LINE + column), uint32((row + g) * W_LINE + quad * TWO)
        columns, first_column = uint32(N * P), uint32(uint32(cuda.blockIdx.x) * COLUMNS)
        for part in range(X_PARTS):
            q = uint32(first_column + part * THREADS + t % X_ACROSS * X_STEP)
            in_image[part] = ONE if NO_TAIL or q < columns else ZERO
            x_from[part] = (uint64(q // P) * C + t // X_ACROSS) * P + q % P  # seek to x[n, line, p]
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
            for i in range(SUMS):
                sums[i] = float32(0)
            channel, first = start, ZERO
            copy(x, weight, tiles, ZERO, first, channel, union, mine)
            while first < union:
                first, channel = uint32(first + LINE), next_channel(channel)
                turn(x, weight, tiles, sums, ZERO, BUFFER, first, channel, union, x_at, w_at, mine)
                if first < union:
                    first, channel = uint32(first + LINE), next_channel(channel)
                    turn(x, weight, tiles, sums, BUFFER, ZERO, first, channel, union, x_at, w_at, mine)
            cuda.syncthreads()  # before the next tiles are copied over these
            for i in range(MMA_ACROSS):
                q = uint32(first_column + column + i * SIXTEEN)
                for j in range(MMA_DOWN * TWO):
                    r = uint32(first_row + row + j // TWO * EIGHT + quad * TWO + j % TWO)
                    if (ONE_CLASS or r < K) and (NO_TAIL or q < columns):
                        k, s = filters[r], (i * MMA_DOWN + j // TWO) * FOUR + j % TWO
                        at, b = (uint64(q // P) * K + k) * P + q % P, bias[k]
                        if P % TWO == 0:
                            store2(y, at, sums[s] + b, sums[s + 2] + b)
                        else:
                            y[at] = sums[s] + b
                            if q + ONE < columns:
                                y[(uint64((q + ONE) // P) * K + k) * P + (q + ONE) % P] = sums[s + 2] + b
            tile_down = uint32(tile_down + uint32(cuda.gridDim.y))

    return forward_tensor_cores


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the one that wastes least: on work outside the band, on rows and columns that do not exist."""
    return cheapest_first(layer, TILES, DEPTH)


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Tiles of columns along x, tiles of sorted filters along y."""
    tile = tile or tiles(layer)[0]
    N, K, P = layer.output_shape
    grid = (-(-N * P // tile[1]), min(-(-K // tile[0]), MOST_BLOCKS), 1)
    threads = tile[0] * tile[1] // (tile[2] * tile[3]) * 32
    tables = (filters_by_start(layer),)
    return Launch(kernel(layer.sizes, tile), grid, (threads, 1, 1), tables=tables, scalars=(N,))


RUNG = Rung(
    "forward",
    "f9",
    "tensor cores, tf32",
    build,
    tiles,
    tile_names=("filters", "columns", "rows", "width"),
    dtypes=("float32",),
    rounds_to="tf32",
    least_target="sm_80",
    compiled_per_layer=True,
    prediction=Prediction(
        "issue slots per HMMA", at_most=4.5, words="issue slots per mma in the k-tile loop: none → 4.5"
    ),
)
