"""A photograph with its patches, and feature maps as grey images."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from scc_numba.pictures.figure import WARM

Array = np.ndarray[Any, Any]
MOST_MAPS = 16


def draw_photo(photo: Array, patches: list[tuple[int, int]], height: int, width: int) -> Figure:
    """The photograph, and a frame around each patch.

    Args:
        photo: (rows, columns, 3), from 0 to 1.
        patches: row and column of each patch's upper left corner.
        height: rows of a patch.
        width: columns of a patch.
    """
    figure = Figure(figsize=(5, 5 * photo.shape[0] / photo.shape[1]))
    axes = figure.subplots()
    axes.imshow(np.clip(photo, 0, 1), interpolation="nearest")
    for row, column in patches:
        axes.add_patch(
            Rectangle((column - 0.5, row - 0.5), width, height, fill=False, edgecolor=WARM, linewidth=1.5)
        )
    axes.axis("off")
    return figure


def draw_maps(maps: Array, letter: str) -> Figure:
    """The first channels of one image, each scaled to its own range.

    Args:
        maps: (channels, height, width).
        letter: names a channel in the titles: "c" or "k".
    """
    count = min(MOST_MAPS, maps.shape[0])
    columns = min(8, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(1.15 * columns, 1.35 * rows))
    grid = figure.subplots(rows, columns, squeeze=False)
    for i, axes in enumerate(grid.flat):
        axes.axis("off")
        if i < count:
            axes.imshow(maps[i], cmap="gray", interpolation="nearest")
            axes.set_title(f"{letter} = {i}", fontsize=8)
    return figure
