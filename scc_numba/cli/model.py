"""`scc-numba model`: what a GPU could do at best, from data sheets and counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from matplotlib.figure import Figure
from rich.markup import escape
from rich.table import Table

from scc_numba.cli.arguments import parse_dtype, parse_layer, parse_rungs, parse_tile
from scc_numba.cli.frame import for_people, out, progress_bar, stop_if_interrupted
from scc_numba.kernels import OPS, Layer, Rung
from scc_numba.measure.files import writable_folder, write_whole
from scc_numba.measure.ladder_page import TITLES
from scc_numba.measure.sass import ToolFailed, missing
from scc_numba.measure.work import Counted, count_work
from scc_numba.model import GPUS, Gpu, SpeedOfLight, find_gpu, speed_of_light
from scc_numba.pictures.figure import png, svg
from scc_numba.pictures.roofline import Point, Roof, draw_roofline

MODEL_LAYER = "32,256,256,32,32,2,0.5"
EPILOG = f"""
This is a model: bounds from data sheets, counts of the emulator and the machine code. Nothing in it was measured.

Examples:

`scc-numba model` – every rung on the layer {MODEL_LAYER}, for an H200

`scc-numba model --gpu T4 --op forward --layer 128,64,64,32,32,4,0.5` – one ladder on another GPU

