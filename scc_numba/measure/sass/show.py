"""A loop's SASS beside the lines of Python that it was compiled from."""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from scc_numba.measure.sass.classes import class_of
from scc_numba.measure.sass.facts import SassFacts


@dataclass(frozen=True)
class Row:
    """One instruction, and the Python beside it.

    Attributes:
        address: of the instruction.
        in_k_loop: whether it belongs to the inner k loop, and not only to the k-tile loop.
        sass: the instruction.
        kind: its class.
        python: "f1_three_d_grid.py:43  total += …" where the line is another than that of the row above, else "".
    """

    address: int
    in_k_loop: bool
    sass: str
    kind: str
    python: str


def loop_rows(facts: SassFacts) -> Iterator[Row]:
    """The k-tile loop, instruction by instruction, in the order of addresses.

    Raises:
        ValueError: the kernel has no loop with multiply-adds.
    """
    if facts.k_loop is None or facts.k_tile_loop is None:
        raise ValueError("the kernel has no loop with multiply-adds to show")
    inner = {i.address for i in facts.k_loop.instructions}
    before = ("", 0)
    for i in facts.k_tile_loop.instructions:
        here = (i.file, i.line)
        source = linecache.getline(*here).strip() if here != before and i.line else ""
        python = f"{Path(i.file).name}:{i.line}  {source}" if source else ""
        before = here
        yield Row(i.address, i.address in inner, str(i), class_of(i), python)
