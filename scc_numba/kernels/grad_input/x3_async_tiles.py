"""X3, async tiles: the multiply-adds have the issue slots to themselves, or nearly.

Idea: A multiprocessor issues one instruction of a warp at a time, so what is not a multiply-add is lost. Let shared
memory be read 16 bytes at a time without bank conflicts, let the next tiles be copied past the registers meanwhile,
and let tables say where each copy begins, so that nothing is computed for it but one address.

Prediction: FFMA share of the k-tile loop, copies included, 17 → 90 %.

    a thread's 8 columns:   X2   0 1 2 3 4 5 6 7               every second 16 bytes to a lane: two share a bank
                            X3   0 1 2 3 … 64 65 66 67         neighbouring 16 bytes

Changed against X2: a thread's channels and columns are groups of 4, half a tile apart. The k loop is unrolled by
hand. Two buffers of tiles, filled by cp.async in turn: one barrier for each. Copies are of 16 bytes where all begin
at a multiple of 4 numbers: for grad_output where P is one, for the weights where h is (all windows begin at a
multiple of h, and G is one too); else of 4. A thread looks its lines up before the barrier, and copies after it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, device_function, jit
from scc_numba.kernels import primitives as on_gpu
from scc_numba.kernels.primitives import commit_copies, load4, pointer_to, store4, wait_for_copies
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.windows import cheapest_by_channels, has_no_masks, line_tables

DEPTH = 16  # filters of a k tile
# channels, columns, rows, width: rows × width are the sums of a thread
TILES = ((64, 128, 8, 8), (128, 128, 8, 8), (32, 128, 4, 8), (64, 32, 8, 4), (16, 64, 4, 4), (16, 128, 4, 8))


@cache
def kernel(tile: Tile, exact: bool, y_wide: bool, w_wide: bool) -> Kernel:
    """The kernel for a tile; `exact`: nothing is masked; `y_wide`, `w_wide`: copies of 16 bytes, not of 4."""
    CHANNELS, COLUMNS, ROWS, WIDTH = map(np.uint32, tile)
    FILTERS, FOUR, EIGHT, WARP = map(np.uint32, (DEPTH, 4, 8, 32))
    THREADS, WARPS_ACROSS = CHANNELS * COLUMNS // (ROWS * WIDTH), COLUMNS // WIDTH // EIGHT
    NEXT_ROWS, NEXT_COLUMNS = CHANNELS * FOUR // ROWS, COLUMNS * FOUR // WIDTH  # from a group of 4 to the next
    copy_y, copy_w = (on_gpu.copy_async_16 if wide else on_gpu.copy_async_4 for wide in (y_wide, w_wide))
    Y_STEP, W_STEP = (np.uint32(4 if wide else 1) for wide in (y_wide, w_wide))  # numbers in a copy
    Y_ACROSS, W_ACROSS = COLUMNS // Y_STEP, CHANNELS // W_STEP  # copies in a line of a tile
    Y_LINES, W_LINES = THREADS // Y_ACROSS, THREADS // W_ACROSS  # lines that all threads copy at once
    Y_COPIES, W_COPIES = FILTERS // Y_LINES, FILTERS // W_LINES  # of each thread
    Y_TILE, BUFFER = FILTERS * COLUMNS, FILTERS * (COLUMNS + CHANNELS)
    LINES, SIZE, SUMS, A, B = int(Y_COPIES + W_COPIES), 2 * int(BUFFER), tile[2] * tile[3], tile[2], tile[3]

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
        for i in range(Y_COPIES):
            copy_y(tiles, uint32(to + t * Y_STEP) + i * THREADS * Y_STEP, y, lines[i], in_image)
        for i in range(W_COPIES):
            in_window = exact or uint32(channel - starts[uint32(first + t // W_ACROSS) + i * W_LINES]) < G
            at = lines[Y_COPIES + i] if in_window else uint64(0)
            copy_w(tiles, uint32(to + Y_TILE + t * W_STEP) + i * THREADS * W_STEP, w, at, in_window)
        commit_copies()

    @device_function
    def two_steps(sums, tiles, y_at, w_at):
        a = cuda.local.array(A, float32)
        b = cuda.local.array(B, float32)
        for f in range(2):
            for i in range(0, ROWS, FOUR):
                at = w_at + f * CHANNELS + i // FOUR * NEXT_ROWS
                a[i], a[i + 1], a[i + 2], a[i + 3] = load4(tiles, at)
            for i in range(0, WIDTH, FOUR):
                at = y_at + f * COLUMNS + i // FOUR * NEXT_COLUMNS
                b[i], b[i + 1], b[i + 2], b[i + 3] = load4(tiles, at)
            for i in range(ROWS):
                for h in range(WIDTH):
                    sums[i * WIDTH + h] += a[i] * b[h]

    @jit(pointers=True)
    def grad_input_async_tiles(grad_output, weight, grad_input, y_lines, w_lines, starts, stretches, N, C, K, P, G):
        # grad_output: (N, K, P), weight: (K, G), grad_input: (N, C, P); the tables: windows.py
        tiles = cuda.shared.array(SIZE, float32, alignment=16)  # twice: y (FILTERS, COLUMNS), w (FILTERS, CHANNELS)
        sums = cuda.local.array(SUMS, float32)
        lines = cuda.local.array(LINES, uint64)
        t = uint32(cuda.threadIdx.x)
        lane, warp = t % WARP, t // WARP
        column = uint32((warp % WARPS_ACROSS * EIGHT + lane % EIGHT) * FOUR)
        row = uint32((warp // WARPS_ACROSS * FOUR + lane // EIGHT) * FOUR)
        columns, first_column = uint32(N * P), uint32(uint32(cuda.blockIdx.x) * COLUMNS)
        q = uint32(first_column + t % Y_ACROSS * Y_STEP)
        in_image = q < columns
        y = pointer_to(grad_output, uint64(q // P) * K * P + q % P if in_image else uint64(0))
        first_channel = uint32(uint32(cuda.blockIdx.y) * CHANNELS)
        channel = uint32(first_channel + t % W_ACROSS * W_STEP)
        w = pointer_to(weight, channel)
        for i in range(ROWS * WIDTH):
            sums[i] = float32(0)
        first, end = stretches[cuda.blockIdx.y * 2], stretches[cuda.blockIdx.y * 2 + 1]
        now = uint32(0)
        look_up(y_lines, w_lines, first, lines)
        copy(y, w, starts, lines, tiles, now, first, in_image, channel, G)
        while first < end:
            first = uint32(first + FILTERS)
            look_up(y_lines, w_lines, first, lines)
            wait_for_copies(0)
            cuda.syncthreads()
            if first < end:
                copy(y, w, starts, lines, tiles, BUFFER - now, first, in_image, channel, G)
            y_at, w_at = now + column, now + Y_TILE + row
            two_steps(sums, tiles, y_at, w_at)
            two_steps(sums, tiles, y_at + 2 * COLUMNS, w_at + 2 * CHANNELS)
            two_steps(sums, tiles, y_at + 4 * COLUMNS, w_at + 4 * CHANNELS)
            two_steps(sums, tiles, y_at + 6 * COLUMNS, w_at + 6 * CHANNELS)
            two_steps(sums, tiles, y_at + 8 * COLUMNS, w_at + 8 * CHANNELS)
            two_steps(sums, tiles, y_at + 10 * COLUMNS, w_at + 10 * CHANNELS)
            two_steps(sums, tiles, y_at + 12 * COLUMNS, w_at + 12 * CHANNELS)
            two_steps(sums, tiles, y_at + 14 * COLUMNS, w_at + 14 * CHANNELS)
            now = uint32(BUFFER - now)
        for i in range(ROWS):
            c = uint32(first_channel + row + i % FOUR + i // FOUR * NEXT_ROWS)
            for h in range(WIDTH):
                q, s = uint32(first_column + column + h % FOUR + h // FOUR * NEXT_COLUMNS), i * WIDTH + h
                if (exact or c < C) and q < columns:
                    to = (uint64(q // P) * C + c) * P + q % P
                    if not y_wide:
                        grad_input[to] = sums[s]
                    elif h % FOUR == 0:
                        store4(grad_input, to, sums[s], sums[s + 1], sums[s + 2], sums[s + 3])

    return grad_input_async_tiles


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Tiles of columns along x, tiles of channels along y."""
    channels, columns, rows, width = tile = tile or tiles(layer)[0]
    N, C, P = layer.input_shape
    K, G = layer.weight_shape
    h = np.gcd(layer.channels.step, G)
    run = kernel(tile, has_no_masks(layer.channels, channels, DEPTH), P % 4 == 0, h % 4 == 0)
    grid = (-(-layer.columns // columns), -(-C // channels), 1)
    threads = channels * columns // (rows * width)
    tables = line_tables(layer, channels, padding=2 * DEPTH)
    return Launch(run, grid, (threads, 1, 1), tables=tables, scalars=(N, C, K, P, G))


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the one that wastes least. The last is only for wide copies: it has more columns than threads."""
    return cheapest_by_channels(layer, TILES if layer.pixels % 4 == 0 else TILES[:-1], DEPTH)


RUNG = Rung(
    "grad_input",
    "x3",
    "asynchronous copies, no bank conflicts",
    build,
    tiles,
    tile_names=("channels", "columns", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    prediction=Prediction(
        "FFMA share of the k-tile loop, %", at_least=88, words="FFMA share of the k-tile loop: 17 → 90 %"
    ),
)
