"""How a layer is cut into tiles: the order of its filters, and which of a rung's tiles wastes least.

Sorted by the start of their window, the filters of a layer are a band: a tile of them reads the union of their
windows, which for filters of one class is one window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scc_numba.kernels.rung import Layer, Tile

MULTIPROCESSORS = 132  # of an H200; with fewer blocks than this, some of a GPU has nothing to do
COPIES = 3  # instructions of a thread for each channel that are neither FMA nor loads of them


def filters_by_start(layer: Layer) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """(K,): the filters in the order of the start of their windows, those of one class in their own order."""
    return np.argsort(layer.channels.starts, kind="stable").astype(np.uint32)


def unions(layer: Layer, filters: int) -> np.ndarray[Any, Any]:
    """How many channels each tile of so many sorted filters reads: those of the union of their windows."""
    starts = np.sort(layer.channels.starts)
    first = starts[::filters]
    last = starts[np.minimum(np.arange(len(first)) * filters + filters, len(starts)) - 1]
    return np.minimum(last - first + layer.channels.group_width, layer.channels.in_channels)


def smallest_fitting(tiles: tuple[Tile, ...], lines: int) -> tuple[Tile, ...]:
    """The tiles with the smallest in front whose first number is at least `lines`; the largest where none is."""
    large_enough = [tile for tile in tiles if tile[0] >= min(lines, max(tile[0] for tile in tiles))]
    return tuple(dict.fromkeys((min(large_enough, key=lambda tile: tile[0]), *tiles)))


def share_of_pixels(layer: Layer, blocks: int, depth: int) -> int:
    """How many pixels, of all images in a row, a block of the weight gradient sums: a multiple of `depth`.

    There are `blocks` tiles of sums. The pixels are split so that two blocks come on each multiprocessor, but no
    block gets fewer than LEAST_STEPS · depth: the sums of every part are written, and read again.
    """
    parts = max(1, 2 * MULTIPROCESSORS // blocks)
    steps = -(-layer.columns // depth)
    return max(min(steps, LEAST_STEPS), -(-steps // parts)) * depth


LEAST_STEPS = 16


def band_tiles(layer: Layer, filters: int, channels: int) -> np.ndarray[Any, np.dtype[np.uint32]]:
    """(tiles, 2): the tiles that cover the band of sorted filters and channels.

    Each is the first of its sorted filters, and how many channels after the start of its window the tile begins.
    """
    tiles = [
        (row * filters, at) for row, union in enumerate(unions(layer, filters)) for at in range(0, union, channels)
    ]
    return np.array(tiles, np.uint32)


def cheapest_in_band(layer: Layer, tiles: tuple[Tile, ...]) -> tuple[Tile, ...]:
    """The tiles (filters, channels, rows, width) with the one in front that the model of `cheapest_first` prefers.

    Blocks share out the pixels too, so that all multiprocessors have work unless there are few pixels.
    """

    def cost(tile: Tile) -> float:
        filters, channels, rows, width = tile
        slots = 1 + ((rows + width) / 4 + COPIES) / (rows * width)
        return len(band_tiles(layer, filters, channels)) * filters * channels * slots

    return tuple(sorted(tiles, key=cost))


def cheapest_first(layer: Layer, tiles: tuple[Tile, ...], depth: int) -> tuple[Tile, ...]:
    """The tiles (filters, columns, rows, width) with the one in front that a simple model takes for the fastest.

    The model counts instructions: every block multiplies its tile of filters and columns for the whole union, in
    steps of `depth` channels, whether needed or not; a thread with rows × width sums loads (rows + width) / 4 times
    for each channel. With fewer blocks than multiprocessors, the time is that of one block.
    """
    columns = layer.batch * layer.pixels

    def cost(tile: Tile) -> float:
        channels = -(-unions(layer, tile[0]) // depth) * depth
        blocks = len(channels) * -(-columns // tile[1])
        slots = 1 + ((tile[2] + tile[3]) / 4 + COPIES) / (tile[2] * tile[3])
        return float(channels.mean()) * tile[0] * tile[1] * slots * max(1, blocks / MULTIPROCESSORS)

    return tuple(sorted(tiles, key=cost))