`scc-numba model --plot roofline.svg` – also draws the roofline, with every rung in its place
"""
LEGEND = (
    "µs that each resource needs at least, were it busy all the time. DRAM: every sector touched, once; L2: loads "
    "each once, stores and atomics all; L1: 128-byte passes of global memory; shared: passes of shared memory; "
    "issue: SASS instructions of the loops around the multiply-adds; pipes: FMA pipes and tensor cores; atomics: "
    "the longest queue at one address. bound: the largest, and by what; TFLOP/s: of the operation, at most; waves: "
    "blocks over those that run at once; tail: work of the busiest multiprocessor over the average one's."
)
COLUMNS = {
    "DRAM": ("DRAM",),
    "L2": ("L2",),
    "L1": ("L1",),
    "shared": ("shared memory",),
    "issue": ("issue",),
    "pipes": ("FMA pipes", "tensor cores"),
    "atomics": ("atomics",),
}


@dataclass(frozen=True)
class Entry:
    """One rung: its bounds and where they come from, or why there are none."""

    rung: Rung
    light: SpeedOfLight | None
    counted: Counted | None
    problem: str = ""


@for_people
def model_command(
    rung: Annotated[list[str] | None, typer.Option(help="One rung, such as f1. May repeat.")] = None,
    op: Annotated[
        list[str] | None, typer.Option(help="One ladder only: forward, grad_input or grad_weight. May repeat.")
    ] = None,
    gpu: Annotated[str, typer.Option(help=f"One of {', '.join(GPUS)}.")] = "H200",
    layer: Annotated[
        str, typer.Option(help="N,C,K,H,W,groups,overlap of the SCC layer.", metavar="N,C,K,…")
    ] = MODEL_LAYER,
    tile: Annotated[str | None, typer.Option(help="One that the rung offers, such as 128 or 64x128x16.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="The type of a number. If not given, float32, or one that the rung has.")
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the roofline into FILE.svg or FILE.png.")] = None,
) -> None:
    """Model rungs at the speed of light: what binds them on a GPU, and how far off its peak that is."""
    rungs = parse_rungs(rung, op)
    if tile is not None and len(rungs) != 1:
        raise ValueError(f"tile={tile!r} belongs to one rung; name it with --rung")
    chosen = find_gpu(gpu)
    batch, height, width, channels = parse_layer(layer)
    described = Layer(channels, batch, height * width, parse_dtype(dtype or "float32"))
    if plot is not None:
        if plot.suffix not in (".png", ".svg"):
            raise ValueError(f"plot={str(plot)!r} must end in .svg or .png")
        writable_folder(plot.parent)
    entries = []
    with progress_bar() as progress:
        task = progress.add_task("counting", total=len(rungs))
        for one in rungs:
            stop_if_interrupted()
            progress.update(task, description=f"{one.name} {one.title}")
            suited = described if dtype else one.suited(described)
            entries.append(_examine(one, suited, chosen, tile))
            progress.advance(task)
    if all(entry.light is None for entry in entries):
        raise ValueError("; ".join(dict.fromkeys(entry.problem for entry in entries)))
    _print_head(described, chosen, entries)
    for name in OPS:
        own = [entry for entry in entries if entry.rung.op == name]
        if own:
            _print_ladder(TITLES[name], own, chosen)
    out.print(LEGEND, style="dim", highlight=False)
    if plot is not None:
        figure = _roofline(described, chosen, entries)
        write_whole(plot, svg(figure) if plot.suffix == ".svg" else png(figure))
        out.print(f"written: {escape(str(plot))}", highlight=False)


def _examine(rung: Rung, layer: Layer, gpu: Gpu, tile: str | None) -> Entry:
    reason = rung.supports(layer, gpu.target)
    if reason is not None:
        return Entry(rung, None, None, reason)
    try:
        counted = count_work(rung, layer, gpu.target, parse_tile(tile))
    except ToolFailed as error:
        return Entry(rung, None, None, str(error))
    return Entry(rung, speed_of_light(counted.work, gpu), counted)


def _print_head(layer: Layer, gpu: Gpu, entries: list[Entry]) -> None:
    out.print("[bold]a model[/]: bounds from data sheets and counts; nothing here was measured", highlight=False)
    out.print(f"[bold]layer[/] {layer}", highlight=False)
    out.print(
        f"[bold]GPU[/]   {gpu.name}, {gpu.target}: {gpu.multiprocessors} multiprocessors at {gpu.clock / 1e9:.2f} "
        f"GHz, DRAM {gpu.dram_bandwidth / 1e9:,.0f} GB/s, float32 {gpu.fp32_flops / 1e12:.1f} TFLOP/s",
        highlight=False,
    )
    out.print(f"[bold]L2[/]    {gpu.l2_bandwidth / 1e9:,.0f} GB/s, {gpu.l2_source}", highlight=False)
    batches = sorted({entry.counted.batches for entry in entries if entry.counted})
    for some in batches:
        if some != (layer.batch,):
            listed = " and ".join(map(str, some))
            out.print(f"[bold]counts[/] of {listed} images, extended to {layer.batch}", highlight=False)
    problem = missing()
    if problem is not None:
        out.print(f"[yellow]issue and waves are not known: {escape(problem)}[/]", highlight=False)


def _print_ladder(title: str, entries: list[Entry], gpu: Gpu) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
    table.title, table.title_justify, table.title_style = f"{title}, on a model of the {gpu.name}", "left", "italic"
    table.add_column("rung")
    for name in (*COLUMNS, "bound"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("by", no_wrap=True)
    for name in ("TFLOP/s", "waves", "tail"):
        table.add_column(name, justify="right", no_wrap=True)
    for entry in entries:
        if entry.light is not None:
            table.add_row(entry.rung.name, *_cells(entry.light))
    out.print(table)
    for entry in entries:
        if entry.light is None:
            out.print(f"{entry.rung.name}: {escape(entry.problem)}", style="yellow", highlight=False)


def _cells(light: SpeedOfLight) -> list[str]:
    seconds = {bound.resource: bound.seconds for bound in light.bounds}
    cells = []
    for resources in COLUMNS.values():
        known = [seconds[name] for name in resources if name in seconds]
        cells.append(_microseconds(max(known)) if known else "–")
    number = light.waves.number
    cells += [f"[bold]{_microseconds(light.seconds)}[/]", light.binding, f"{light.flops / 1e12:.2f}"]
    return [*cells, "–" if number is None else f"{number:.1f}", f"{light.waves.tail:.2f}"]


def _microseconds(seconds: float) -> str:
    if not math.isfinite(seconds):
        return "never"
    time = seconds * 1e6
    return "0" if time == 0 else f"{time:,.0f}" if time >= 100 else f"{time:.1f}" if time >= 1 else f"{time:.2g}"


def _roofline(layer: Layer, gpu: Gpu, entries: list[Entry]) -> Figure:
    panels = []
    for op in OPS:
        own = [
            (entry.rung.name, entry.light) for entry in entries if entry.rung.op == op and entry.light is not None
        ]
        if own:
            points = [Point(name, light.binding, light.intensity, light.flops) for name, light in own]
            panels.append((TITLES[op], points))
    peak = gpu.fp64_flops if layer.dtype.name == "float64" else gpu.fp32_flops
    roofs = [Roof(f"{'FP64' if layer.dtype.name == 'float64' else 'FP32'} {peak / 1e12:.0f} TFLOP/s", peak)]
    used = {kind for entry in entries if entry.light for kind, n in entry.light.work.tensor_flop.items() if n}
    for kind in sorted(used & gpu.tensor_flops.keys(), key=gpu.tensor_flops.__getitem__):
        roofs.append(Roof(f"{kind} {gpu.tensor_flops[kind] / 1e12:.0f} TFLOP/s", gpu.tensor_flops[kind]))
    title = f"Model, not measured: the speed of light on the {gpu.name}\n{layer}"
    return draw_roofline(title, panels, gpu.dram_bandwidth, roofs)
