"""Many layers against a reference: how far above or below it each is, sorted, a panel for each operation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from scc_numba.pictures.figure import ACCENT, INK, MUTED, WARM


def draw_comparison(panels: Mapping[str, Mapping[str, Sequence[float]]], words: str, reference: float) -> Figure:
    """Sorted points, one a layer, and a line where the reference is.

    Args:
        panels: for each operation the values of each series: series in the order of their colours, at most three.
        words: what a value says, for the axis.
        reference: where the line goes.
    """
    figure = Figure(figsize=(3.2 * len(panels), 3.0))
    for axes, (title, series) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        axes.axhline(reference, color=MUTED, linewidth=0.8, linestyle=":")
        for (name, values), colour in zip(series.items(), (ACCENT, WARM, INK), strict=False):
            shown = sorted(values)
            if shown:
                axes.plot(range(1, len(shown) + 1), shown, "o", markersize=4, color=colour, label=name)
        if not any(series.values()):
            axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes, color=MUTED)
        axes.set_title(title, fontsize=10, color=INK)
        axes.set_ylim(bottom=0)
        axes.tick_params(labelsize=8, length=2)
        axes.set_xlabel("layers, sorted", fontsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    figure.axes[0].set_ylabel(words, fontsize=9)
    if any(series for panel in panels.values() for series in panel.values()):
        handles = max((axes.get_legend_handles_labels() for axes in figure.axes), key=lambda found: len(found[0]))
        figure.axes[-1].legend(*handles, fontsize=8, frameon=False)
    figure.tight_layout()
    return figure
