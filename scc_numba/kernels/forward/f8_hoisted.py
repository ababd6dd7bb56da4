"""F8, hoisted: what stays the same is computed once, and small classes share a tile.

Idea: In the k-tile loop only the channel moves on. So a thread finds its filters, its pixels and whether they
exist before the loop, and where a tile holds filters of one class, no weight is masked and no tile wraps.

Prediction: FFMA share of the k-tile loop, copies included, 86 → 90 %.

         channels →                      Sorted by the start of their window, the filters are a band. A tile of
    k=0  ■ ■ ■ ■ · · · ·  ┐              them reads the union of their windows, and takes zero for the weights
    k=4  ■ ■ ■ ■ · · · ·  ┘ one class    outside the band. In one class there are no such weights; where classes
    k=1  · · ■ ■ ■ ■ · ·  ┐ two classes  are small, the tile still has all its rows.
    k=2  · · · · ■ ■ ■ ■  ┘

Changed against F7: the table `filters`, sorted by start, says which filter a row is. Sizes are arguments again:
outside the loop they cost little, and inside it addresses are a pointer and an offset, so that one compiled kernel
serves many layers. y is written 16 bytes at a time where P is a multiple of 4.

What to know: a weight outside the band makes 0 · x, which is NaN where x is not finite. There, and only in a tile
of several classes, a filter can be spoilt by a channel that it does not read. As in F7, no numbers of 16 bits: what
bypasses the registers cannot be widened on its way.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, device_function, jit
from scc_numba.kernels import primitives as on_gpu
from scc_numba.kernels.primitives import commit_copies, load4, pointer_to, store4, wait_for_copies
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.tiling import cheapest_first, filters_by_start

MOST_BLOCKS = 65_535  # in y
DEPTH = 16  # channels of a k tile
# filters, columns, rows, width: the last two are the sums of a thread
TILES = ((64, 128, 8, 8), (128, 128, 8, 8), (32, 128, 4, 8), (64, 32, 8, 4), (16, 64, 4, 4))


@cache
def kernel(tile: Tile, exact: bool, x_wide: bool, w_wide: bool) -> Kernel:
    """The kernel for a tile; `exact`: no weight is masked, no tile wraps; `…_wide`: 16-byte copies, not 4."""
    FILTERS, COLUMNS, ROWS, WIDTH = map(np.uint32, tile)
    CHANNELS, ZERO, ONE, FOUR, EIGHT, WARP = map(np.uint32, (DEPTH, 0, 1, 4, 8, 32))
    ACROSS, DOWN, W_LINE, GROUPS = COLUMNS // WIDTH, FILTERS // ROWS, CHANNELS + FOUR, WIDTH // FOUR
    THREADS, NEXT_COLUMNS = ACROSS * DOWN, COLUMNS // GROUPS
    copy_x, copy_w = (on_gpu.copy_async_16 if wide else on_gpu.copy_async_4 for wide in (x_wide, w_wide))
    X_STEP, W_STEP = (np.uint32(4 if wide else 1) for wide in (x_wide, w_wide))  # numbers in a copy
    X_ACROSS, W_ACROSS = COLUMNS // X_STEP, CHANNELS // W_STEP  # copies in a line of a tile
    X_LINES, W_LINES = THREADS // X_ACROSS, THREADS // W_ACROSS  # lines that all threads copy at once
    X_COPIES, W_COPIES = CHANNELS // X_LINES, FILTERS // W_LINES  # of each thread
    X_TILE, BUFFER = CHANNELS * COLUMNS, CHANNELS * COLUMNS + FILTERS * W_LINE
    SIZE, SUMS, A, B, LINES = 2 * int(BUFFER), tile[2] * tile[3], tile[2] * 4, tile[3], int(W_COPIES)

    @device_function
    def copy(x, w, lines, late, tiles, x_to, w_to, first, channel, union, in_image, C, P, G):
        """Start copying the tiles of the channels from `first` in the union on; this thread begins at `channel`."""
        for i in range(X_COPIES):
            c = uint32(channel + i * X_LINES)
            c = c if exact or c < C else uint32(c - C)
            wanted = in_image and (exact or first + cuda.threadIdx.x // X_ACROSS + i * X_LINES < union)
            copy_x(tiles, x_to + i * X_LINES * COLUMNS, x, uint32(c * P), wanted)
        for i in range(W_COPIES):
            j = uint32(first + cuda.threadIdx.x % W_ACROSS * W_STEP - late[i])  # before its window: a large number
            lap = ZERO if exact or j < C else C
            wanted = exact or uint32(j + lap) < G
            copy_w(tiles, w_to + i * W_LINES * W_LINE, w, uint32(lines[i] + first + lap), wanted)
        commit_copies()

    @device_function
    def step(sums, tiles, x_at, w_at):
        """Four channels."""
        a = cuda.local.array(A, float32)
        b = cuda.local.array(B, float32)
        for i in range(ROWS):
            h = i * FOUR
            a[h], a[h + 1], a[h + 2], a[h + 3] = load4(tiles, w_at + i * DOWN * W_LINE)
        for channel in range(FOUR):
            for g in range(GROUPS):
                h, at = g * FOUR, x_at + channel * COLUMNS + g * NEXT_COLUMNS
                b[h], b[h + 1], b[h + 2], b[h + 3] = load4(tiles, at)
            for i in range(ROWS):
                for h in range(WIDTH):
                    sums[i * WIDTH + h] += a[i * FOUR + channel] * b[h]

    @jit(pointers=True)
    def forward_hoisted(x, weight, bias, y, filters, N, C, K, P, G, S):
        # x: (N, C, P), weight: (K, G), bias: (K,), y: (N, K, P), filters: (K,)
        tiles = cuda.shared.array(SIZE, float32, alignment=16)  # twice: x (CHANNELS, COLUMNS), w (FILTERS, W_LINE)
        sums = cuda.local.array(SUMS, float32)
        lines = cuda.local.array(
            LINES, uint32
        )  # for each line that this thread copies: where the union would begin in its filter,
        late = cuda.local.array(LINES, uint32)  # and how many channels after the union its window does
        t = uint32(cuda.threadIdx.x)
        lane, warp = t % WARP, t // WARP
        column = uint32((warp % (ACROSS // EIGHT) * EIGHT + lane % EIGHT) * FOUR)
        row = uint32(warp // (ACROSS // EIGHT) * FOUR + lane // EIGHT)
        columns, first_column = uint32(N * P), uint32(uint32(cuda.blockIdx.x) * COLUMNS)
        q = uint32(first_column + t % X_ACROSS * X_STEP)
        in_image = q < columns
        image = pointer_to(
            x, uint64(q // P) * C * P + q % P if in_image else uint64(0)
        )  # x[n, 0, p], of its copies
        w = pointer_to(weight, ZERO)
        x_to, w_to = t * X_STEP, X_TILE + t // W_ACROSS * W_LINE + t % W_ACROSS * W_STEP
        tile_down = uint32(cuda.blockIdx.y)
        while tile_down < (K + FILTERS - ONE) // FILTERS:
            first_row = uint32(tile_down * FILTERS)
            start = uint32(filters[first_row] * S % C)
            last = filters[min(uint32(first_row + FILTERS), K) - ONE]
            union = G if exact else min(C, uint32(last * S % C - start + G))
            for i in range(W_COPIES):
                r = uint32(first_row + t // W_ACROSS + i * W_LINES)
                k = filters[min(r, K - ONE)]  # past the last filter: any, for it is not written
                late[i] = ZERO if exact else uint32(k * S % C - start)
                lines[i] = uint32(k * G + t % W_ACROSS * W_STEP - late[i])
            for i in range(ROWS * WIDTH):
                sums[i] = float32(0)
            channel, first, now = uint32((start + t // X_ACROSS) % C), ZERO, ZERO
            copy(image, w, lines, late, tiles, x_to, w_to, first, channel, union, in_image, C, P, G)
            while first < union:
                first, channel = uint32(first + CHANNELS), uint32(channel + CHANNELS)
                if channel >= C:
                    channel = uint32(channel - C)
                wait_for_copies(0)
                cuda.syncthreads()
                if first < union:
                    to = BUFFER - now
                    copy(
                        image, w, lines, late, tiles, to + x_to, to + w_to, first, channel, union, in_image, C, P, G
                    )
                x_at, w_at = now + column, now + X_TILE + row * W_LINE
                step(sums, tiles, x_at, w_at)
                step(sums, tiles, x_at + 4 * COLUMNS, w_at + 4)
                step(sums, tiles, x_at + 8 * COLUMNS, w_at + 8)
                step(sums, tiles, x_at + 12 * COLUMNS, w_at + 12)
                now = uint32(BUFFER - now)
            cuda.syncthreads()  # before the next tiles are copied over these
            for h in range(0, WIDTH, FOUR if x_wide else ONE):
                q = uint32(first_column + column + h % FOUR + h // FOUR * NEXT_COLUMNS)
                y_at = uint64(q // P) * K * P + q % P
                for i in range(ROWS):
                    r, s = uint32(first_row + row + i * DOWN), i * WIDTH + h
                    if r < K and q < columns:
                        k = filters[r]
                        line, b = uint64(k) * P, bias[k]
                        if x_wide:
                            store4(y, y_at + line, sums[s] + b, sums[s + 1] + b, sums[s + 2] + b, sums[s + 3] + b)
                        else:
                            y[y_at + line] = sums[s] + b
            tile_down = uint32(tile_down + uint32(cuda.gridDim.y))

    return forward_hoisted


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the one that wastes least: on work outside the band, on rows and columns that do not exist."""
    return cheapest_first(layer, TILES, DEPTH)


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Tiles of columns along x, tiles of sorted filters along y."""
    filters, columns, rows, width = tile = tile or tiles(layer)[0]
    N, C, P = layer.input_shape
    K, G = layer.weight_shape
    S, h = layer.channels.step, C // layer.channels.cycle
    exact = K % (filters * layer.channels.cycle) == 0 and G % DEPTH == h % DEPTH == 0
    return Launch(
        kernel(tile, exact, P % 4 == 0, G % 4 == 0 and (exact or h % 4 == 0)),
        grid=(-(-layer.columns // columns), min(-(-K // filters), MOST_BLOCKS), 1),
        block=(filters * columns // (rows * width), 1, 1),
        tables=(filters_by_start(layer),),
        scalars=(N, C, K, P, G, S),
    )


RUNG = Rung(
    "forward",
    "f8",
    "wrap and masks hoisted, small classes packed",
    build,
    tiles,
    tile_names=("filters", "columns", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    prediction=Prediction(
        "FFMA share of the k-tile loop, %", at_least=90, words="FFMA share of the k-tile loop: 86 → 90 %"
    ),
)
