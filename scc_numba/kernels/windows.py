"""Which filters read a tile of neighbouring channels: tables for the kernels of the input gradient.

Sorted by the first channel of their window, the filters that read one of a few neighbouring channels are neighbours
too: a stretch of the table. So that no stretch and no window wraps around, the channels are unrolled over two laps,
−C to C: each filter is in the table twice, with its window starting at start(k) − C and at start(k).

    C = 8, G = 4, S = 2, K = 4        start   −8  −6  −4  −2   0   2   4   6
                                      filter   0   1   2   3   0   1   2   3
    channels 0 and 1 are read by                           └─────┘
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from scc_reference import SlidingChannels

from scc_numba.kernels.rung import Layer, Tile
from scc_numba.kernels.tiling import COPIES, MULTIPROCESSORS

NOWHERE = 2**31  # a start that no channel lies behind
Table = np.ndarray[Any, np.dtype[np.uint32]]
Places = np.ndarray[Any, np.dtype[np.uint64]]


@lru_cache(maxsize=256)
def filter_tables(channels: SlidingChannels, tile: int, padding: int = 0) -> tuple[Table, Table, Table]:
    """The filters that each tile of channels needs.

    Args:
        channels: the windows.
        tile: channels of a tile; the last tile may stick out.
        padding: entries to add at the end, for kernels that read past a stretch; they hold no channel.

    Returns:
        filters: (2K + padding,), in the order of their windows, over two laps.
        starts: (2K + padding,), first channel of the window of each, modulo 2³². Channel c lies in it, at offset
            c − start, if this difference, modulo 2³², is less than G. In a stretch no filter holds a channel twice.
        stretches: (tiles, 2), where in these tables a tile's filters begin and end. Those between are all that
            hold one of its channels.
    """
    C, G = channels.in_channels, channels.group_width
    order = np.argsort(channels.starts, kind="stable")
    filters = np.concatenate([order, order])
    starts = np.concatenate([channels.starts[order] - C, channels.starts[order]])
    first_channel = np.arange(0, C, tile)
    begin = np.searchsorted(starts, first_channel - G, side="right")
    end = np.searchsorted(starts, np.minimum(first_channel + tile, C), side="left")
    stretches = np.stack([begin, end], axis=1)
    filters, starts = np.pad(filters, (0, padding)), np.pad(starts, (0, padding), constant_values=NOWHERE)
    return _read_only(filters), _read_only(starts), _read_only(stretches)


def line_tables(layer: Layer, tile: int, padding: int = 0) -> tuple[Places, Places, Table, Table]:
    """The same, with places in memory in place of the filters: 64 bits, as an index there must have.

    Returns:
        y_lines: (2K + padding,), k·P: where the line of filter k begins in an image of grad_output.
        w_lines: (2K + padding,), k·G − start: add c for the weight that filter k has for channel c. Never negative.
        starts, stretches: as `filter_tables` gives them.
    """
    C, G = layer.channels.in_channels, layer.channels.group_width
    filters, starts, stretches = filter_tables(layer.channels, tile, padding)
    k = filters.astype(np.int64)
    w_lines = k * G - layer.channels.starts[k] + np.where(np.arange(len(k)) < layer.channels.out_channels, C, 0)
    return (k * layer.pixels).astype(np.uint64), w_lines.astype(np.uint64), starts, stretches


def products(channels: SlidingChannels, tile: int, depth: int) -> int:
    """Products for one column when tiles of channels take `depth` filters at a time, those with zeros included."""
    begin, end = filter_tables(channels, tile)[2].astype(np.int64).T
    return int(np.sum(-(-(end - begin) // depth))) * depth * tile


def cheapest_by_channels(layer: Layer, tiles: tuple[Tile, ...], depth: int) -> tuple[Tile, ...]:
    """The tiles (channels, columns, rows, width) with the one in front that a simple model takes for the fastest.

    The model is that of `tiling.cheapest_first`: it counts instructions, of products with zeros too, and with fewer
    blocks than multiprocessors the time is that of one block.
    """

    def cost(tile: Tile) -> float:
        channels, columns, rows, width = tile
        across, down = -(-layer.columns // columns), -(-layer.channels.in_channels // channels)
        slots = 1 + ((rows + width) / 4 + COPIES) / (rows * width)
        return products(layer.channels, channels, depth) * columns * slots * max(across, MULTIPROCESSORS / down)

    return tuple(sorted(tiles, key=cost))


def has_no_masks(channels: SlidingChannels, tile: int, depth: int) -> bool:
    """Whether every filter of a stretch holds every channel of its tile, and `depth` divides every stretch."""
    return products(channels, tile, depth) == channels.out_channels * channels.group_width


def _read_only(numbers: np.ndarray[Any, Any]) -> Table:
    table = numbers.astype(np.uint32)
    table.flags.writeable = False
    return table
