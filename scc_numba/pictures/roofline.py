"""A roofline: what a GPU could do at each arithmetic intensity, and where a model places kernels below it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scc_numba.pictures.figure import ACCENT, INK, MUTED, WARM

GAP = 0.045  # between two labels, as a share of the height


@dataclass(frozen=True)
class Point:
    """A kernel in the picture.

    Attributes:
        name: of the kernel, "f3".
        note: beside it, what binds it.
        intensity: FLOP for each byte of DRAM.
        flops: FLOP/s.
    """

    name: str
    note: str
    intensity: float
    flops: float


@dataclass(frozen=True)
class Roof:
    """A peak that is reached from some intensity on: its name, and FLOP/s."""

    name: str
    flops: float


def draw_roofline(
    title: str, panels: Sequence[tuple[str, Sequence[Point]]], bandwidth: float, roofs: Sequence[Roof]
) -> Figure:
    """One panel for each group of kernels, all under the same roofs.

    Args:
        title: of the whole picture; should say that it shows a model.
        panels: the name of each, and its kernels from the bottom up.
        bandwidth: of DRAM, bytes a second: the sloped part of the roofs.
        roofs: the flat parts, the lowest first.
    """
    points = [point for _, group in panels for point in group if point.flops > 0 and math.isfinite(point.intensity)]
    figure = Figure(figsize=(3.7 * len(panels) + 0.6, 4.6))
    top = max(roof.flops for roof in roofs) * 2.5
    bottom = min([point.flops for point in points] + [roofs[0].flops / 100]) / 2.5
    ridges = [roof.flops / bandwidth for roof in roofs]
    left = min([point.intensity for point in points] + ridges) / 4
    right = max([point.intensity for point in points] + ridges) * 8
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for i, (axes, (name, group)) in enumerate(zip(all_axes, panels, strict=True)):
        axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(bottom, top))
        _draw_roofs(axes, bandwidth, roofs, left, right, label=i == 0)
        _draw_points(axes, [point for point in group if point in points], bottom, top)
        axes.set_title(name, fontsize=10, color=INK)
        axes.set_xlabel("FLOP for each byte of DRAM", fontsize=9)
        axes.tick_params(labelsize=8)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    all_axes[0].set_ylabel("FLOP/s at most", fontsize=9)
    figure.suptitle(title, fontsize=10, color=INK)
    figure.tight_layout()
    return figure


def _draw_roofs(
    axes: Axes, bandwidth: float, roofs: Sequence[Roof], left: float, right: float, *, label: bool
) -> None:
    x = np.geomspace(left, right, 200)
    for i, roof in enumerate(roofs):
        axes.plot(x, np.minimum(x * bandwidth, roof.flops), color=MUTED, linewidth=1.4 if i == 0 else 0.8, zorder=1)
        if label:
            axes.text(left * 1.15, roof.flops * 1.12, roof.name, fontsize=7.5, color=MUTED)
    if label:
        at = left * 1.6
        axes.text(at, at * bandwidth / 2, "DRAM", fontsize=7.5, color=MUTED)


def _draw_points(axes: Axes, points: Sequence[Point], bottom: float, top: float) -> None:
    height = math.log(top / bottom)
    ordered = sorted(points, key=lambda point: point.flops)
    wanted = [math.log(point.flops / bottom) / height for point in ordered]
    for point, place in zip(ordered, spread(wanted, GAP), strict=True):
        axes.plot(point.intensity, point.flops, "o", color=ACCENT, markersize=4.5, zorder=3)
        axes.annotate(
            f"{point.name}  {point.note}",
            (point.intensity, point.flops),
            (point.intensity * 1.9, bottom * math.exp(place * height)),
            fontsize=8,
            color=INK,
            va="center",
            bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6},
            arrowprops={"arrowstyle": "-", "color": WARM, "linewidth": 0.6, "shrinkB": 2, "relpos": (0, 0.5)},
        )


def spread(wanted: list[float], gap: float) -> list[float]:
    """Places in the order of `wanted`, at least a gap apart, and as near to it as that allows.

    Kernels of one operation move about the same bytes, so they stand one above the other: their labels would
    overlap. Those that are too close become a group, centred on what they wanted.
    """
    groups: list[list[float]] = []  # sum of what its members want less their place in the group, and how many
    for place in wanted:
        groups.append([place, 1])
        while len(groups) > 1 and _first(groups[-1]) < _first(groups[-2]) + gap * groups[-2][1]:
            total, number = groups.pop()
            groups[-1][0] += total - gap * groups[-1][1] * number
            groups[-1][1] += number
    return [_first(group) + gap * i for group in groups for i in range(int(group[1]))]


def _first(group: list[float]) -> float:
    return group[0] / group[1]
