"""W5, tensor cores: a warp multiplies 16 filters, 8 pixels and 8 channels by one instruction, in tf32.

Idea: mma.sync does 1,024 multiply-adds where an FMA of a warp does 32. It takes its operands as tf32, float32 with
10 bits of mantissa instead of 23, and adds in float32.

Prediction: issue slots for each mma, of the whole k-tile loop: none → 5.2.

    mma multiplies A, 16 × 8, by B, 8 × 8. Here A is a piece of grad_output, its filters as rows, B one of x, and a
    warp does 4 × 8 of them for 64 filters and 64 channels.

         lane 4g + q    grad_output: pixels q, q + 4 of filters g, g + 8          x: pixels q, q + 4 of channel g
                        grad_weight: channels 2q, 2q + 1 of filters g, g + 8

Changed against W4: the step. Operands are rounded to nearest, which takes two instructions; the tensor cores alone
would cut them off. What several warps read, grad_output, is rounded where it lies, by the thread that copied it,
before the barrier shows it to the others; there, too, it is summed for the bias.

What to look at: both operands have their pixels in a line, so that what mma wants in four neighbouring registers
lies in two lines, and is loaded one by one. F9 and X4, with columns in a line, load two at a time.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, device_function, jit
from scc_numba.kernels import primitives as on_gpu
from scc_numba.kernels.parts import add_parts, partial_size
from scc_numba.kernels.primitives import (
    commit_copies,
    load4,
    mma_tf32,
    pointer_to,
    round_to_tf32,
    store4,
    wait_for_copies,
)
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.tiling import band_tiles, cheapest_in_band, filters_by_start, share_of_pixels

MOST_BLOCKS, WHOLE_WARP = 65_535, 0xFFFFFFFF
DEPTH = 16  # pixels of a k tile
# filters, channels, rows, width: rows × width are the sums of a warp
TILES = ((64, 128, 64, 64), (128, 128, 64, 64), (64, 64, 32, 32), (32, 32, 32, 16), (16, 32, 16, 16))


@cache
def kernel(tile: Tile, wide: bool, exact: bool, bias: bool) -> Kernel:
    """The kernel for a tile; `wide`: 16-byte copies; `exact`: all sums lie in the band; `bias`: with grad_bias."""
    FILTERS, CHANNELS, ROWS, WIDTH = map(np.uint32, tile)
    PIXELS, ZERO, ONE, TWO, FOUR, EIGHT, WARP = map(np.uint32, (DEPTH, 0, 1, 2, 4, 8, 32))
    ACROSS, DOWN, LINE = CHANNELS // WIDTH, FILTERS // ROWS, PIXELS + FOUR  # warps, warps, numbers
    MMA_DOWN, MMA_ACROSS = ROWS // (EIGHT * TWO), WIDTH // EIGHT
    STEP = FOUR if wide else ONE  # numbers in a copy
    LINES = ACROSS * DOWN * WARP // (PIXELS // STEP)  # that all threads copy at once
    G_COPIES, COPIES = FILTERS // LINES, (FILTERS + CHANNELS) // LINES  # of each thread
    BUFFER, TO_NEXT = (FILTERS + CHANNELS) * LINE, LINES * LINE
    SIZE, SUMS, A, B, POINTERS = 2 * int(BUFFER), tile[2] * tile[3] // 32, tile[2] // 4, tile[3] // 4, int(COPIES)
    BIAS = int(G_COPIES)
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
    def rounded(value):
        return round_to_tf32(value).view(np.float32)

    @device_function
    def round_own(tiles, bias_sums, at):
        """Round what this thread copied of grad_output, where it lies; and sum it first, for the bias."""
        for i in range(G_COPIES):
            if wide:
                a0, a1, a2, a3 = load4(tiles, at)
                if bias:
                    bias_sums[i] += a0 + a1 + a2 + a3
                store4(tiles, at, rounded(a0), rounded(a1), rounded(a2), rounded(a3))
            else:
                if bias:
                    bias_sums[i] += tiles[at]
                tiles[at] = rounded(tiles[at])
            at += TO_NEXT

    @device_function
    def step(sums, tiles, a_at, b_at):
        """Eight pixels."""
        a = cuda.local.array(A, uint32)
        b = cuda.local.array(B, uint32)
        for i in range(MMA_DOWN * TWO):
            h, at = i // TWO * FOUR + i % TWO, a_at + i * EIGHT * LINE
            a[h], a[h + TWO] = tiles[at].view(np.uint32), tiles[at + FOUR].view(np.uint32)
        for j in range(MMA_ACROSS):
            at = b_at + j * EIGHT * LINE
            b[j * TWO], b[j * TWO + 1] = round_to_tf32(tiles[at]), round_to_tf32(tiles[at + FOUR])
        for i in range(MMA_DOWN):
            for j in range(MMA_ACROSS):
                s, h = (i * MMA_ACROSS + j) * FOUR, i * FOUR
                sums[s], sums[s + 1], sums[s + 2], sums[s + 3] = mma_tf32(
                    sums[s], sums[s + 1], sums[s + 2], sums[s + 3],
                    a[h], a[h + 1], a[h + 2], a[h + 3], b[j * TWO], b[j * TWO + 1],
                )  # fmt: skip

    @jit(pointers=True)
    def grad_weight_tensor_cores(
        grad_output, x, grad_weight, grad_bias, filters, work, partial, N, C, K, P, G, S, share, tile_count
    ):
        # grad_output: (N, K, P), x: (N, C, P), filters: (K,), work: (tile_count, 2), see `band_tiles`
        # partial: (parts, K·G, or K·G + K with the bias); the results are left to the second pass
        tiles = cuda.shared.array(SIZE, float32, alignment=16)  # twice: (FILTERS, LINE), (CHANNELS, LINE)
        sums = cuda.local.array(SUMS, float32)
        bias_sums = cuda.local.array(BIAS, float32)
        lines = cuda.local.array(POINTERS, uint32)  # where each line that this thread copies begins in its image
        t = uint32(cuda.threadIdx.x)
        warp, g, quad = t // WARP, t % WARP // FOUR, t % FOUR
        row, column = uint32(warp // ACROSS * ROWS + g), uint32(warp % ACROSS * WIDTH)
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
            for i in range(SUMS):
                sums[i] = float32(0)
                bias_sums[i % BIAS] = float32(0)
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
                round_own(tiles, bias_sums, now + to)
                cuda.syncthreads()
                if first < end:
                    copy(grad_output, x, lines, tiles, BUFFER - now + to, g_at, x_at, uint32(first + pixel) < end)
                a_at = now + row * LINE + quad
                b_at = now + (FILTERS + column + g) * LINE + quad
                step(sums, tiles, a_at, b_at)
                step(sums, tiles, a_at + EIGHT, b_at + EIGHT)
                now = uint32(BUFFER - now)
            cuda.syncthreads()  # before the next tiles are copied over these
            for i in range(MMA_DOWN * TWO):
                r = uint32(first_row + row + i * EIGHT)
                k = filters[min(r, K - ONE)]
                late, width = uint32(k * S % C - start), G if r < K else ZERO
                to = pointer_to(partial, base + uint64(k) * G)
                for j in range(MMA_ACROSS * TWO):
                    channel = uint32(first_channel + column + j // TWO * EIGHT + quad * TWO + j % TWO)
                    offset = uint32(channel - late)  # before the filter's window: negative, a large number
                    offset = uint32(offset + C) if not exact and offset >= C else offset
                    if exact or (channel < C and offset < width):
                        to[offset] = sums[(i // TWO * MMA_ACROSS + j // TWO) * FOUR + i % TWO * TWO + j % TWO]
            for i in range(G_COPIES):
                if bias and first_channel == 0:  # the lanes that copied a line have each summed some of its pixels
                    total = bias_sums[i]
                    total += cuda.shfl_xor_sync(WHOLE_WARP, total, 1)
                    total += cuda.shfl_xor_sync(WHOLE_WARP, total, 2)
                    if not wide:
                        total += cuda.shfl_xor_sync(WHOLE_WARP, total, 4)
                        total += cuda.shfl_xor_sync(WHOLE_WARP, total, 8)
                    r = uint32(first_row + line + i * LINES)
                    if r < K and pixel == 0:
                        partial[base + uint64(K) * G + filters[r]] = total
            number = uint32(number + uint32(cuda.gridDim.y))

    return grad_weight_tensor_cores


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
        block=(filters * channels // (rows * width) * 32, 1, 1),
        tables=(*(() if bias else (np.zeros(1, np.float32),)), filters_by_start(layer), work),
        scalars=(N, C, K, P, G, layer.channels.step, share, len(work)),
        results=2 if bias else 1,
        workspace=parts * partial_size(layer, bias),
        then=add_parts(layer, parts, bias),
    )


RUNG = Rung(
    "grad_weight",
    "w5",
    "tensor cores, tf32",
    build,
    tiles,
    tile_names=("filters", "channels", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    rounds_to="tf32",
    least_target="sm_80",
    with_bias=True,
    prediction=Prediction(
        "issue slots per HMMA", at_most=5.5, words="issue slots per mma in the k-tile loop: none → 5.2"
    ),
)
