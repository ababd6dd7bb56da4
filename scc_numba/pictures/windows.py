"""The sliding windows: which channels each filter reads.

python -m scc_numba.pictures.windows tutorials/images/sliding_windows.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from scc_numba.pictures.figure import ACCENT, INK, MUTED, WARM, svg

MOST_FILTERS, MOST_CHANNELS = 24, 64


def draw_windows(channel_index: np.ndarray, in_channels: int, title: str) -> Figure:
    """A row for each filter, a column for each channel, and a filled cell where the filter reads the channel.

    Cells hold the offset j while there is room. The part of a window that has wrapped around has another colour.

    Args:
        channel_index: (K, G), the channel that filter k reads at offset j.
        in_channels: C.
        title: above the picture.
    """
    K = channel_index.shape[0]
    rows, columns = min(K, MOST_FILTERS), min(in_channels, MOST_CHANNELS)
    cell = min(0.36, 11 / columns)
    figure = Figure(figsize=(columns * cell + 1.2, rows * cell + 1.1))
    axes = figure.subplots()
    for k in range(rows):
        for c in range(columns):
            axes.add_patch(Rectangle((c, k), 1, 1, facecolor="#f3f4f6", edgecolor="white"))
        for j, c in enumerate(channel_index[k].tolist()):
            if c >= columns:
                continue
            wrapped = c < channel_index[k, 0]
            axes.add_patch(Rectangle((c, k), 1, 1, facecolor=WARM if wrapped else ACCENT, edgecolor="white"))
            if columns <= 32:
                axes.text(c + 0.5, k + 0.5, str(j), ha="center", va="center", color="white", fontsize=9)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.set_aspect("equal")
    every = 1 if columns <= 32 else 8
    axes.set_xticks(np.arange(0, columns, every) + 0.5, [str(c) for c in range(0, columns, every)])
    axes.set_yticks(np.arange(rows) + 0.5, [f"k={k}" for k in range(rows)])
    axes.tick_params(length=0, labelsize=9, labelcolor=INK)
    axes.set_xlabel("input channel c" + (f" (first {columns} of {in_channels})" if columns < in_channels else ""))
    if rows < K:
        axes.set_ylabel(f"filter (first {rows} of {K})")
    for spine in axes.spines.values():
        spine.set_color(MUTED)
        spine.set_visible(False)
    axes.set_title(title, fontsize=10, color=INK, loc="left")
    return figure


def main(path: str) -> None:
    """Write the picture that the README shows: C = 12 channels, K = 8 filters, groups 3, overlap 1/2."""
    from scc_reference import SlidingChannels

    channels = SlidingChannels(in_channels=12, out_channels=8, groups=3, overlap=0.5)
    title = (
        "Each filter reads G = 4 channels, at offsets j = 0 to 3;\n"
        "the next starts S = 2 further on, and wraps around (orange)"
    )
    picture = draw_windows(channels.channel_index, channels.in_channels, title)
    Path(path).write_text(svg(picture), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
