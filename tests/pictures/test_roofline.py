"""The roofline: labels that do not overlap, points where the figures say."""

import itertools
import math

import pytest

from scc_numba.pictures.roofline import Point, Roof, draw_roofline, spread


def test_labels_are_spread_as_little_as_needed():
    assert spread([], 1) == []
    assert spread([1, 5, 9], 1) == [1, 5, 9]
    assert spread([2, 2], 1) == [1.5, 2.5]
    assert spread([2, 2, 2], 1) == [1, 2, 3]
    assert spread([0, 2, 2.5], 1) == pytest.approx([0, 1.75, 2.75])
    # A group that grows into its neighbour takes it in.
    places = spread([0, 0.9, 1, 1.1], 1)
    assert all(b - a >= 1 - 1e-12 for a, b in itertools.pairwise(places))
    assert sum(places) == pytest.approx(3.0)


def test_points_stand_where_the_figures_say():
    points = [Point("a", "issue", 10.0, 1e12), Point("b", "DRAM", 5.0, 2e12), Point("idle", "", math.inf, 0.0)]
    figure = draw_roofline("a model", [("one", points[:1]), ("two", points[1:])], 1e12, [Roof("peak", 1e13)])
    first, second = figure.axes
    marks = [line for axes in (first, second) for line in axes.lines if line.get_marker() == "o"]
    drawn = [(line.get_xdata()[0], line.get_ydata()[0]) for line in marks]
    assert drawn == [(10.0, 1e12), (5.0, 2e12)]  # what takes no time has no place
    roof = first.lines[0]
    assert max(roof.get_ydata()) == 1e13
    assert roof.get_ydata()[0] == pytest.approx(roof.get_xdata()[0] * 1e12)
    assert {text.get_text() for text in first.texts} >= {"a  issue", "peak", "DRAM"}
