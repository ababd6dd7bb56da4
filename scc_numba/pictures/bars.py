"""How much less each rung costs than the bottom of its ladder, as bars."""

from __future__ import annotations

from matplotlib.figure import Figure

from scc_numba.pictures.figure import ACCENT, INK, MUTED


def draw_ratios(names: list[str], ratios: list[float], gain: str) -> Figure:
    """One horizontal bar a rung; 1 is the bottom rung.

    Args:
        names: the rungs, from the bottom up.
        ratios: how many times less each costs than the bottom rung.
        gain: what a ratio says, "times fewer warp instructions".
    """
    figure = Figure(figsize=(6, 0.42 * len(names) + 0.7))
    axes = figure.subplots()
    colours = [MUTED if i == 0 else ACCENT for i in range(len(names))]
    bars = axes.barh(names, ratios, color=colours, height=0.62)
    axes.bar_label(bars, labels=[f"{ratio:.2f}×" for ratio in ratios], padding=4, fontsize=9, color=INK)
    axes.axvline(1, color=MUTED, linewidth=0.8, linestyle=":")
    axes.invert_yaxis()
    axes.set_xlim(0, max([1.0, *ratios]) * 1.15)
    axes.set_xlabel(f"how many {gain} than the bottom rung", fontsize=9)
    axes.tick_params(labelsize=9, length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    return figure
