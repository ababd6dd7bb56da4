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
    pointer_to,
    round_to_tf32,
    store2,
    wait_for_copies,
)
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.tiling import cheapest_first, filters_by_start

MOST_BLOCKS = 65_535  # in y
DEPTH = 16  # channels of a k tile
# filters, columns, rows, width: the last two are the sums of a warp
TILES = (
    (64, 256, 64, 64),
    (128, 128, 64, 64),
    (32, 128, 32, 32),
    (16, 64, 16, 32),
    (64, 32, 16, 32),
    (64, 128, 32, 64),
)


@cache
def kernel(tile: Tile, exact: bool, x_wide: bool, w_wide: bool) -> Kernel:
    """The kernel for a tile; `exact`: no weight is masked, no tile wraps; `…_wide`: 16-byte copies, not 4."""
    FILTERS, COLUMNS, ROWS, WIDTH = map(np.uint32, tile)
    CHANNELS, ZERO, ONE, TWO, FOUR, EIGHT, SIXTEEN, WARP = map(np.uint32, (DEPTH, 0, 1, 2, 4, 8, 16, 32))
    ACROSS, DOWN = COLUMNS // WIDTH, FILTERS // ROWS  # warps
    THREADS, X_LINE, W_LINE = ACROSS * DOWN * WARP, COLUMNS + FOUR, CHANNELS + EIGHT
    MMA_ACROSS, MMA_DOWN = WIDTH // SIXTEEN, ROWS // EIGHT  # a warp's mma
    copy_x, copy_w = (on_gpu.copy_async_16 if wide else on_gpu.copy_async_4 for wide in (x_wide, w_wide))
    X_STEP, W_STEP = (np.uint32(4 if wide else 1) for wide in (x_wide, w_wide))  # numbers in a copy
    X_ACROSS, W_ACROSS = COLUMNS // X_STEP, CHANNELS // W_STEP  # copies in a line of a tile
    X_LINES, W_LINES = THREADS // X_ACROSS, THREADS // W_ACROSS  # lines that all threads copy at once
    X_COPIES, W_COPIES = CHANNELS // X_LINES, FILTERS // W_LINES  # of each thread
    X_TILE, BUFFER = CHANNELS * X_LINE, CHANNELS * X_LINE + FILTERS * W_LINE
    SIZE, SUMS, LINES = 2 * int(BUFFER), tile[2] * tile[3] // 32, int(W_COPIES)
    A, B = int(MMA_ACROSS) * 4, int(MMA_DOWN) * 2

    @device_function
    def copy(x, w, lines, late, tiles, x_to, w_to, first, channel, union, in_image, C, P, G):
        """Start copying the tiles of the channels from `first` in the union on; this thread begins at `channel`."""
        for i in range(X_COPIES):
            c = uint32(channel + i * X_LINES)
            c = c if exact or c < C else uint32(c - C)
            wanted = in_image and (exact or first + cuda.threadIdx.x // X_ACROSS + i * X_LINES < union)
            copy_x(tiles, x_to + i * X_LINES * X_LINE, x, uint32(c * P), wanted)
        for i in range(W_COPIES):
            j = uint32(first + cuda.threadIdx.x % W_ACROSS * W_STEP - late[i])  # before its window: a large number
            lap = ZERO if exact or j < C else C
            wanted = exact or uint32(j + lap) < G
            copy_w(tiles, w_to + i * W_LINES * W_LINE, w, uint32(lines[i] + first + lap), wanted)
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

    @jit(pointers=True)
    def forward_tensor_cores(x, weight, bias, y, filters, N, C, K, P, G, S):
        # x: (N, C, P), weight: (K, G), bias: (K,), y: (N, K, P), filters: (K,)
        tiles = cuda.shared.array(SIZE, float32, alignment=16)  # twice: x (CHANNELS, X_LINE), w (FILTERS, W_LINE)
        sums = cuda.local.array(SUMS, float32)
        lines = cuda.local.array(
            LINES, uint32
        )  # for each line that this thread copies: where the union would begin in its filter,
        late = cuda.local.array(LINES, uint32)  # and how many channels after the union its window does
        t = uint32(cuda.threadIdx.x)
        warp, g, quad = t // WARP, t % WARP // FOUR, t % FOUR
        row, column = uint32(warp // ACROSS % DOWN * ROWS), uint32(warp % ACROSS * WIDTH + g * TWO)
        columns, first_column = uint32(N * P), uint32(uint32(cuda.blockIdx.x) * COLUMNS)
        q = uint32(first_column + t % X_ACROSS * X_STEP)
        in_image = q < columns
        image = pointer_to(
            x, uint64(q // P) * C * P + q % P if in_image else uint64(0)
        )  # x[n, 0, p], of its copies
        w = pointer_to(weight, ZERO)
        x_to, w_to = (
            t // X_ACROSS * X_LINE + t % X_ACROSS * X_STEP,
            X_TILE + t // W_ACROSS * W_LINE + t % W_ACROSS * W_STEP,
        )
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
            for i in range(SUMS):
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
                x_at = now + quad * TWO * X_LINE + column
                w_at = now + X_TILE + (row + g) * W_LINE + quad * TWO
                step(sums, tiles, x_at, w_at)
                step(sums, tiles, x_at + EIGHT * X_LINE, w_at + EIGHT)
                now = uint32(BUFFER - now)
            cuda.syncthreads()  # before the next tiles are copied over these
            for i in range(MMA_ACROSS):
                q = uint32(first_column + column + i * SIXTEEN)
                q_next = uint32(q + ONE)
                y_at, y_next = uint64(q // P) * K * P + q % P, uint64(q_next // P) * K * P + q_next % P
                for j in range(MMA_DOWN * TWO):
                    r = uint32(first_row + row + j // TWO * EIGHT + quad * TWO + j % TWO)
                    s = (i * MMA_DOWN + j // TWO) * FOUR + j % TWO
                    if r < K and q < columns:
                        k = filters[r]
                        line, b = uint64(k) * P, bias[k]
                        if x_wide:
                            store2(y, y_at + line, sums[s] + b, sums[s + 2] + b)
                        else:
                            y[y_at + line] = sums[s] + b
                            if q_next < columns:
                                y[y_next + line] = sums[s + 2] + b
            tile_down = uint32(tile_down + uint32(cuda.gridDim.y))

    return forward_tensor_cores


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the one that wastes least: on work outside the band, on rows and columns that do not exist."""
    return cheapest_first(layer, TILES if layer.pixels % 4 == 0 else TILES[1:], DEPTH)


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
        block=(filters * columns // (rows * width) * 32, 1, 1),
        tables=(filters_by_start(layer),),
        scalars=(N, C, K, P, G, S),
    )


RUNG = Rung(
    "forward",
    "f9",
    "tensor cores, tf32",
    build,
    tiles,
    tile_names=("filters", "columns", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    rounds_to="tf32",
    least_target="sm_80",
    prediction=Prediction(
        "issue slots per HMMA", at_most=4.5, words="issue slots per mma in the k-tile loop: none → 4.5"
    ),
)
