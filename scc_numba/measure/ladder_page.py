"""The main job's result as a self-contained HTML page."""

from __future__ import annotations

from typing import Any

import numpy as np

from scc_numba.kernels import OPS
from scc_numba.measure.climb import Climb, Figure, Step
from scc_numba.measure.photo import Batch
from scc_numba.pictures.bars import draw_ratios
from scc_numba.pictures.figure import png_data_url, svg
from scc_numba.pictures.maps import draw_maps, draw_photo
from scc_numba.pictures.page import render
from scc_numba.pictures.windows import draw_windows

TITLES = {"forward": "Forward", "grad_input": "Input gradient", "grad_weight": "Weight gradient"}
HONESTY = {
    "gpu": "Times are medians of repeated launches on this GPU, with the data in its caches where it fits.",
    "emulator": "Counts come from emulating the compiled kernels. They are no times: a division, for one, is a "
    "single PTX instruction, for which a GPU takes dozens of its own.",
    "simulator": "Numba's simulator interprets the kernels' source: it shows that they are right, but there is "
    "nothing to count, and its own run time would say nothing about a GPU.",
}


def ladder_page(climb: Climb, batch: Batch, command: str) -> str:
    """The page.

    Args:
        climb: the result.
        batch: the photograph it ran on.
        command: what the user typed.
    """
    channels = climb.layer.channels
    height, width = batch.maps.shape[2:]
    title = f"C = {channels.in_channels}, G = {channels.group_width}, S = {channels.step}, D = {channels.cycle}"
    return render(
        "ladder.html.jinja",
        layer=str(climb.layer),
        backend=climb.backend.backend,
        reason=climb.backend.reason,
        honesty=HONESTY[climb.backend.backend],
        photo_name=batch.name,
        batch=len(batch.corners),
        photo=png_data_url(draw_photo(batch.photo, batch.corners, height, width)),
        maps_in=png_data_url(draw_maps(batch.maps[0], "c")),
        maps_out=png_data_url(draw_maps(climb.outputs[0], "k")),
        windows=svg(draw_windows(channels.channel_index, channels.in_channels, title)),
        ladders=[_ladder(op, climb.of(op)) for op in OPS if climb.of(op)],
        command=command,
    )


def _ladder(op: str, steps: tuple[Step, ...]) -> dict[str, Any]:
    figures = steps[0].figures
    ratios = [step.ratio for step in steps if step.ratio is not None]
    bars = ""
    if len(ratios) == len(steps) and figures:
        bars = svg(draw_ratios([step.rung.name for step in steps], ratios, figures[0].gain))
    return {
        "title": TITLES[op],
        "dtype": steps[0].layer.dtype,
        "metrics": [f"{f.name} ({f.unit})" if f.unit != "1" else f.name for f in figures],
        "gain": figures[0].gain if figures else "",
        "bars": bars,
        "steps": [
            {
                "name": step.rung.name,
                "idea": step.rung.idea,
                "dtype": step.layer.dtype,
                "right": step.right,
                "error": format_error(step.error),
                "figures": [format_figure(figure) for figure in step.figures],
                "ratio": format_ratio(step.ratio),
            }
            for step in steps
        ],
    }


def format_error(error: float) -> str:
    """An error in units of its bound, for people."""
    return "not finite" if np.isnan(error) else f"{error:.2g}"


def format_figure(figure: Figure) -> str:
    """A count with thousands separated, or a measurement with four digits."""
    return f"{figure.value:,.0f}" if figure.unit == "1" else f"{figure.value:,.4g}"


def format_ratio(ratio: float | None) -> str:
    """How many times less, for people."""
    return "–" if ratio is None else f"{ratio:.2f}×"
