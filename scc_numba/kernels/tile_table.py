"""The tile table: which rung, with which tile, was measured to be the fastest for a layer.

`scc-numba bench` measures it and writes one beside its results; the recorded ones are part of the package. The
first line, a comment, gives the format and the number of rows, so that a table of another version, or one that was
cut short, is told from a whole one.
"""

from __future__ import annotations

import csv
import io
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import scc_numba
from scc_numba.kernels.rung import Layer, Op, Rung, Tile

FORMAT = 1
RECORDED = Path(scc_numba.__file__).parent / "measure" / "results"  # tiles_*.csv, one a GPU
VARIABLE = "SCC_NUMBA_TILES"  # names a table that goes before the recorded ones
_HEAD = re.compile(r"^# scc-numba tiles, format (\d+), (\d+) rows$")


@dataclass(frozen=True)
class Tuned:
    """A rung with its fastest tile on one layer, as measured on one GPU.

    Attributes:
        target: the GPU's generation, "sm_90".
        op: the operation.
        in_channels, out_channels, pixels, group_width, step: C, K, P, G and S.
        batch: N.
        dtype: of the arrays.
        rounds_to: "tf32" where the rung rounds its operands to that, else "".
        rung: its short name.
        tile: its fastest tile.
        microseconds: median time of a launch.
        gpu: the GPU's name.
    """

    target: str
    op: str
    in_channels: int
    out_channels: int
    pixels: int
    group_width: int
    step: int
    batch: int
    dtype: str
    rounds_to: str
    rung: str
    tile: Tile
    microseconds: float
    gpu: str

    @classmethod
    def of(cls, rung: Rung, layer: Layer, tile: Tile, target: str, microseconds: float, gpu: str) -> Tuned:
        """What was measured of a rung on a layer."""
        sizes, dtype = layer.sizes, layer.dtype.name
        return cls(
            target, rung.op, *sizes, layer.batch, dtype, rung.rounds_to or "", rung.name, tile, microseconds, gpu
        )

    @property
    def key(self) -> tuple[Any, ...]:
        """What a layer, an operation and a target are looked up by; the batch is not part of it."""
        sizes = (self.in_channels, self.out_channels, self.pixels, self.group_width, self.step)
        return self.target, self.op, self.dtype, sizes


COLUMNS = tuple(field.name for field in fields(Tuned))


def to_csv(rows: Iterable[Tuned]) -> str:
    """The table as text."""
    rows = list(rows)
    stream = io.StringIO()
    stream.write(f"# scc-numba tiles, format {FORMAT}, {len(rows)} rows\n")
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        tile = "x".join(map(str, row.tile))
        writer.writerow({**asdict(row), "tile": tile, "microseconds": f"{row.microseconds:.6g}"})
    return stream.getvalue()


def read_csv(path: Path) -> list[Tuned]:
    """The rows of a table.

    Raises:
        OSError: it cannot be read.
        ValueError: it is of another format, or cut short, or no such table; the message says what to do.
    """
    again = "`scc-numba bench` writes it anew"
    head, _, rest = path.read_text(encoding="utf-8").partition("\n")
    found = _HEAD.match(head)
    if found is None:
        raise ValueError(f"{path.name!r} does not start with '# scc-numba tiles, format …': {again}")
    if int(found[1]) != FORMAT:
        raise ValueError(f"{path.name!r} is of format {found[1]}, this version reads format {FORMAT}: {again}")
    rows = list(csv.DictReader(io.StringIO(rest)))
    whole = [row for row in rows if tuple(row) == COLUMNS and None not in row.values()]
    if len(whole) != int(found[2]) or len(whole) != len(rows) or not rest.endswith("\n"):
        raise ValueError(f"{path.name!r} is cut short: {len(whole)} whole rows of {found[2]}; {again}")
    try:
        return [_parse(row) for row in whole]
    except ValueError as error:
        raise ValueError(f"{path.name!r} holds something that is no number: {error}; {again}") from None


def _parse(row: dict[str, str]) -> Tuned:
    sizes = ("in_channels", "out_channels", "pixels", "group_width", "step", "batch")
    numbers = {name: int(row[name]) for name in sizes}
    tile = tuple(int(part) for part in row["tile"].split("x"))
    return Tuned(**{**row, **numbers, "tile": tile, "microseconds": float(row["microseconds"])})  # type: ignore[arg-type]


def tuned(layer: Layer, op: Op, target: str | None) -> list[Tuned]:
    """What is recorded for a layer, the fastest first; of several batches, the one nearest to the layer's.

    Another batch has other blocks but the same tiles, so its measurements are the best there are.
    """
    wanted = (target, op, layer.dtype.name, layer.sizes)
    rows = _tables(os.environ.get(VARIABLE, "")).get(wanted, [])
    if not rows or layer.is_empty:
        return []
    nearest = min({row.batch for row in rows}, key=lambda batch: max(batch, layer.batch) / min(batch, layer.batch))
    return sorted((row for row in rows if row.batch == nearest), key=lambda row: row.microseconds)


def use(path: Path) -> None:
    """Let this table go before the recorded ones, in this process."""
    os.environ[VARIABLE] = str(path)
    _tables.cache_clear()


@cache
def _tables(named: str) -> dict[tuple[Any, ...], list[Tuned]]:
    """All tables by key; those of the recorded ones are left out where the named one has something."""
    found: dict[tuple[Any, ...], list[Tuned]] = {}
    for path in [*([Path(named)] if named else []), *sorted(RECORDED.glob("tiles_*.csv"))]:
        try:
            rows = read_csv(path)
        except (OSError, ValueError) as error:  # a kernel is found without a table too
            warnings.warn(f"no tiles are taken from {path}: {error}", stacklevel=2)
            continue
        table: dict[tuple[Any, ...], list[Tuned]] = {}
        for row in rows:
            table.setdefault(row.key, []).append(row)
        found = {**table, **found}
    return found
