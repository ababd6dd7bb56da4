"""Results as a long-format table: a row for each layer, operation, provider and metric.

Rows are appended one at a time, each by a single write, so that whatever stops a run leaves whole rows behind. The
first line, a comment, gives the format and a fingerprint of the code that was timed: rows of other kernels are not
mixed with these.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import scc_numba
from scc_numba.measure.files import write_whole

FORMAT = 1
COLUMNS = (
    *("provider", "kind", "op", "precision", "tile"),
    *("layer", "network", "dataset", "batch", "in_channels", "out_channels", "side", "groups", "overlap"),
    *("metric", "unit", "value_50", "value_20", "value_80", "samples", "error_in_bounds", "problem"),
    *("gpu", "target", "driver", "sm_clock_mhz", "memory_clock_mhz", "temperature_c"),
    *("torch", "cuda", "numba", "numba_cuda", "python", "scc_numba", "time"),
)
Row = dict[str, str]
_HEAD = re.compile(r"^# scc-numba bench, format (\d+), code ([0-9a-f]+)$")
_ELSEWHERE = "name another folder with --output, or move the file away"


@cache
def fingerprint() -> str:
    """Of the code whose times are taken: kernels, what launches them, and the peers."""
    root = Path(scc_numba.__file__).parent
    found = hashlib.sha256()
    for path in sorted(path for room in ("kernels", "device", "nn") for path in (root / room).rglob("*.py")):
        found.update(path.read_bytes())
    return found.hexdigest()[:12]


@dataclass(frozen=True)
class Table:
    """What a file holds.

    Attributes:
        rows: all whole ones.
        code: fingerprint of the code that was timed.
        torn: what is left of a last row that was cut short, or "".
    """

    rows: list[Row]
    code: str
    torn: str = ""


def read(path: Path) -> Table:
    """Read a table.

    Raises:
        OSError: there is no such file.
        ValueError: it is of another format, or no such table, or a line in its midst is no row.
    """
    text = path.read_text(encoding="utf-8")
    head, _, rest = text.partition("\n")
    found = _HEAD.match(head)
    if found is None:
        raise ValueError(f"{path.name!r} does not start with '# scc-numba bench, format …': {_ELSEWHERE}")
    if int(found[1]) != FORMAT:
        raise ValueError(f"{path.name!r} is of format {found[1]}, this version knows format {FORMAT}: {_ELSEWHERE}")
    whole, newline, torn = rest.rpartition("\n")
    lines = (whole + newline).splitlines(keepends=True)
    if not lines or lines[0].rstrip("\n") != ",".join(COLUMNS):
        raise ValueError(f"{path.name!r} is cut short before its first row: {_ELSEWHERE}")
    rows = []
    for number, line in enumerate(lines[1:], start=3):
        cells = next(csv.reader([line]))
        if len(cells) != len(COLUMNS):
            raise ValueError(f"{path.name!r}, line {number}: {len(cells)} cells, not {len(COLUMNS)}; {_ELSEWHERE}")
        rows.append(dict(zip(COLUMNS, cells, strict=True)))
    return Table(rows, found[2], torn)


class Results:
    """The table of a run, which continues what the file holds.

    Args:
        path: of the file; made where there is none.
        machine: what every new row says of the machine.

    Attributes:
        rows: all rows, old and new.
        notes: what was found in the file that a user should know.

    Raises:
        ValueError: the file is not one to continue: of another format, of other code, or of another GPU.
    """

    def __init__(self, path: Path, machine: Mapping[str, str]) -> None:
        self.path, self.machine = path, dict(machine)
        self.rows: list[Row] = []
        self.notes: list[str] = []
        if not path.exists():
            write_whole(path, f"# scc-numba bench, format {FORMAT}, code {fingerprint()}\n{_line(COLUMNS)}")
            return
        table = read(path)
        if table.code != fingerprint():
            raise ValueError(
                f"{path.name!r} holds times of other code ({table.code}, now {fingerprint()}): {_ELSEWHERE}"
            )
        others = {row["gpu"] for row in table.rows} - {self.machine.get("gpu", "")}
        if others:
            raise ValueError(f"{path.name!r} holds times of another GPU, {', '.join(sorted(others))}: {_ELSEWHERE}")
        if table.torn:
            self.notes.append(f"the last row of {path.name!r} was cut short; it is dropped, and measured again")
            text = path.read_text(encoding="utf-8")
            write_whole(path, text[: len(text) - len(table.torn)])
        self.rows = table.rows

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; what is not given is empty.

        Raises:
            OSError: it could not be written.
        """
        unknown = set(row) - set(COLUMNS)
        if unknown:
            raise ValueError(f"columns {sorted(unknown)} are none of the table's")
        full = {name: str({**self.machine, **row}.get(name, "")) for name in COLUMNS}
        data = _line([" ".join(value.split()) for value in full.values()]).encode()
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, data)
            os.fsync(handle)
        finally:
            os.close(handle)
        self.rows.append(full)


def _line(cells: Any) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(cells)
    return stream.getvalue()


def is_time(row: Row) -> bool:
    """Whether a row holds a time, and what was timed is right."""
    return row["metric"].startswith("time") and not row["problem"] and row["value_50"] != "" and is_right(row)


def is_right(row: Row) -> bool:
    """Whether what was timed is within its bound, or is nothing to be compared."""
    return row["error_in_bounds"] == "" or float(row["error_in_bounds"]) <= 1
