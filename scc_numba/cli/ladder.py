"""`scc-numba ladder`: the main job."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from scc_numba.cli.arguments import DEFAULT_LAYER, parse_dtype, parse_layer, parse_op
from scc_numba.cli.frame import WRONG, for_people, out, progress_bar, stop_if_interrupted
from scc_numba.kernels import OPS, Rung, ladder
from scc_numba.measure.climb import Climb, climb, to_csv
from scc_numba.measure.files import writable_folder, write_whole
from scc_numba.measure.ladder_page import (
    HONESTY,
    TITLES,
    format_error,
    format_figure,
    format_ratio,
    ladder_page,
)
from scc_numba.measure.photo import load_photo, make_batch

EPILOG = f"""
Examples:

`scc-numba ladder` – every rung on a photograph that scikit-learn ships (layer {DEFAULT_LAYER})

`scc-numba ladder --layer 1,64,64,14,14,2,0.33 --op grad_input`

`scc-numba ladder --image me.jpg --report my-report` – also writes my-report/index.html and ladder.csv
"""


@for_people
def ladder_command(
    layer: Annotated[
        str, typer.Option(help="N,C,K,H,W,groups,overlap of the SCC layer.", metavar="N,C,K,…")
    ] = DEFAULT_LAYER,
    image: Annotated[Path | None, typer.Option(help="A photograph of yours, instead of the built-in one.")] = None,
    op: Annotated[
        list[str] | None, typer.Option(help="One ladder only: forward, grad_input or grad_weight. May repeat.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="The type of a number; a rung without it takes its own.")] = "float32",
    report: Annotated[
        Path | None, typer.Option(help="Folder for index.html (self-contained) and ladder.csv.", metavar="DIR")
    ] = None,
) -> None:
    """Take a photograph through every rung of the three ladders: is it right, and what does it cost?"""
    batch_size, height, width, channels = parse_layer(layer)
    ops = [parse_op(name) for name in dict.fromkeys(op)] if op else list(OPS)
    number = parse_dtype(dtype)
    if report is not None:
        writable_folder(report)
    name, photo = load_photo(image)
    batch = make_batch(name, photo, batch_size, channels.in_channels, height, width)
    with progress_bar() as progress:
        task = progress.add_task("starting", total=sum(len(ladder(one)) for one in ops))
        seen = 0

        def on_step(rung: Rung) -> None:
            nonlocal seen
            stop_if_interrupted()
            progress.update(task, completed=seen, description=f"{rung.name} {rung.title}")
            seen += 1

        result = climb(batch.maps.astype(number), channels, ops=ops, on_step=on_step)
        progress.update(task, completed=seen)
        stop_if_interrupted()
    show_climb(result, batch.name)
    if report is not None:
        command = "scc-numba " + " ".join(sys.argv[1:])
        write_whole(report / "index.html", ladder_page(result, batch, command))
        write_whole(report / "ladder.csv", to_csv(result))
        out.print(f"report: {escape(str(report / 'index.html'))} and ladder.csv beside it", highlight=False)
    if not result.right:
        raise typer.Exit(WRONG)


def show_climb(result: Climb, photo_name: str) -> None:
    """Print the ladders as a table."""
    out.print(f"[bold]layer[/]   {result.layer}", highlight=False)
    out.print(f"[bold]input[/]   {escape(photo_name)}", highlight=False)
    out.print(f"[bold]backend[/] {result.backend.backend}, since {result.backend.reason}", highlight=False)
    figures = next((step.figures for step in result.steps), ())
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("rung")
    table.add_column("idea", overflow="fold")
    table.add_column("result")
    table.add_column("error", justify="right")
    for i, figure in enumerate(figures):
        table.add_column(figure.short, justify="right", no_wrap=True)
        if i == 0:
            table.add_column("ratio", justify="right", no_wrap=True)
    for op in OPS:
        for i, step in enumerate(result.of(op)):
            if i == 0:
                table.add_row("", f"[italic]{TITLES[op]}[/]")
            own = "" if step.layer == result.layer else f" ({step.layer.dtype})"
            cells = [step.rung.name, step.rung.title + own]
            cells += ["[green]right[/]" if step.right else "[bold red]wrong[/]", format_error(step.error)]
            values = [format_figure(figure) for figure in step.figures]
            cells += [*values[:1], format_ratio(step.ratio), *values[1:]] if values else []
            table.add_row(*cells)
    out.print(table)
    legend = ["error: largest distance from the float64 reference, in units of its bound (right: at most 1)"]
    legend += [f"{figure.short}: {figure.name}" for figure in figures]
    if figures:
        legend.insert(2, f"ratio: how many {figures[0].gain} than the bottom rung")
    out.print("; ".join(legend) + ".", style="dim", highlight=False)
    out.print(HONESTY[result.backend.backend], style="dim", highlight=False)
