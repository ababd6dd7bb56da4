"""`scc-numba bench`: every rung, every peer and cuBLAS, timed on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from scc_numba.cli.arguments import parse_op
from scc_numba.cli.frame import INTERRUPTED, WRONG, for_people, out, progress_bar, stop_if_interrupted
from scc_numba.kernels import OPS, Op
from scc_numba.measure.bench import results as table
from scc_numba.measure.bench.gpu import Device, GpuDevice
from scc_numba.measure.bench.layers import SETS, BenchLayer, layer_set
from scc_numba.measure.bench.results import Results, Row
from scc_numba.measure.bench.summary import Line, digest, failures, machine, summarise
from scc_numba.measure.bench.work import GpuLost, OutOfTime, Run, Unit, plan
from scc_numba.measure.files import writable_folder, write_whole
from scc_numba.measure.ladder_page import TITLES
from scc_numba.pictures.comparison import draw_comparison
from scc_numba.pictures.figure import svg

EPILOG = f"""
Sets of layers: {", ".join(f"{name} ({len(layers)})" for name, layers in SETS.items())}.

Examples:

`scc-numba bench --output results` – the standard set: forward and both gradients, float32 and tf32

`scc-numba bench --output results --seconds 500` – stop after that time; the same command goes on where it stopped

`scc-numba bench --output results --summary` – only print what the folder holds; needs no GPU
"""
LEGEND = (
    "µs: median of the fastest rung, L2 flushed before each call; cuBLAS: its speed as a share of that of one "
    "plain matrix product with as many multiply-adds; copy: its bandwidth as a share of a device copy's, of the "
    "bytes that must move; peer: times faster than the fastest composition of PyTorch's operators, compiled ones "
    "included; host: µs that a call of run_best takes on the host."
)


@for_people
def bench_command(
    output: Annotated[Path, typer.Option(help="Folder for bench.csv, tiles.csv and the plots.", metavar="DIR")],
    device: Annotated[str, typer.Option(help="gpu: times are measured nowhere else.")] = "gpu",
    layers: Annotated[str, typer.Option(help="A set of layers, see below.")] = "standard",
    full: Annotated[bool, typer.Option("--full", help="The whole grid: the same as --layers full.")] = False,
    op: Annotated[
        list[str] | None, typer.Option(help="One operation only: forward, grad_input or grad_weight. May repeat.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Begin nothing new after this time.", min=1, metavar="SECONDS")
    ] = None,
    compiled: Annotated[
        bool, typer.Option("--compile/--no-compile", help="Whether to try torch.compile on the two fastest peers.")
    ] = True,
    summary: Annotated[bool, typer.Option("--summary", help="Measure nothing; print what was measured.")] = False,
) -> None:
    """Time every rung, every peer and cuBLAS on the layers of real networks. Needs a GPU and torch; resumes."""
    chosen = layer_set("full" if full else layers)
    ops = [parse_op(name) for name in dict.fromkeys(op)] if op else list(OPS)
    if summary:
        show_summary(table.read(output / "bench.csv").rows)
        return
    if device != "gpu":
        raise ValueError(f"device={device!r}: times are measured on 'gpu' only; `scc-numba model` needs none")
    writable_folder(output)
    run_bench(output, GpuDevice(), chosen, ops, seconds, compiled)


def run_bench(
    output: Path,
    device: Device,
    layers: Sequence[BenchLayer],
    ops: Sequence[Op],
    seconds: float | None,
    compiled: bool,
) -> None:
    """Run, or go on; then print and draw what there is.

    Raises:
        typer.Exit: it was interrupted, the GPU was lost, or something measured is wrong.
    """
    kept = Results(output / "bench.csv", device.machine())
    for note in kept.notes:
        out.print(f"[yellow]note[/]    {escape(note)}", highlight=False)
    units = plan(layers, ops, compiled)
    code = 0
    with progress_bar() as progress:
        task = progress.add_task("starting", total=len(units))

        def on_task(text: str) -> None:
            stop_if_interrupted()
            progress.update(task, description=text)

        run = Run(kept, device, seconds, on_task)
        try:
            for unit in units:
                run.work(unit)
                progress.advance(task)
        except OutOfTime:
            pass
        except KeyboardInterrupt:
            out.print("[yellow]interrupted[/]; the results so far are kept")
            code = INTERRUPTED
        except GpuLost as error:
            out.print(f"[bold red]{escape(str(error))}[/]", highlight=False, soft_wrap=True)
            code = WRONG
    show_summary(kept.rows)
    draw_plots(output, kept.rows)
    print_what_is_left(run, units, output)
    if code:
        raise typer.Exit(code)


def print_what_is_left(run: Run, units: Sequence[Unit], output: Path) -> None:
    """Say whether the run is complete, and where it is."""
    left = sum(not run.is_done(unit) for unit in units)
    out.print(f"results: {escape(str(output / 'bench.csv'))}, tiles.csv and the plots beside it", highlight=False)
    if left:
        out.print(f"[yellow]{left} of {len(units)} units are left:[/] the same command goes on", highlight=False)
    else:
        out.print(f"complete: {len(units)} units", highlight=False)


def show_summary(rows: Sequence[Row]) -> None:
    """Print the lines of every layer, and what they come to."""
    lines = summarise(rows)
    if rows:
        out.print(f"[bold]measured on[/] {escape(machine(rows[-1]))}", highlight=False)
    each = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("layer", "op", "precision", "rung", "tile"):
        each.add_column(name, overflow="fold")
    for name in ("µs", "cuBLAS", "copy", "peer", "host"):
        each.add_column(name, justify="right", no_wrap=True)
    each.add_column("fastest peer", overflow="fold")
    for line in lines:
        each.add_row(*_cells(line))
    out.print(each)
    whole = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "precision", "layers", "cuBLAS, wide layers", "least", "peer, geometric mean", "least"):
        whole.add_column(name)
    for one in digest(lines):
        cells = [
            _percent(one.of_gemm),
            _percent(one.least_of_gemm),
            _times(one.over_peer),
            _times(one.least_over_peer),
        ]
        whole.add_row(TITLES[one.op], one.precision, str(one.layers), *cells)
    out.print(whole)
    out.print(LEGEND, style="dim", highlight=False)
    failed = failures(rows)
    for sentence in failed:
        out.print(f"[yellow]{escape(sentence)}[/]", highlight=False)


def draw_plots(output: Path, rows: Sequence[Row]) -> None:
    """cublas.svg and peers.svg."""
    lines = summarise(rows)
    percent = {(line.op, line.precision, line.layer): line.of_gemm for line in lines}
    times = {(line.op, line.precision, line.layer): line.over_peer for line in lines}
    plots = (("cublas", percent, "% of cuBLAS's speed", 100.0), ("peers", times, "× fastest peer", 1.0))
    for name, values, words, reference in plots:
        panels = {
            TITLES[op]: {
                precision: [v for (o, p, _), v in values.items() if (o, p) == (op, precision) and v is not None]
                for precision in ("float32", "tf32")
            }
            for op in OPS
        }
        write_whole(output / f"{name}.svg", svg(draw_comparison(panels, words, reference)))


def _cells(line: Line) -> list[str]:
    figures = [_number(line.time), _percent(line.of_gemm), _percent(line.of_copy), _times(line.over_peer)]
    where = [line.layer, line.op, line.precision, line.rung, line.tile]
    return [*where, *figures, _number(line.best_host), line.peer]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} %"


def _times(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}×"
