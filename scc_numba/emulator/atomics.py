"""Atomic operations: one thread after the other in the order of their numbers, which is one order a
GPU may take.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from . import access as ac
from .errors import UnsupportedInstruction
from .machine_state import State
from .mask import Mask
from .program import OFFSET_MASK, SHARED_WINDOW, WINDOW_SHIFT, Access

_NUMERIC = {"add": 0, "min": 1, "max": 2}
_BITWISE = {"and": 0, "or": 1, "xor": 2, "exch": 3, "cas": 4, "inc": 5, "dec": 6}


@njit(cache=True, nogil=True)
def _numeric(memory, index, value, old, operation, smallest):
    """add, min and max; `smallest` > 0 flushes results below it to zero of their sign."""
    for k in range(len(index)):
        before = memory[index[k]]
        old[k] = before
        if operation == 0:
            after = memory.dtype.type(before + value[k])
            if smallest > 0 and abs(after) < smallest:
                after = memory.dtype.type(after * 0)
        elif operation == 1:
            after = min(before, value[k])
        else:
            after = max(before, value[k])
        memory[index[k]] = after


@njit(cache=True, nogil=True)
def _bitwise(memory, index, value, second, old, operation):
    """The operations that only see bits; inc and dec wrap at `value`."""
    for k in range(len(index)):
        before = memory[index[k]]
        old[k] = before
        v = value[k]
        if operation == 0:
            after = before & v
        elif operation == 1:
            after = before | v
        elif operation == 2:
            after = before ^ v
        elif operation == 3:
            after = v
        elif operation == 4:
            after = second[k] if before == v else before
        elif operation == 5:
            after = memory.dtype.type(0) if before >= v else memory.dtype.type(before + 1)
        else:
            after = v if before == 0 or before > v else memory.dtype.type(before - 1)
        memory[index[k]] = after


@njit(cache=True, nogil=True)
def _tally(hits, index, shift, sizes, warp):
    """Count operations an address; returns how often one warp's lanes had to queue for one address."""
    queue = 0
    start = 0
    n = len(index)
    while start < n:
        end = start
        while end < n and warp[end] == warp[start]:
            end += 1
        worst = 1
        alike = True
        for i in range(start, end):
            hits[(index[i] << shift) // sizes] += 1
            alike = alike and index[i] == index[start]
        if alike:
            queue += end - start
            start = end
            continue
        for i in range(start, end):
            same = 1
            for j in range(start, i):
                if index[j] == index[i]:
                    same += 1
            worst = max(worst, same)
        queue += worst
        start = end
    return queue


class Atomics(State):
    """The part of the machine that runs atom and red."""

    atomic_hits: Any = None  # int32 per 4 bytes of the arena
    shared_hits: Any = None

    def atomic(
        self, a: Access, operation: str, addr: Any, values: tuple[Any, ...], wanted: bool, M: Mask | None
    ) -> Any:
        """Run one atomic instruction; returns the old values if they are wanted."""
        space = a.space
        if space == "generic":
            windows = self._windows(addr, M)  # type: ignore[attr-defined]
            if len(windows) != 1:
                raise UnsupportedInstruction("the emulator does not know one atomic on two address spaces")
            space = "shared" if windows[0][0] == SHARED_WINDOW >> WINDOW_SHIFT else "global"
        three = addr if addr.ndim else addr.reshape(1, 1, 1)
        shape = (self.nb, self.nw, 32)
        if space == "shared":
            index, own, same = self._check_shared(a, three, M, ac.ATOMIC)  # type: ignore[attr-defined]
            if self.pending_race:
                self.pending_race = False
                self.shared_race_faults(a, None, (), M)
            index = index.reshape(own)
            spare = self.shared_limit >> a.shift  # type: ignore[attr-defined]
            bad = index == spare
            if same:
                index = index + (np.arange(self.nb) * (self.shared_row >> a.shift)).reshape(-1, 1, 1)  # type: ignore[attr-defined]
            memory = self._shared_view(a.kind)  # type: ignore[attr-defined]
        else:
            index, own = self._check_global(a, three, M, 3)  # type: ignore[attr-defined]
            index = index.reshape(own)
            bad = index == 0
            memory = self.arena.view(a.kind)
        bits = np.broadcast_to(~bad if M is None else M.bits & ~bad, shape)
        flat_bits = bits.reshape(-1)
        everything = bool(flat_bits.all())
        chosen = np.broadcast_to(index, shape).reshape(-1)
        operands = [np.ascontiguousarray(np.broadcast_to(v, shape)).reshape(-1) for v in values]
        if not everything:
            chosen = chosen[flat_bits]
            operands = [v[flat_bits] for v in operands]
        chosen = np.ascontiguousarray(chosen)
        if self.counters and len(chosen):
            self._count(a, chosen, flat_bits, space)
        old = np.empty(len(chosen), a.dtype)
        self._apply(a, operation, memory, chosen, operands, old, space)
        if not wanted:
            return None
        result = np.zeros(shape, a.dtype)
        result.reshape(-1)[flat_bits] = old
        return result

    def _count(self, a: Access, index: Any, bits: Any, space: str) -> None:
        if space == "global":
            if self.atomic_hits is None:
                self.atomic_hits = np.zeros(self.arena.size // 4 + 1, np.int32)
            hits = self.atomic_hits
        else:
            size = (self.nb * self.shared_row) // 4 + 1  # type: ignore[attr-defined]
            if self.shared_hits is None or len(self.shared_hits) != size:
                self.shared_hits = np.zeros(size, np.int32)
            hits = self.shared_hits
        warp = np.flatnonzero(bits) >> 5
        queue = _tally(hits, index, a.shift, 4, warp)
        spans = self.spans(a) if space == "global" else self.shared_spans(a)  # type: ignore[attr-defined]
        self.stats[a.number, spans[0, 2], ac.WORST] += queue

    def _apply(
        self, a: Access, operation: str, memory: Any, index: Any, operands: list[Any], old: Any, space: str
    ) -> None:
        if a.kind == "f2":
            # Rare, and no compiled half type here: one after the other in NumPy.
            for k, at in enumerate(index):
                old[k] = memory[at]
                memory[at] = np.float16(memory[at] + operands[0][k])
        elif operation in _NUMERIC:
            # Hardware flushes subnormal float32 sums in global memory, and only there.
            smallest = float(np.finfo(np.float32).tiny) if a.kind == "f4" and space == "global" else 0.0
            _numeric(memory, index, operands[0], old, _NUMERIC[operation], smallest)
        else:
            kind = f"u{a.item}"
            second = operands[1].view(kind) if len(operands) > 1 else operands[0].view(kind)
            _bitwise(memory.view(kind), index, operands[0].view(kind), second, old.view(kind), _BITWISE[operation])


__all__ = ["OFFSET_MASK", "Atomics"]
