"""X4, tensor cores: a warp multiplies 16 columns, 8 filters and 8 channels by one instruction, in tf32.

Idea: mma.sync does 1,024 multiply-adds where an FMA of a warp does 32. It takes its operands as tf32, float32 with
10 bits of mantissa instead of 23, and adds in float32.

Prediction: issue slots for each mma, of the whole k-tile loop: none → 4.4.

    mma multiplies A, 16 × 8, by B, 8 × 8. Here A is a piece of grad_output, its columns as rows, and B one of the
    weights, and a warp does 4 × 8 of them for 64 columns and 64 channels. Which column mma takes for the first does
    not matter: so a lane's two columns are neighbours, which it loads and stores by one instruction.

         lane 4g + q    grad_output: columns 2g, 2g + 1 of filters q, q + 4
                        weights:     channel g of filters q, q + 4
                        grad_input:  columns 2g, 2g + 1 of channels 2q, 2q + 1

Changed against X3: the step, and the lines of both tiles, 8 longer: so the lanes of a warp, which read four
lines, meet all 32 banks. Operands are rounded to nearest; the tensor cores alone would cut them off. To round a
number takes two instructions. So the weights, which several warps read, are rounded where they lie, by the thread
that copied them, before the barrier shows them to the others.
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
    load4,
    mma_tf32,
    pointer_to,
    round_to_tf32,
    store2,
    store4,
    wait_for_copies,
)
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.windows import cheapest_by_channels, has_no_masks, line_tables

DEPTH = 16  # filters of a k tile
# channels, columns, rows, width: rows × width are the sums of a warp
TILES = ((128, 128, 64, 64), (64, 128, 32, 64), (32, 128, 32, 32), (32, 32, 32, 32), (64, 256, 64, 64))


@cache
def kernel(tile: Tile, exact: bool, y_wide: bool, w_wide: bool) -> Kernel:
    """The kernel for a tile; `exact`: nothing is masked; `y_wide`, `w_wide`: copies of 16 bytes, not of 4."""
    CHANNELS, COLUMNS, ROWS, WIDTH = map(np.uint32, tile)
    FILTERS, TWO, FOUR, EIGHT, WARP = map(np.uint32, (DEPTH, 2, 4, 8, 32))
    ACROSS = COLUMNS // WIDTH  # warps
    MMA_ACROSS, MMA_DOWN, SIXTEEN = WIDTH // (EIGHT * TWO), ROWS // EIGHT, EIGHT * TWO  # a warp's mma
    THREADS = CHANNELS // ROWS * ACROSS * WARP
    Y_LINE, W_LINE = COLUMNS + EIGHT, CHANNELS + EIGHT
    copy_y, copy_w = (on_gpu.copy_async_16 if wide else on_gpu.copy_async_4 for wide in (y_wide, w_wide))
    Y_STEP, W_STEP = (np.uint32(4 if wide else 1) for wide in (y_wide, w_wide))  # numbers in a copy
    Y_ACROSS, W_ACROSS = COLUMNS // Y_STEP, CHANNELS // W_STEP  # copies in a line of a tile
    Y_LINES, W_LINES = THREADS // Y_ACROSS, THREADS // W_ACROSS  # lines that all threads copy at once
    Y_COPIES, W_COPIES = FILTERS // Y_LINES, FILTERS // W_LINES  # of each thread
    Y_TILE, BUFFER = FILTERS * Y_LINE, FILTERS * (Y_LINE + W_LINE)
    LINES, SIZE, SUMS = int(Y_COPIES + W_COPIES), 2 * int(BUFFER), tile[2] * tile[3] // 32
    A, B = int(MMA_ACROSS) * 4, int(MMA_DOWN) * 2

    @device_function
    def rounded(value):
        return round_to_tf32(value).view(np.float32)

    @device_function
    def look_up(y_lines, w_lines, first, lines):
        """Where in memory the lines begin that this thread copies, of the filters from `first` on."""
        t = uint32(cuda.threadIdx.x)
        for i in range(Y_COPIES):
            lines[i] = y_lines[uint32(first + t // Y_ACROSS) + i * Y_LINES]
        for i in range(W_COPIES):
            lines[Y_COPIES + i] = w_lines[uint32(first + t // W_ACROSS) + i * W_LINES]

    @device_function
    def copy(y, w, starts, lines, tiles, to, first, in_image, channel, G):
        t = uint32(cuda.threadIdx.x)
        y_to = uint32(to + t // Y_ACROSS * Y_LINE + t % Y_ACROSS * Y_STEP)
        w_to = uint32(to + Y_TILE + t // W_ACROSS * W_LINE + t % W_ACROSS * W_STEP)
        for i in range(Y_COPIES):
            copy_y(tiles, y_to + i * Y_LINES * Y_LINE, y, lines[i], in_image)
        for i in range(W_COPIES):
            in_window = exact or uint32(channel - starts[uint32(first + t // W_ACROSS) + i * W_LINES]) < G
            at = lines[Y_COPIES + i] if in_window else uint64(0)
            copy_w(tiles, w_to + i * W_LINES * W_LINE, w, at, in_window)
        commit_copies()

    @device_function
    def round_weights(tiles, to):
        """Round the weights that this thread copied, which the other threads do not see yet."""
        t = uint32(cuda.threadIdx.x)
        w_to = uint32(to + Y_TILE + t // W_ACROSS * W_LINE + t % W_ACROSS * W_STEP)
        for i in range(W_COPIES):
            at = w_to + i * W_LINES * W_LINE
            if w_wide:
                w0, w1, w2, w3 = load4(tiles, at)
                store4(tiles, at, rounded(w0), rounded(w1), rounded(w2), rounded(w3))
            else:
                tiles[at] = rounded(tiles[at])

    @device_function
    def eight_filters(sums, tiles, y_at, w_at):
        a = cuda.local.array(A, uint32)
        b = cuda.local.array(B, uint32)
        for half in range(TWO):
            for i in range(MMA_ACROSS):
                a0, a1 = load2(tiles, y_at + half * FOUR * Y_LINE + i * SIXTEEN)
                h = i * FOUR + half * TWO
                a[h], a[h + 1] = round_to_tf32(a0), round_to_tf32(a1)
            for j in range(MMA_DOWN):
                b[j * TWO + half] = tiles[w_at + half * FOUR * W_LINE + j * EIGHT].view(np.uint32)
        for i in range(MMA_ACROSS):
            for j in range(MMA_DOWN):
                s, h = (i * MMA_DOWN + j) * FOUR, i * FOUR
                sums[s], sums[s + 1], sums[s + 2], sums[s + 3] = mma_tf32(
                    sums[s], sums[s + 1], sums[s + 2], sums[s + 3],
                    a[h], a[h + 1], a[h + 2], a[h + 3], b[j * TWO], b[j * TWO + 1],
                )  # fmt: skip

    @jit(pointers=True)
    def grad_input_tensor_cores(
        grad_output, weight, grad_input, y_lines, w_lines, starts, stretches, N, C, K, P, G
    ):
        # grad_output: (N, K, P), weight: (K, G), grad_input: (N, C, P); the tables: windows.py
        tiles = cuda.shared.array(SIZE, float32, alignment=16)  # twice: y (FILTERS, Y_LINE), w (FILTERS, W_LINE)
        sums = cuda.local.array(SUMS, float32)
        lines = cuda.local.array(LINES, uint64)
        t = uint32(cuda.threadIdx.x)
        warp, g, quad = t // WARP, t % WARP // FOUR, t % FOUR
        row, column = uint32(warp // ACROSS * ROWS), uint32(warp % ACROSS * WIDTH + g * TWO)
        y_at, w_at = uint32(quad * Y_LINE + column), uint32(Y_TILE + quad * W_LINE + row + g)
        columns, first_column = uint32(N * P), uint32(uint32(cuda.blockIdx.x) * COLUMNS)
        q = uint32(first_column + t % Y_ACROSS * Y_STEP)
        in_image = q < columns
        y = pointer_to(grad_output, uint64(q // P) * K * P + q % P if in_image else uint64(0))
        first_channel = uint32(uint32(cuda.blockIdx.y) * CHANNELS)
        channel = uint32(first_channel + t % W_ACROSS * W_STEP)
        w = pointer_to(weight, channel)
        for i in range(SUMS):
            sums[i] = float32(0)
        first, end = stretches[cuda.blockIdx.y * 2], stretches[cuda.blockIdx.y * 2 + 1]
        now = uint32(0)
        look_up(y_lines, w_lines, first, lines)
        copy(y, w, starts, lines, tiles, now, first, in_image, channel, G)
        while first < end:
            first = uint32(first + FILTERS)
            look_up(y_lines, w_lines, first, lines)
            wait_for_copies(0)
            round_weights(tiles, now)
            cuda.syncthreads()
            if first < end:
                copy(y, w, starts, lines, tiles, BUFFER - now, first, in_image, channel, G)
            eight_filters(sums, tiles, now + y_at, now + w_at)
            eight_filters(sums, tiles, now + y_at + EIGHT * Y_LINE, now + w_at + EIGHT * W_LINE)
            now = uint32(BUFFER - now)
        for i in range(MMA_ACROSS):
            q = uint32(first_column + column + i * SIXTEEN)
            q_next = uint32(q + 1)
            to, to_next = uint64(q // P) * C * P + q % P, uint64(q_next // P) * C * P + q_next % P
            for j in range(MMA_DOWN * TWO):
                c = uint32(first_channel + row + j // TWO * EIGHT + quad * TWO + j % TWO)
                line, s = uint64(c) * P, (i * MMA_DOWN + j // TWO) * FOUR + j % TWO
                if (exact or c < C) and q < columns:
                    if y_wide:
                        store2(grad_input, to + line, sums[s], sums[s + 2])
                    else:
                        grad_input[to + line] = sums[s]
                        if q_next < columns:
                            grad_input[to_next + line] = sums[s + 2]

    return grad_input_tensor_cores


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Tiles of columns along x, tiles of channels along y."""
    channels, columns, rows, width = tile = tile or tiles(layer)[0]
    N, C, P = layer.input_shape
    K, G = layer.weight_shape
    h = np.gcd(layer.channels.step, G)
    run = kernel(tile, has_no_masks(layer.channels, channels, DEPTH), P % 4 == 0, h % 4 == 0)
    grid = (-(-layer.columns // columns), -(-C // channels), 1)
    threads = channels * columns // (rows * width) * 32
    tables = line_tables(layer, channels, padding=2 * DEPTH)
    return Launch(run, grid, (threads, 1, 1), tables=tables, scalars=(N, C, K, P, G))


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the one that wastes least. The last is only for wide copies: it has more columns than threads."""
    return cheapest_by_channels(layer, TILES if layer.pixels % 4 == 0 else TILES[:-1], DEPTH)


RUNG = Rung(
    "grad_input",
    "x4",
    "tensor cores, tf32",
    build,
    tiles,
    tile_names=("channels", "columns", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    rounds_to="tf32",
    least_target="sm_80",
    prediction=Prediction(
        "issue slots per HMMA", at_most=4.5, words="issue slots per mma in the k-tile loop: none → 4.4"
    ),
)
