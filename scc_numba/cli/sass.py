"""`scc-numba sass`: what the machine code says, with no GPU."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from scc_numba.cli.arguments import parse_dtype, parse_layer, parse_rungs, parse_tile
from scc_numba.cli.frame import for_people, out, progress_bar, stop_if_interrupted
from scc_numba.kernels import OPS, Layer, Rung, Tile
from scc_numba.measure.files import writable_folder, write_whole
from scc_numba.measure.ladder_page import TITLES
from scc_numba.measure.ptx import TARGETS
from scc_numba.measure.sass import LoopFacts, SassFacts, ToolFailed, rung_facts, versions
from scc_numba.measure.sass.classes import CLASSES
from scc_numba.measure.sass.occupancy import limits_of
from scc_numba.measure.sass.results import to_csv
from scc_numba.measure.sass.show import loop_rows

SASS_LAYER = "32,256,256,32,32,2,0.5"
EPILOG = f"""
Needs ptxas and nvdisasm, which come as pip wheels: `pip install 'scc_numba[sass]'`. No GPU is needed.

Examples:

`scc-numba sass` – every rung for {", ".join(TARGETS)}, on the layer {SASS_LAYER}

`scc-numba sass --rung f1 --rung f0 --target sm_90` – two rungs, with their loops' instructions by class

`scc-numba sass --rung f1 --show` – the loop itself, beside the lines of Python it was compiled from

