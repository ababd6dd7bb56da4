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

Table = np.ndarray[Any, np.dtype[np.uint32]]


@lru_cache(maxsize=256)
def filter_tables(channels: SlidingChannels, tile: int) -> tuple[Table, Table, Table]:
    """The filters that each tile of channels needs.

    Args:
        channels: the windows.
        tile: channels of a tile; the last tile may stick out.

    Returns:
        filters: (2K,), in the order of their windows, over two laps.
        starts: (2K,), first channel of the window of each, modulo 2³². Channel c lies in it, at offset c − start,
            if this difference, modulo 2³², is less than G. In a tile's stretch no filter holds a channel twice.
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
    return _read_only(filters), _read_only(starts), _read_only(stretches)


def products(channels: SlidingChannels, tile: int, depth: int) -> int:
    """Products for one column when tiles of channels take `depth` filters at a time, those with zeros included."""
    begin, end = filter_tables(channels, tile)[2].astype(np.int64).T
    return int(np.sum(-(-(end - begin) // depth))) * depth * tile


def has_no_masks(channels: SlidingChannels, tile: int, depth: int) -> bool:
    """Whether every filter of a stretch holds every channel of its tile, and `depth` divides every stretch."""
    return products(channels, tile, depth) == channels.out_channels * channels.group_width


def _read_only(numbers: np.ndarray[Any, Any]) -> Table:
    table = numbers.astype(np.uint32)
    table.flags.writeable = False
    return table
