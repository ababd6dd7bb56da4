import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scc_reference import SlidingChannels

from scc_numba.check.strategies import sliding_channels


def test_the_worked_example_of_the_design():
    channels = SlidingChannels(128, 128, groups=4, overlap=0.33)
    assert (channels.group_width, channels.step, channels.cycle) == (32, 22, 64)


@pytest.mark.parametrize(
    ("overlap", "step"),
    [
        (0, 100),
        (0.0, 100),
        (-0.0, 100),
        (0.29, 71),  # binary floating point would floor 0.29·100 to 28
        (np.float32(0.29), 71),
        (np.float16(0.29), 71),
        (np.float64(0.57), 43),
        (1 / 3, 67),
        (Fraction(1, 3), 67),
        (0.999, 1),
        (Fraction(99, 100), 1),
        (1e-300, 100),
    ],
)
def test_overlap_is_read_as_the_decimal_that_was_typed(overlap, step):
    assert SlidingChannels(100, 7, 1, overlap).step == step


@given(st.integers(1, 400), st.integers(0, 99))
def test_step_follows_from_hundredths_exactly(group_width, percent):
    channels = SlidingChannels(group_width, 1, 1, percent / 100)
    assert channels.step == group_width - percent * group_width // 100


@given(sliding_channels())
def test_geometry(channels):
    C, K, G, S, D = (
        channels.in_channels,
        channels.out_channels,
        channels.group_width,
        channels.step,
        channels.cycle,
    )
    assert 1 <= S <= G
    assert G * channels.groups == C
    assert channels.starts.shape == (K,)
    assert channels.starts.tolist() == [k * S % C for k in range(K)]
    assert channels.channel_index.tolist() == [[(k * S + j) % C for j in range(G)] for k in range(K)]
    assert D * S % C == 0
    assert all(d * S % C for d in range(1, D)), "no shorter cycle"


@given(sliding_channels())
def test_covering_turns_channel_index_around(channels):
    pairs = {(k, j, int(c)) for k, row in enumerate(channels.channel_index) for j, c in enumerate(row)}
    found = {
        (int(k), int(j), c) for c in range(channels.in_channels) for k, j in zip(*channels.covering(c), strict=True)
    }
    assert found == pairs
    assert all(np.all(np.diff(channels.covering(c)[0]) > 0) for c in range(channels.in_channels))


@given(sliding_channels())
def test_classes_are_the_filters_that_share_a_window(channels):
    by_window = {}
    for k, row in enumerate(channels.channel_index):
        by_window.setdefault(tuple(row.tolist()), []).append(k)
    found = [filters.tolist() for filters in channels.classes()]
    assert sorted(found) == sorted(by_window.values())
    assert sorted(k for filters in found for k in filters) == list(range(channels.out_channels))


@given(sliding_channels())
def test_dense_mask_marks_each_window(channels):
    mask = channels.dense_mask()
    assert mask.shape == (channels.out_channels, channels.in_channels)
    assert mask.sum(axis=1).tolist() == [channels.group_width] * channels.out_channels
    for k, row in enumerate(channels.channel_index):
        assert mask[k, row].all()


@given(sliding_channels())
def test_from_step_gives_back_the_step(channels):
    again = SlidingChannels.from_step(
        channels.in_channels, channels.out_channels, channels.groups, step=channels.step
    )
    assert again == channels
    assert hash(again) == hash(channels)


def test_counts():
    channels = SlidingChannels(64, 32, groups=2, overlap=0.5)
    assert channels.parameters() == 32 * 32 + 32
    assert channels.parameters(bias=False) == 32 * 32
    assert channels.flops(batch=3, pixels=10) == 2 * 3 * 10 * 32 * 32


def test_is_frozen_and_its_arrays_read_only():
    channels = SlidingChannels(8, 4, 2, 0.5)
    with pytest.raises(AttributeError):
        channels.groups = 4
    for array in (channels.starts, channels.channel_index):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


def test_numpy_integers_are_integers():
    assert SlidingChannels(np.int64(8), np.int32(4), np.uint8(2), 0.5) == SlidingChannels(8, 4, 2, 0.5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((64, 64, 3, 0.5), ValueError, "groups=3 does not divide in_channels=64"),
        ((64, 64, 128, 0.5), ValueError, "groups=128 does not divide"),
        ((0, 64, 1, 0.5), ValueError, "in_channels=0 must be at least 1"),
        ((64, -1, 1, 0.5), ValueError, "out_channels=-1 must be at least 1"),
        ((64, 64, 0, 0.5), ValueError, "groups=0 must be at least 1"),
        ((64.0, 64, 1, 0.5), TypeError, "in_channels=64.0 must be an integer"),
        ((64, 64, True, 0.5), TypeError, "groups=True must be an integer"),
        ((64, 64, "2", 0.5), TypeError, "groups='2' must be an integer"),
        ((64, 64, 1, 1), ValueError, "overlap=1 is outside 0 ≤ overlap < 1"),
        ((64, 64, 1, 1.5), ValueError, "outside"),
        ((64, 64, 1, -0.1), ValueError, "overlap=-0.1 is outside"),
        ((64, 64, 1, math.nan), ValueError, "overlap=nan is outside"),
        ((64, 64, 1, np.float32("nan")), ValueError, "overlap=nan is outside"),
        ((64, 64, 1, math.inf), ValueError, "overlap=inf is outside"),
        ((64, 64, 1, 0.99999999), ValueError, "reads as 1"),
        ((64, 64, 1, Fraction(3, 2)), ValueError, "outside"),
        ((64, 64, 1, "0.5"), TypeError, "overlap='0.5' must be a real number"),
        ((64, 64, 1, 0.5j), TypeError, "must be a real number"),
        ((64, 64, 1, None), TypeError, "must be a real number"),
        ((64, 64, 1, False), TypeError, "must be a real number"),
    ],
)
def test_bad_arguments_are_named(arguments, error, words):
    with pytest.raises(error, match=words.replace("(", r"\(")):
        SlidingChannels(*arguments)


def test_a_fraction_near_one_is_taken_exactly():
    assert SlidingChannels(64, 64, 1, Fraction(99_999_999, 100_000_000)).step == 1


@pytest.mark.parametrize(("step", "error"), [(0, ValueError), (33, ValueError), (1.0, TypeError)])
def test_from_step_refuses_what_is_no_step(step, error):
    with pytest.raises(error, match=f"step={step}"):
        SlidingChannels.from_step(64, 64, 2, step=step)


@pytest.mark.parametrize("channel", [-1, 64])
def test_covering_refuses_a_channel_that_is_none(channel):
    with pytest.raises(ValueError, match=f"channel={channel}"):
        SlidingChannels(64, 64, 2, 0.5).covering(channel)
