"""The tables of filters: what a tile's stretch holds is exactly what the windows say."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scc_reference import SlidingChannels

from scc_numba.check.strategies import sliding_channels
from scc_numba.kernels.windows import filter_tables, has_no_masks, products


def held(channels, tile):
    """How often the tables say that filter k reads channel c, at which offset: (K, C) counts and offsets."""
    C, G = channels.in_channels, channels.group_width
    filters, starts, stretches = filter_tables(channels, tile)
    counts, offsets = np.zeros((channels.out_channels, C), int), np.zeros((channels.out_channels, C), int)
    for number, (begin, end) in enumerate(stretches):
        for c in range(number * tile, min(number * tile + tile, C)):
            offset = np.uint32(c) - starts[begin:end]
            k, j = filters[begin:end][offset < G], offset[offset < G]
            np.add.at(counts, (k, c), 1)
            offsets[k, c] = j
    return counts, offsets


@settings(max_examples=300, deadline=None)
@given(sliding_channels(), st.integers(1, 20))
def test_every_window_is_held_once(channels, tile):
    counts, offsets = held(channels, tile)
    np.testing.assert_array_equal(counts, channels.dense_mask())
    for c in range(channels.in_channels):
        k, j = channels.covering(c)
        np.testing.assert_array_equal(offsets[k, c], j)


@settings(max_examples=300, deadline=None)
@given(sliding_channels(), st.integers(1, 20), st.integers(1, 5))
def test_no_masks_means_that_nothing_is_wasted(channels, tile, depth):
    C, G = channels.in_channels, channels.group_width
    _, starts, stretches = filter_tables(channels, tile)
    unmasked = C % tile == 0
    for number, (begin, end) in enumerate(stretches):
        offset = np.uint32(number * tile) + np.arange(tile, dtype=np.uint32) - starts[begin:end, None]
        unmasked &= bool(np.all(offset < G)) and (int(end) - int(begin)) % depth == 0
    assert has_no_masks(channels, tile, depth) == unmasked
    assert products(channels, tile, depth) >= channels.out_channels * G


def test_a_tile_that_divides_h_needs_no_mask():
    channels = SlidingChannels(256, 256, 2, 0.5)  # h = gcd(S, G) = 64, M = 64
    assert has_no_masks(channels, 64, 16)
    assert not has_no_masks(channels, 128, 16)
    assert not has_no_masks(SlidingChannels(256, 256, 8, 0.33), 16, 16)  # h = 2, M = 2
