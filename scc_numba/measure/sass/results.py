"""Static evidence as a long-format table: a row for each rung, target and figure.

The first line, a comment, gives the format and the number of rows, so that a table of another version, or one that
was cut short, is told from a whole one. `make sass` writes scc_numba/measure/results/sass.csv anew.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from scc_numba import __version__
from scc_numba.kernels import Layer, Rung, Tile
from scc_numba.measure.sass.facts import LoopFacts, SassFacts
from scc_numba.measure.sass.tools import versions

FORMAT = 1
RECORDED = Path(__file__).parents[1] / "results" / "sass.csv"
COLUMNS = (
    "op",
    "rung",
    "tile",
    "target",
    "batch",
    "in_channels",
    "out_channels",
    "pixels",
    "groups",
    "overlap",
    "dtype",
    "scope",
    "metric",
    "unit",
    "value",
    "ptxas",
    "nvdisasm",
    "nvvm",
    "numba",
    "numba_cuda",
    "scc_numba",
)
_HEAD = re.compile(r"^# scc-numba sass, format (\d+), (\d+) rows$")


def to_csv(found: Iterable[tuple[Rung, Layer, Tile, SassFacts]]) -> str:
    """The table of these rungs. It holds no time and no machine: the same code makes the same table."""
    common = {
        **versions(),
        "nvvm": _version("nvidia-nvvm"),
        "numba": _version("numba"),
        "numba_cuda": _version("numba-cuda"),
        "scc_numba": __version__,
    }
    rows = [
        {**_about(rung, layer, tile), "target": facts.target, **row, **common}
        for rung, layer, tile, facts in found
        for row in _rows(facts)
    ]
    stream = io.StringIO()
    stream.write(f"# scc-numba sass, format {FORMAT}, {len(rows)} rows\n")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def read_csv(path: Path = RECORDED) -> list[dict[str, str]]:
    """The rows of a table.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is of another format, or cut short, or no such table.
    """
    again = "`scc-numba sass --csv FILE` writes it anew"
    head, _, rest = path.read_text(encoding="utf-8").partition("\n")
    found = _HEAD.match(head)
    if found is None:
        raise ValueError(f"{path.name!r} does not start with '# scc-numba sass, format …': {again}")
    if int(found[1]) != FORMAT:
        raise ValueError(f"{path.name!r} is of format {found[1]}, this version reads format {FORMAT}: {again}")
    rows = list(csv.DictReader(io.StringIO(rest)))
    whole = [row for row in rows if None not in row.values() and tuple(row) == COLUMNS]
    if len(whole) != int(found[2]) or len(whole) != len(rows) or not rest.endswith("\n"):
        raise ValueError(f"{path.name!r} is cut short: {len(whole)} whole rows of {found[2]}; {again}")
    return rows


def _about(rung: Rung, layer: Layer, tile: Tile) -> dict[str, Any]:
    channels = layer.channels
    return {
        "op": rung.op,
        "rung": rung.name,
        "tile": "x".join(map(str, tile)),
        "batch": layer.batch,
        "in_channels": channels.in_channels,
        "out_channels": channels.out_channels,
        "pixels": layer.pixels,
        "groups": channels.groups,
        "overlap": channels.overlap,
        "dtype": layer.dtype,
    }


def _rows(facts: SassFacts) -> Iterator[dict[str, Any]]:
    def row(scope: str, metric: str, unit: str, value: float) -> dict[str, Any]:
        return {"scope": scope, "metric": metric, "unit": unit, "value": f"{value:.10g}"}

    resources, fits = facts.resources, facts.occupancy
    yield row("kernel", "threads of a block", "1", facts.threads)
    yield row("kernel", "registers of a thread", "1", resources.registers)
    yield row("kernel", "spill stores", "B", resources.spill_stores)
    yield row("kernel", "spill loads", "B", resources.spill_loads)
    yield row("kernel", "local memory of a thread", "B", resources.local_bytes)
    yield row("kernel", "shared memory of a block", "B", facts.shared_bytes)
    yield row("kernel", "warps of a multiprocessor", "1", fits.warps)
    for limit in fits.limits:
        yield row("kernel", f"warps limited by {limit}", "1", fits.warps)
    yield row("kernel", "instructions", "1", facts.instructions)
    yield row("kernel", "k loops", "1", len(facts.k_loop_sizes))
    for scope, loop in (("inner k loop", facts.k_loop), ("k-tile loop", facts.k_tile_loop)):
        if loop is not None:
            yield from _loop_rows(scope, loop, row)


def _loop_rows(scope: str, loop: LoopFacts, row: Any) -> Iterator[dict[str, Any]]:
    yield row(scope, "instructions", "1", len(loop.instructions))
    yield row(scope, "multiply-adds", "1", loop.products)
    yield row(scope, "loops inside", "1", loop.loops_inside)
    for name, number in loop.classes.items():
        if number:
            yield row(scope, f"{name} instructions", "1", number)
    wide = {"shared": loop.wide_shared_loads, "global": loop.wide_global_loads}
    for memory, share in wide.items():
        if share is not None:
            yield row(scope, f"128-bit share of {memory} loads", "%", 100 * share)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
