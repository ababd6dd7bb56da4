"""X2, channel tiles: neighbouring channels times the pixels of all images, as a matrix product in tiles.

Idea: Sort the filters by where their window starts. Those that read one of a few neighbouring channels are then
neighbours too, and the gradient is a matrix product: channels are its rows, the pixels of all images its columns,
and the sum runs over a stretch of filters. A block computes a tile from shared memory, where a value serves many.

Prediction: sectors read per 32 products: 5 → 0.5.

                   ┌────────────────┐  columns (n, p) of grad_output,
                   │ y_tile   DEPTH │  of the next DEPTH filters
                   └────────────────┘
    channels ┌───┐ ┌────────────────┐
             │ w │ │ sums           │  each thread: 8 channels × 8 columns
             └───┘ └────────────────┘

What to look at: `exact`. Windows begin and end at multiples of h = gcd(S, G). A tile whose channels divide h meets
only windows that hold it whole, and nothing is masked. Elsewhere a weight outside the window is a zero: wasted
work, and a way for a NaN in grad_output, times zero, to reach channels of the tile that its filter does not read.

Changed against X1: shared memory and barriers, and tables (windows.py) in place of the search for filters. They
carry all that depends on the windows: one kernel serves all layers.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numba import cuda, float32, uint32, uint64

from scc_numba.device import Kernel, jit
from scc_numba.kernels.rung import Launch, Layer, Prediction, Rung, Tile
from scc_numba.kernels.windows import cheapest_by_channels, filter_tables, has_no_masks

MOST_BLOCKS = 65_535  # in y
SECTORS = "sectors read per 32 products"
DEPTH = 16  # filters of a k tile
# channels, columns, rows, width: rows × width are the sums of a thread
TILES = ((64, 128, 8, 8), (32, 128, 8, 4), (16, 128, 4, 4), (64, 32, 8, 4), (16, 32, 4, 2))


@cache
def kernel(tile: Tile, exact: bool) -> Kernel:
    """The kernel for a tile; `exact`: nothing is masked."""
    CHANNELS, COLUMNS, ROWS, WIDTH = map(np.uint32, tile)
    FILTERS, THREADS = np.uint32(DEPTH), np.uint32(threads_of(tile))
    ACROSS = COLUMNS // WIDTH  # threads
    Y_SHAPE, W_SHAPE, SUMS, A, B = (DEPTH, tile[1]), (DEPTH, tile[0]), tile[2] * tile[3], tile[2], tile[3]

    @jit(pointers=True)
    def grad_input_channel_tiles(grad_output, weight, grad_input, filters, starts, stretches, N, C, K, P, G):
        # grad_output: (N, K, P), weight: (K, G), grad_input: (N, C, P); filters, starts, stretches: windows.py
        y_tile = cuda.shared.array(Y_SHAPE, float32)
        w_tile = cuda.shared.array(W_SHAPE, float32)
        sums = cuda.local.array(SUMS, float32)
        a = cuda.local.array(A, float32)
        b = cuda.local.array(B, float32)
        t = uint32(cuda.threadIdx.x)
        row, column = uint32(t // ACROSS * ROWS), uint32(t % ACROSS * WIDTH)  # of this thread's sums
        first_column, columns = uint32(uint32(cuda.blockIdx.x) * COLUMNS), uint32(N * P)
        mine = uint32(first_column + t % COLUMNS)  # the column that this thread copies
        at = uint64(mine // P) * K * P + mine % P  # seek to grad_output[n, 0, p]
        block = uint32(cuda.blockIdx.y)
        while block * CHANNELS < C:
            first_channel = uint32(block * CHANNELS)
            channel = uint32(first_channel + t % CHANNELS)  # whose weights it copies
            for i in range(ROWS * WIDTH):
                sums[i] = float32(0)
            first, end = stretches[block * 2], stretches[block * 2 + 1]
            while first < end:
                i = uint32(t // COLUMNS)
                while i < FILTERS:
                    f = uint32(first + i)
                    value = float32(0)
                    if (exact or f < end) and mine < columns:
                        value = grad_output[at + uint64(filters[f]) * P]
                    y_tile[i, t % COLUMNS] = value
                    i = uint32(i + THREADS // COLUMNS)
                i = uint32(t // CHANNELS)
                while i < FILTERS:
                    f = uint32(first + i)
                    value = float32(0)
                    j = uint32(channel - starts[f])  # offset of the channel in the window
                    if exact or (f < end and j < G):
                        value = weight[uint64(filters[f]) * G + j]
                    w_tile[i, t % CHANNELS] = value
                    i = uint32(i + THREADS // CHANNELS)
                cuda.syncthreads()
                for inner in range(FILTERS):
                    for i in range(ROWS):
                        a[i] = w_tile[inner, row + i]
                    for i in range(WIDTH):
                        b[i] = y_tile[inner, column + i]
                    for i in range(ROWS):
                        for h in range(WIDTH):
                            sums[i * WIDTH + h] += a[i] * b[h]
                cuda.syncthreads()
                first = uint32(first + FILTERS)
            for h in range(WIDTH):
                q = uint32(first_column + column + h)
                for i in range(ROWS):
                    c = uint32(first_channel + row + i)
                    if c < C and q < columns:
                        grad_input[(uint64(q // P) * C + c) * P + q % P] = sums[i * WIDTH + h]
            block = uint32(block + uint32(cuda.gridDim.y))

    return grad_input_channel_tiles


def threads_of(tile: Tile) -> int:
    """Threads of a block, each with rows × width sums."""
    return tile[0] * tile[1] // (tile[2] * tile[3])


def tiles(layer: Layer) -> tuple[Tile, ...]:
    """First the one that wastes least: on weights outside the windows, on rows and columns that do not exist."""
    return cheapest_by_channels(layer, TILES, DEPTH)


def build(layer: Layer, tile: Tile | None = None) -> Launch:
    """Tiles of columns along x, tiles of channels along y."""
    tile = tile or tiles(layer)[0]
    N, C, P = layer.input_shape
    K, G = layer.weight_shape
    run = kernel(tile, has_no_masks(layer.channels, tile[0], DEPTH))
    grid = (-(-layer.columns // tile[1]), min(-(-C // tile[0]), MOST_BLOCKS), 1)
    tables = filter_tables(layer.channels, tile[0], padding=DEPTH)
    return Launch(run, grid, (threads_of(tile), 1, 1), tables=tables, scalars=(N, C, K, P, G))


RUNG = Rung(
    "grad_input",
    "x2",
    "channel-cyclic tiles of a matrix product",
    build,
    tiles,
    tile_names=("channels", "columns", "rows", "width"),
    dtypes=("float32",),
    flat_columns=True,
    prediction=Prediction(SECTORS, at_most=0.51, words=f"{SECTORS}: 5 → 0.5"),
)
