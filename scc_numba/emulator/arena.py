"""Global memory: the arrays of a launch, placed as a device allocator would place them.

Each buffer starts at a multiple of 256 bytes with a gap before the next, and a view keeps its offset in its
buffer, so that sector counts mean what they mean on a GPU. Two views of one buffer share it here too. The
first bytes belong to
nobody: lanes that must not touch memory are sent there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .program import GLOBAL_WINDOW, Program

ALIGNMENT = 256
_SPARE = 256  # bytes at the start that no array owns

_NUMBERS = ("i1", "u1", "i2", "u2", "f2", "i4", "u4", "f4", "i8", "u8", "f8", "b1")


@dataclass(slots=True)
class Placement:
    """Where one array argument lies."""

    name: str
    array: Any  # numpy.ndarray, or None for a module variable
    start: int  # byte offset in the arena
    end: int
    defined: bool  # False: nothing was written to it yet (as from cuda.device_array)


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _extent(array: np.ndarray) -> tuple[int, int]:
    """Address of the first byte and of the one after the last."""
    start = array.__array_interface__["data"][0]
    if array.flags.c_contiguous:
        return start, start + array.nbytes
    return np.lib.array_utils.byte_bounds(array)


def written_map(array: np.ndarray) -> np.ndarray | None:
    """Which bytes of a device array (or of the one it is a view of) were written; None if all count
    as written.
    """
    root = array
    while isinstance(root.base, np.ndarray) and hasattr(root.base, "written"):
        root = root.base
    known = getattr(root, "written", None)
    if known is None:
        return None
    low, high = _extent(array)
    start = _extent(root)[0]
    return known[low - start : high - start]


class Arena:
    """All global memory of one launch."""

    def __init__(self, arrays: list[tuple[str, np.ndarray, bool]], program: Program) -> None:
        """Place `arrays` (name, array, defined) and the kernel's own global variables, and copy the
        contents in.
        """
        groups: dict[int, list[int]] = {}
        extents = []
        for n, (_, array, _) in enumerate(arrays):
            extents.append(_extent(array))
            groups.setdefault(id(_root(array)) if array.base is not None else id(array), []).append(n)
        self.placements: list[Placement | None] = [None] * len(arrays)
        self._copies: list[tuple[int, int, int]] = []  # arena offset, host address, bytes
        end = _SPARE
        for members in groups.values():
            low = min(extents[n][0] for n in members)
            high = max(extents[n][1] for n in members)
            root = _root(arrays[members[0]][1])
            # A view that starts inside its buffer keeps the offset that it would have in the buffer's
            # allocation.
            lead = (low - _extent(root)[0]) % ALIGNMENT if root is not arrays[members[0]][1] else 0
            start = -(-end // ALIGNMENT) * ALIGNMENT + lead
            for n in members:
                name, array, defined = arrays[n]
                first = start + extents[n][0] - low
                self.placements[n] = Placement(name, array, first, first + extents[n][1] - extents[n][0], defined)
            end = start + max(high - low, 1) + ALIGNMENT
        self.variables: dict[str, int] = {}
        initial = []
        for v in program.globals.values():
            start = -(-end // max(v.align, 16)) * max(v.align, 16)
            self.variables[v.name] = start
            self.placements.append(Placement(v.name, None, start, start + v.size, True))
            if v.data:
                initial.append((start, v.data))
            end = start + v.size + 16
        self.size = -(-(end + ALIGNMENT) // ALIGNMENT) * ALIGNMENT
        self.memory = np.zeros(self.size, np.uint8)
        self._views: dict[str, np.ndarray] = {}
        for start, data in initial:
            self.memory[start : start + len(data)] = np.frombuffer(data, np.uint8)
        self.load()

    def load(self) -> None:
        """Copy every array into the arena."""
        for p in self.placements:
            if p is not None and p.array is not None and p.array.size:
                self._window(p)[...] = p.array

    def _window(self, p: Placement) -> np.ndarray:
        """The arena's copy of an array, shaped and strided like it."""
        low = _extent(p.array)[0]
        offset = p.start + (p.array.__array_interface__["data"][0] - low)
        return np.ndarray(p.array.shape, p.array.dtype, self.memory.data, offset, p.array.strides)

    def store(self, numbers: list[int]) -> None:
        """Copy the arrays with these numbers back to the host."""
        for n in numbers:
            p = self.placements[n]
            if p is not None and p.array is not None and p.array.size:
                p.array[...] = self._window(p)

    def address(self, number: int) -> int:
        """The device address of an array's first element."""
        p = self.placements[number]
        assert p is not None
        low = _extent(p.array)[0]
        return GLOBAL_WINDOW + p.start + (p.array.__array_interface__["data"][0] - low)

    def view(self, kind: str) -> np.ndarray:
        """The whole arena as elements of a NumPy type."""
        if kind not in self._views:
            self._views[kind] = self.memory.view(kind)
        return self._views[kind]
