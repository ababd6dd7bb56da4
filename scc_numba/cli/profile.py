"""`scc-numba profile`: the counts of a kernel, line by line."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from scc_numba.cli.arguments import DEFAULT_LAYER, load_object, parse_dtype, parse_layer, parse_tile
from scc_numba.cli.frame import WRONG, for_people, out
from scc_numba.emulator import Report, activate, launch
from scc_numba.emulator.activate import deactivate
from scc_numba.emulator.show import compare as show_both
from scc_numba.kernels import Launch, Layer, Rung, Tile, find_rung
from scc_numba.measure.files import writable_folder, write_whole
from scc_numba.measure.line_view import profile_launch, profile_rung
from scc_numba.pictures.page import render

EPILOG = f"""
Works the same with and without a GPU: the compiled kernel is emulated and counted.

Examples:

`scc-numba profile f1` – each line of rung f1 on the layer {DEFAULT_LAYER}

`scc-numba profile f1 --compare f0 --layer 1,64,64,14,14,2,0.33` – two rungs side by side

`scc-numba profile my_kernel.py:make --html lines.html` – `make()` returns a Launch and the list of its
arrays; its kernel is one of `scc_numba.device.jit` or of `numba.cuda.jit`
"""


@for_people
def profile_command(
    what: Annotated[str, typer.Argument(help="A rung, or FILE.py:FUNCTION.", metavar="RUNG|FILE.py:FUNCTION")],
    compare: Annotated[str | None, typer.Option(help="Another one, to set beside it.", metavar="RUNG|…")] = None,
    layer: Annotated[
        str, typer.Option(help="N,C,K,H,W,groups,overlap of the SCC layer.", metavar="N,C,K,…")
    ] = DEFAULT_LAYER,
    tile: Annotated[str | None, typer.Option(help="One that the rung offers, such as 128 or 64x128x16.")] = None,
    dtype: Annotated[str, typer.Option(help="The type of a number: float32, float64, …")] = "float32",
    target: Annotated[str, typer.Option(help="The GPU generation to compile for.")] = "sm_90",
    html: Annotated[
        Path | None, typer.Option(help="Write the line view as a self-contained page; folders are made.")
    ] = None,
    to_json: Annotated[
        Path | None, typer.Option("--json", help="Write all counts as JSON; folders are made.")
    ] = None,
) -> None:
    """Show a kernel's source with its counts beside each line: instructions, sectors, atomics, findings."""
    batch, height, width, channels = parse_layer(layer)
    described = Layer(channels, batch, height * width, parse_dtype(dtype))
    for path in (html, to_json):
        if path is not None:
            writable_folder(path.parent)
    names = [what] if compare is None else [compare, what]
    reports = [_profile(name, described, parse_tile(tile) if name == what else None, target) for name in names]
    reports[-1].show()
    if compare is not None:
        out.print()
        show_both(*reports)
    if html is not None:
        page = render("profile.html.jinja", title=what, layer=str(described), reports=reports[::-1])
        write_whole(html, page)
        out.print(f"written: {escape(str(html))}", highlight=False)
    if to_json is not None:
        data: Any = [report.to_json() for report in reports[::-1]]
        write_whole(to_json, json.dumps(data if compare is not None else data[0], indent=1) + "\n")
        out.print(f"written: {escape(str(to_json))}", highlight=False)
    if reports[-1].findings:
        raise typer.Exit(WRONG)


def _profile(name: str, layer: Layer, tile: Tile | None, target: str) -> Report:
    if name.endswith(".py"):
        raise ValueError(f"{name!r} names a file; expected FILE.py:FUNCTION, such as {name}:make")
    if ":" not in name:
        return profile_rung(find_rung(name), layer, tile, target)
    # A kernel that is declared with signatures asks for a driver when it is decorated: while the file is imported.
    with _activated(target):
        found = load_object(name)
        if isinstance(found, Rung):
            return profile_rung(found, layer, tile, target)
        made = found()
    if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[0], Launch)):
        raise TypeError(f"{name} returned {type(made).__name__}, expected a tuple (Launch, list of arrays)")
    if hasattr(made[0].kernel, "py_func"):
        return _profile_numba(made[0], list(made[1]), target)
    return profile_launch(made[0], list(made[1]), target)


@contextlib.contextmanager
def _activated(target: str) -> Iterator[None]:
    took_over = activate(target)
    try:
        yield
    finally:
        if took_over:
            deactivate()


def _profile_numba(made: Launch, arrays: list[Any], target: str) -> Report:
    """The same for a kernel of `numba.cuda.jit`, with the first of its own signatures."""
    signatures = getattr(made.kernel, "_scc_signatures", None) or list(getattr(made.kernel, "signatures", ()))
    return launch(
        made.kernel, made.grid, made.block, (*arrays, *made.scalars), shared_bytes=made.shared_bytes, target=target,
        signature=signatures[0] if signatures else None,
    )  # fmt: skip
