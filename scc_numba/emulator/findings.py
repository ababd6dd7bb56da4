"""What the checks found: one record for each kind of mistake and Python line, with the first case in
detail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Every kind of finding, with what it means. The order is that of the report.
KINDS = {
    "out-of-bounds": "an access outside the array (or outside the block's shared memory)",
    "misaligned": "an address that is no multiple of the access's size",
    "shared-race": "two threads use one place in shared memory, one writes, and no barrier orders them",
    "global-race": "two threads use one place in global memory, one writes, and nothing orders them",
    "lost-update": "two threads read, change and write one place: an atomic is missing",
    "uninitialised-shared": "shared memory is read before anything was written there",
    "uninitialised-local": "local memory is read before the thread wrote there",
    "uninitialised-global": "an array is read where nothing was written yet",
    "divergent-barrier": "not all threads of a block reach the same barrier",
    "divergent-warp-operation": "a shuffle, vote or warp barrier names lanes that do not take part",
    "copy-not-waited": "shared memory is read while an asynchronous copy to it may be under way",
    "limit": "the launch asks for more than the target offers",
    "trap": "the kernel stopped itself (a failed check or a raised exception)",
}


@dataclass(slots=True)
class Finding:
    """One mistake at one line.

    Attributes:
        kind: a key of `KINDS`.
        line: Python line, 0 if unknown.
        file: source file of the line.
        array: name of the array, an argument or a shared array's Python variable (its PTX symbol where that is not
            known); "shared", "local", or "" where no array is meant.
        block: (x, y, z) of the first case.
        threads: thread indices (x, y, z) of the first case: the one that did it and, for races, the other one if
            it is known.
        address: byte offset in the array (or in shared or local memory) of the first case, −1 if none is
            meant.
        count: how many accesses were at fault.
        message: a sentence with all of it.
        ptx_line: line of the PTX, 0 if it is about no instruction.
    """

    kind: str
    line: int
    file: str
    array: str
    block: tuple[int, int, int]
    threads: tuple[tuple[int, int, int], ...]
    address: int
    count: int
    message: str
    ptx_line: int = 0

    def __str__(self) -> str:
        place = f"PTX line {self.ptx_line}" if self.ptx_line and not self.line else f"line {self.line}"
        return f"{self.kind} at {place}: {self.message}"


class Collector:
    """Gathers findings during a launch, one for each kind, line and array."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, str, int, str, str], Finding] = {}

    def add(self, finding: Finding) -> None:
        """Keep a finding, or add to the count of the one that is known already."""
        what = finding.message.partition(" (")[0] if finding.kind == "trap" else ""  # one line may raise two things
        line = finding.line or -finding.ptx_line  # PTX from elsewhere may know no Python lines
        key = (finding.kind, finding.file, line, finding.array, what)
        known = self.found.setdefault(key, finding)
        if known is not finding:
            known.count += finding.count

    def sorted(self) -> list[Finding]:
        """By kind, then by line."""
        order = list(KINDS)
        # A lost update is a read and a write that race: one mistake, and the more telling name of it.
        updates = {(f.file, f.line or -f.ptx_line, f.array) for f in self.found.values() if f.kind == "lost-update"}
        kept = [
            f
            for f in self.found.values()
            if not f.kind.endswith("-race") or (f.file, f.line or -f.ptx_line, f.array) not in updates
        ]
        return sorted(kept, key=lambda f: (order.index(f.kind), f.file, f.line, f.ptx_line, f.array))

    def __bool__(self) -> bool:
        return bool(self.found)


def triple(linear: int, shape: Any) -> tuple[int, int, int]:
    """(x, y, z) of a linear index in a grid or block of that shape."""
    x, y, _ = shape
    return int(linear % x), int(linear // x % y), int(linear // (x * y))
