"""W4, async tiles: pixels by four from shared memory, copies behind the multiply-adds, small classes packed.

Idea: Both operands have pixels as their last dim, and the sum is over pixels. So a tile of either keeps lines as
they are in memory, copied 16 bytes at a time, and a thread reads four pixels of a line at once: 16 loads for 256
multiply-adds. Lines are looked up before the loop, in which only the pixel moves on.

Prediction: FFMA share of the k-tile loop, copies included, 5 → 89 %.

         channels of the union →          The filters, sorted by the start of their window, are a band: a tile of
    k=0  ■ ■ ■ ■ · · · ·                  FILTERS × CHANNELS sums lies on it, and keeps those of its sums that lie
    k=4  ■ ■ ■ ■ · · · ·                  in the band. In one class all do; where classes are small, a tile has
    k=1  · · ■ ■ ■ ■ · ·                  filters of several, and some sums are dropped.

Changed against W3: cp.async and two buffers. A line of a tile is 4 numbers longer than its pixels, so that the
lines that a warp reads begin in different banks. 16 bytes are copied where P is a multiple of 4, else 4.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, device_function, jit
from scc_numba.kernels import primitives as on_gpu
from scc_numba.kernels.parts import add_parts, partial_size
from scc_numba.kernels.primitives import commit_copies, load4, pointer_to, wait_for_copies
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.tiling import band_tiles, cheapest_in_band, filters_by_start, share_of_pixels

MOST_BLOCKS = 65_535  # in y
DEPTH = 16  # pixels of a k tile
# filters, channels, rows, width: rows × width are the sums of a thread
TILES = ((64, 128, 8, 8), (64, 64, 8, 4), (32, 64, 4, 4), (16, 32, 2, 4))


@cache
def kernel(tile: Tile, wide: bool, exact: bool, bias: bool) -> Kernel:
    """The kernel for a tile; `wide`: 16-byte copies; `exact`: all sums lie in the band; `bias`: with grad_bias."""
    FILTERS, CHANNELS, ROWS, WIDTH = map(np.uint32, tile)
    PIXELS, ZERO, ONE, FOUR, EIGHT, WARP = map(np.uint32, (DEPTH, 0, 1, 4, 8, 32))
    ACROSS, DOWN, LINE = CHANNELS // WIDTH, FILTERS // ROWS, PIXELS + FOUR
    STEP = FOUR if wide else ONE  # numbers in a copy
    LINES = ACROSS * DOWN // (PIXELS // STEP)  # that all threads copy at once
    G_COPIES, COPIES = FILTERS // LINES, (FILTERS + CHANNELS) // LINES  # of each thread
    BUFFER, TO_NEXT = (FILTERS + CHANNELS) * LINE, LINES * LINE
    SIZE, SUMS, A, ROW, POINTERS = 2 * int(BUFFER), tile[2] * tile[3], tile[2] * 4, tile[2], int(COPIES)
    copy_one = on_gpu.copy_async_16 if wide else on_gpu.copy_async_4

    @device_function
    def copy(grad_output, x, lines, tiles, to, g_at, x_at, wanted):
        g_image, x_image = pointer_to(grad_output, g_at), pointer_to(x, x_at)
        for i in range(G_COPIES):
            copy_one(tiles, to + i * TO_NEXT, g_image, lines[i], wanted)
        for i in range(G_COPIES, COPIES):
            copy_one(tiles, to + i * TO_NEXT, x_image, lines[i], wanted)
        commit_copies()

    @device_function
    def step(sums, bias_sums, tiles, a_at, b_at):
        """Four pixels."""
        a = cuda.local.array(A, float32)
        for i in range(ROWS):
            h = i * FOUR
            a[h], a[h + 1], a[h + 2], a[h + 3] = load4(tiles, a_at + i * DOWN * LINE)
            if bias:
                bias_sums[i] += a[h] + a[h + 1] + a[h + 2] + a[h + 3]
        for j in range(WIDTH):
            b0, b1, b2, b3 = load4(tiles, b_at + j * ACROSS * LINE)
            for i in range(ROWS):
                s, h = i * WIDTH + j, i * FOUR
                sums[s] += a[h] * b0
                sums[s] += a[h + 1] * b1
                sums[s] += a[h + 2] * b2
                sums[s] += a[h + 3] * b3

    @jit(pointers=True)
    def grad_weight_async_tiles(
        grad_output, x, grad_weight, grad_bias, filters, work, partial, N, C, K, P, G, S, share, tile_count
    ):
        # grad_output: (N, K, P), x: (N, C, P), filters: (K,), work: (tile_count, 2), see `band_tiles`
        # partial: (parts, K·G, or K·G + K with the bias); the results are left to the second pass
        tiles = cuda.shared.array(SIZE, float32, alignment=16)  # twice: (FILTERS, LINE), (CHANNELS, LINE)
        sums = cuda.local.array(SUMS, float32)
        bias_sums = cuda.local.array(ROW, float32)
        lines = cuda.local.array(POINTERS, uint32)  # where each line that this thread copies begins in its image
        t = uint32(cuda.threadIdx.x)
        lane, warp = t % WARP, t // WARP
        column = uint32(warp % (ACROSS // EIGHT) * EIGHT + lane % EIGHT)
        row = uint32(warp // (ACROSS // EIGHT) * FOUR + lane // EIGHT)
        line, pixel = t // (PIXELS // STEP), uint32(t % (PIXELS // STEP) * STEP)  # of this thread's copies
        begin = uint32(share * uint32(cuda.blockIdx.x))  # of this block's part of the pixels
        end = min(uint32(N * P), uint32(begin + share))
        base = uint64(cuda.blockIdx.x) * K * (G + bias)
        next_g, next_x = uint64(K - ONE) * P, uint64(C - ONE) * P  # from one image's end to the next one's begin
        number = uint32(cuda.blockIdx.y)
        while number < tile_count:
            first_row, first_channel = work[2 * number], work[2 * number + 1]
            start = uint32(filters[first_row] * S % C)
            for i in range(G_COPIES):
                lines[i] = uint32(filters[min(uint32(first_row + line + i * LINES), K - ONE)] * P)
            for i in range(G_COPIES, COPIES):
                lines[i] = uint32((uint64(start) + first_channel + line + (i - G_COPIES) * LINES) % C * P)
            for i in range(ROWS * WIDTH):
                sums[i] = float32(0)
            for i in range(ROWS):
                bias_sums[i] = float32(0)
            first, now, to = begin, ZERO, uint32(line * LINE + pixel)
            q = uint32(first + pixel)
            p = q % P
            g_at, x_at = uint64(q // P) * K * P + p, uint64(q // P) * C * P + p
            copy(grad_output, x, lines, tiles, to, g_at, x_at, q < end)
            while first < end:
                first, p = uint32(first + PIXELS), uint32(p + PIXELS)
                g_at, x_at = g_at + PIXELS, x_at + PIXELS
                while p >= P:  # on to the next image
                    p, g_at, x_at = uint32(p - P), g_at + next_g, x_at + next_x
                wait_for_copies(0)
                cuda.syncthreads()
                if first < end:
                    copy(grad_output, x, lines, tiles, BUFFER - now + to, g_at, x_at, uint32(first + pixel) < end)
                a_at, b_at = now + row * LINE, now + (FILTERS + column) * LINE
                step(sums, bias_sums, tiles, a_at, b_at)
                step(sums, bias_sums, tiles, a_at + FOUR, b_at + FOUR)
                step(sums, bias_sums, tiles, a_at + EIGHT, b_at + EIGHT)
                step(sums, bias_sums, tiles, a_at + EIGHT + FOUR, b_at + EIGHT + FOUR)
                now = uint32(BUFFER - now)
            cuda.syncthreads()  # before the next tiles are copied over these
            for i in range(ROWS):
                r = uint32(first_row + row + i * DOWN)
                k = filters[min(r, K - ONE)]
                late = uint32(k * S % C - start)
                for j in range(WIDTH):
                    channel = uint32(first_channel + column + j * ACROSS)
                    offset = uint32(channel - late)  # before the filter's window: negative, a large number
                    offset = uint32(offset + C) if not exact and offset >= C else offset
                    if exact or (r < K and channel < C and offset < G):
                        partial[base + uint64(k) * G + offset] = sums[i * WIDTH + j]
                if bias and r < K and first_channel + column == 0:
                    partial[base + uint64(K) * G + k] = bias_sums[i]
            number = uint32(number + uint32(cuda.gridDim.y))

    return grad_weight_async_tiles


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the one that drops fewest sums. Where copies are of 4 bytes, large tiles have too many for a thread."""
    return cheapest_in_band(layer, TILES if layer.pixels % 4 == 0 else TILES[2:])


