"""The tables of filters: what a tile's stretch holds is exactly what the windows say."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scc_reference import SlidingChannels

from scc_numba.check.strategies import sliding_channels
from scc_numba.kernels import Layer
from scc_numba.kernels.windows import cheapest_by_channels, filter_tables, has_no_masks, line_tables, products


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


@settings(max_examples=300, deadline=None)
@given(sliding_channels(), st.integers(1, 20))
def test_lines_begin_where_arrays_have_them(channels, tile):
    layer = Layer(channels, batch=1, pixels=5, dtype=np.dtype(np.float32))
    K, C, G = channels.out_channels, channels.in_channels, channels.group_width
    filters, starts, stretches = filter_tables(channels, tile, padding=3)
    y_lines, w_lines, *same = line_tables(layer, tile, padding=3)
    np.testing.assert_array_equal(y_lines, np.arange(K * 5).reshape(K, 5)[filters, 0])
    np.testing.assert_array_equal(same[0], starts)
    np.testing.assert_array_equal(same[1], stretches)
    weight = np.arange(K * G).reshape(K, G)
    for c in range(C):
        offset = np.uint32(c) - starts
        held = offset < G
        np.testing.assert_array_equal(w_lines.astype(int)[held] + c, weight[filters[held], offset[held]])
    assert not np.any(np.arange(C, dtype=np.uint32) - starts[2 * K :, None] < G)


def test_lines_past_2_to_the_32():
    layer = Layer(SlidingChannels(70_000, 70_000, 1, 0.5), batch=1, pixels=100_000, dtype=np.dtype(np.float32))
    y_lines, w_lines, _, _ = line_tables(layer, 64)
    assert y_lines.max() == 69_999 * 100_000
    assert w_lines[-1] == 69_999 * 70_000 - 35_000  # the last window starts in the middle


def test_the_cheapest_tile_is_in_front():
    tiles = ((64, 128, 8, 8), (16, 128, 4, 8), (16, 64, 4, 4))
    layer = lambda channels, pixels: Layer(channels, 1, pixels, np.dtype(np.float32))  # noqa: E731
    wide = SlidingChannels(256, 256, 2, 0.5)
    assert cheapest_by_channels(layer(wide, 100_000), tiles, 16)[0] == (64, 128, 8, 8)  # h = 64
    narrow = SlidingChannels(256, 256, 8, 0.33)
    assert cheapest_by_channels(layer(narrow, 100_000), tiles, 16)[0] == (16, 128, 4, 8)  # h = 2: many zeros
    assert cheapest_by_channels(layer(wide, 49), tiles, 16)[0] == (16, 64, 4, 4)  # too few columns for a large one
