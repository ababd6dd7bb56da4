"""Pictures show what they are given, and stay the same for the same numbers."""

import re

import jinja2
import numpy as np
import pytest

from scc_numba.pictures.bars import draw_ratios
from scc_numba.pictures.figure import png_data_url, svg
from scc_numba.pictures.maps import draw_maps, draw_photo
from scc_numba.pictures.page import render
from scc_numba.pictures.windows import draw_windows, main


def cells(figure, colour):
    from matplotlib.colors import to_hex

    return {
        (int(patch.get_x()), int(patch.get_y()))
        for patch in figure.axes[0].patches
        if to_hex(patch.get_facecolor()) == colour
    }


def test_windows_are_where_they_are_read():
    index = np.array([[0, 1, 2], [2, 3, 0], [0, 1, 2]])
    figure = draw_windows(index, 4, "title")
    assert cells(figure, "#2f6feb") == {(0, 0), (1, 0), (2, 0), (2, 1), (3, 1), (0, 2), (1, 2), (2, 2)}
    assert cells(figure, "#d9822b") == {(0, 1)}, "the wrapped part"


def test_large_layers_are_cut_and_say_so():
    figure = draw_windows(np.arange(6000).reshape(100, 60) % 500, 500, "title")
    assert "first 64 of 500" in figure.axes[0].get_xlabel()
    assert "first 24 of 100" in figure.axes[0].get_ylabel()


def test_svg_is_the_same_each_time_and_self_contained():
    first, second = (svg(draw_windows(np.array([[0, 1]]), 2, "t")) for _ in range(2))
    assert first == second
    assert first.startswith("<svg")
    assert 'href="http' not in first


def test_the_picture_of_the_readme(tmp_path):
    main(str(tmp_path / "windows.svg"))
    assert (tmp_path / "windows.svg").read_text().startswith("<svg")


def test_photo_maps_and_bars_are_drawn():
    photo = draw_photo(np.zeros((20, 30, 3)), [(0, 0), (4, 5)], 8, 8)
    assert len(photo.axes[0].patches) == 2
    maps = draw_maps(np.random.default_rng(0).random((20, 4, 4)), "c")
    assert sum(bool(axes.images) for axes in maps.axes) == 16
    bars = draw_ratios(["f0", "f1"], [1.0, 2.5], "times fewer warp instructions")
    assert [patch.get_width() for patch in bars.axes[0].patches] == [1.0, 2.5]
    assert "warp instructions" in bars.axes[0].get_xlabel()
    for figure in (photo, maps, bars):
        assert re.match(r"data:image/png;base64,[\w+/=]{500,}$", png_data_url(figure))


def test_a_page_without_its_values_is_an_error():
    with pytest.raises(jinja2.UndefinedError):
        render("ladder.html.jinja", layer="x")