def build(layer: Layer, tile: Tile | None = None, bias: bool = False) -> Launch:
    """Parts of the pixels along x, tiles of the band along y."""
    filters, channels, rows, width = tile = tile or tiles(layer)[0]
    N, C, P = layer.input_shape
    K, G = layer.weight_shape
    work = band_tiles(layer, filters, channels)
    share = share_of_pixels(layer, len(work), DEPTH)
    parts = -(-layer.columns // share)
    exact = K % (filters * layer.channels.cycle) == 0 and G % channels == 0
    return Launch(
        kernel(tile, P % 4 == 0, exact, bias),
        grid=(parts, min(len(work), MOST_BLOCKS), 1),
        block=(filters * channels // (rows * width), 1, 1),
        tables=(*(() if bias else (np.zeros(1, np.float32),)), filters_by_start(layer), work),
        scalars=(N, C, K, P, G, layer.channels.step, share, len(work)),
        results=2 if bias else 1,
        workspace=parts * partial_size(layer, bias),
        then=add_parts(layer, parts, bias),
    )


RUNG = Rung(
    "grad_weight",
    "w4",
    "asynchronous copies, no bank conflicts, small classes packed",
    build,
    tiles,
    tile_names=("filters", "channels", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    with_bias=True,
    prediction=Prediction(
        "FFMA share of the k-tile loop, %", at_least=88, words="FFMA share of the k-tile loop: 5 → 89 %"
    ),
)