`scc-numba sass --csv sass.csv` – all figures as a long-format table, with the versions of the tools
"""
LEGEND = (
    "regs: registers of a thread; spill, local: bytes of a thread; shared: bytes of a block; warps: that fit on a "
    "multiprocessor at once, of the most it takes; by: what keeps more out, (R)egisters, (S)hared memory, "
    "(T)hreads or (B)locks. k loop: SASS instructions of the inner k loop; /FMA: of them for each multiply-add "
    "(HMMA on tensor cores, product where atomics add); FMA: multiply-adds as a share of them; tile: the same of "
    "the k-tile loop, copies and barriers included (+: loops inside it count as if they ran once); LDS, LDG: share "
    "of its loads from shared and from global memory that are 128 bits wide."
)
LETTERS = {"registers": "R", "shared memory": "S", "threads": "T", "blocks": "B"}


@dataclass(frozen=True)
class Entry:
    """One rung for one target: its facts, or why there are none."""

    rung: Rung
    layer: Layer
    tile: Tile
    target: str
    facts: SassFacts | None
    problem: str = ""


@for_people
def sass_command(
    rung: Annotated[list[str] | None, typer.Option(help="One rung, such as f1. May repeat.")] = None,
    op: Annotated[
        list[str] | None, typer.Option(help="One ladder only: forward, grad_input or grad_weight. May repeat.")
    ] = None,
    layer: Annotated[
        str, typer.Option(help="N,C,K,H,W,groups,overlap of the SCC layer.", metavar="N,C,K,…")
    ] = SASS_LAYER,
    target: Annotated[
        list[str] | None, typer.Option(help=f"A GPU generation. May repeat; {', '.join(TARGETS)} if not given.")
    ] = None,
    tile: Annotated[str | None, typer.Option(help="One that the rung offers, such as 128 or 64x128x16.")] = None,
    dtype: Annotated[
        str | None, typer.Option(help="The type of a number. If not given, float32, or one that the rung has.")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the k-tile loop beside its Python lines.")] = False,
    to_file: Annotated[Path | None, typer.Option("--csv", help="Write all figures as a long-format table.")] = None,
) -> None:
    """Compile rungs to machine code (SASS): registers, spills, occupancy, and what their loops are made of."""
    rungs = parse_rungs(rung, op)
    if tile is not None and len(rungs) != 1:
        raise ValueError(f"tile={tile!r} belongs to one rung; name it with --rung")
    if show and len(rungs) != 1:
        raise ValueError("--show prints the loop of one rung; name it with --rung")
    targets = list(dict.fromkeys(target)) if target else [TARGETS[-1]] if show else list(TARGETS)
    for name in targets:
        limits_of(name)
    batch, height, width, channels = parse_layer(layer)
    described = Layer(channels, batch, height * width, parse_dtype(dtype or "float32"))
    if to_file is not None:
        writable_folder(to_file.parent)
    tools = versions()
    with progress_bar() as progress:
        task = progress.add_task("compiling", total=len(rungs) * len(targets))
        entries = []
        for one in rungs:
            for name in targets:
                stop_if_interrupted()
                progress.update(task, description=f"{one.name} {one.title}, {name}")
                suited = described if dtype else one.suited(described)
                entries.append(_examine(one, suited, name, parse_tile(tile)))
                progress.advance(task)
    found = [(e.rung, e.layer, e.tile, e.facts) for e in entries if e.facts is not None]
    if not found:
        raise ValueError("; ".join(dict.fromkeys(e.problem for e in entries)))
    out.print(f"[bold]layer[/] {described}", highlight=False)
    out.print(f"[bold]tools[/] {', '.join(f'{name} {number}' for name, number in tools.items())}", highlight=False)
    _print_overview(entries)
    out.print(LEGEND, style="dim", highlight=False)
    if rung:
        for entry in entries:
            if entry.facts is not None:
                _print_classes(entry.rung, entry.facts)
    if show:
        for entry in entries:
            if entry.facts is not None:
                _show(entry.facts)
    if to_file is not None:
        write_whole(to_file, to_csv(found))
        out.print(f"written: {escape(str(to_file))}", highlight=False)


def _examine(rung: Rung, layer: Layer, target: str, tile: Tile | None) -> Entry:
    chosen = tile or rung.tiles(layer)[0]
    reason = rung.supports(layer, target)
    if reason is not None:
        return Entry(rung, layer, chosen, target, None, reason)
    try:
        return Entry(rung, layer, chosen, target, rung_facts(rung, layer, target, tile))
    except ToolFailed as error:
        return Entry(rung, layer, chosen, target, None, str(error))


def _print_overview(entries: list[Entry]) -> None:
    for op in OPS:
        own = [entry for entry in entries if entry.rung.op == op]
        if not own:
            continue
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0))
        table.title, table.title_justify, table.title_style = TITLES[op], "left", "italic"
        table.add_column("rung")
        table.add_column("target")
        for name in COLUMNS:
            table.add_column(name, justify="right", no_wrap=True)
        for entry in own:
            if entry.facts is not None:
                table.add_row(entry.rung.name, entry.target, *_cells(entry.facts))
        out.print(table)
        for entry in own:
            if entry.facts is None:
                out.print(f"{entry.rung.name:5} {entry.target}: {escape(entry.problem)}", style="yellow")


COLUMNS = ("regs", "spill", "local", "shared", "warps", "by", "k loop", "/FMA", "FMA", "tile", "FMA", "LDS", "LDG")


def _cells(facts: SassFacts) -> list[str]:
    resources, fits = facts.resources, facts.occupancy
    cells = [f"{n:,}" for n in (resources.registers, facts.spill_bytes, resources.local_bytes, facts.shared_bytes)]
    cells += [f"{fits.warps}/{fits.of}", "".join(LETTERS[limit] for limit in fits.limits)]
    loop, around = facts.k_loop, facts.k_tile_loop
    if loop is None or around is None:
        return [*cells, "none"]
    cells += [f"{len(loop.instructions):,}", f"{loop.per_product:.2f}", f"{loop.share:.1%}"]
    cells += [f"{len(around.instructions):,}{'+' if around.loops_inside else ''}", f"{around.share:.1%}"]
    return [*cells, _percent(around.wide_shared_loads), _percent(around.wide_global_loads)]


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.0%}"


def _print_classes(rung: Rung, facts: SassFacts) -> None:
    loops = [("inner k loop", facts.k_loop), ("k-tile loop", facts.k_tile_loop)]
    present = [(name, loop) for name, loop in loops if loop is not None]
    shown = [name for name in CLASSES if any(loop.classes[name] for _, loop in present)]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("per multiply-add")
    for name in ("all", *shown):
        table.add_column(name, justify="right")
    for name, loop in present:
        table.add_row(name, f"{loop.per_product:.2f}", *(_per_product(loop, kind) for kind in shown))
    sizes = ", ".join(f"{fma} in {size:,}" for fma, size in facts.k_loop_sizes) or "none"
    out.print(f"\n[bold]{rung.name} {facts.target}[/], k loops: {sizes} instructions", highlight=False)
    out.print(table)


def _per_product(loop: LoopFacts, kind: str) -> str:
    share = loop.classes[kind] / loop.products
    return f"{share:.3f}" if 0 < share < 0.1 else f"{share:.2f}"


def _show(facts: SassFacts) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("at", justify="right")
    table.add_column("")  # a bar beside the inner k loop
    table.add_column("SASS, k-tile loop (│ inner k loop)", no_wrap=True)
    table.add_column("Python", overflow="fold")
    for row in loop_rows(facts):
        table.add_row(f"{row.address:04x}", "│" if row.in_k_loop else "", escape(row.sass), escape(row.python))
    out.print(table, highlight=False)
