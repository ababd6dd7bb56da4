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
