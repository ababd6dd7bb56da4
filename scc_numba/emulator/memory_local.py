"""Local memory: each thread's own array, and who has written which byte of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import access as ac
from .machine_state import State
from .mask import NO_MASK, Mask, strides
from .program import OFFSET_MASK, Access


class LocalMemory(State):
    """The part of the machine that owns local memory."""

    def begin_local(self) -> None:
        """Fresh local memory for a batch."""
        self.local_size = self.program.local_bytes
        if self.local_size:
            self.local_memory = np.zeros((self.nb, self.nw, 32, self.local_size), np.uint8)
            self.local_written = np.zeros((self.nb, self.nw, 32, self.local_size), bool) if self.checks else None

    def _local_offset(self, a: Access, addr: Any, M: Mask | None) -> tuple[Any, Any]:
        """Count and check; returns the offset, moved inside where it was not, and where that was (or
        False).
        """
        offset = addr & np.int64(OFFSET_MASK)
        if self.counters:
            three = addr if addr.ndim else addr.reshape(1, 1, 1)
            flat = np.ascontiguousarray(three).reshape(-1)
            layout = M.layout if M is not None else (NO_MASK, 0, 0, 0)
            ac.count_local(flat, *strides(three.shape), *layout, self.nb, self.nw, a.size, self.stats[a.number])
        outside = (offset < 0) | (offset + a.size > self.local_size)
        if np.any(outside):
            active = outside if M is None else outside & M.bits
            if np.any(active):
                self.first_fault(
                    "out-of-bounds", a, active, offset, "local", "is outside the thread's local memory"
                )
            offset = np.where(outside, np.int64(0), offset)
        crooked = (offset & np.int64(a.size - 1)) != 0
        if np.any(crooked):
            active = crooked if M is None else crooked & M.bits
            if np.any(active):
                self.first_fault("misaligned", a, active, offset, "local", f"is no multiple of {a.size}")
            offset = offset & ~np.int64(a.size - 1)
        return offset, outside

    def _cells(self, a: Access, offset: Any, j: int) -> tuple[Any, ...]:
        """Index of one element in the local memories seen as elements."""
        at = (offset >> np.int64(a.shift)) + j
        if offset.ndim == 0:
            return (slice(None), slice(None), slice(None), int(at))
        return (
            np.arange(self.nb).reshape(-1, 1, 1), np.arange(self.nw).reshape(1, -1, 1),
            np.arange(32).reshape(1, 1, -1), at,
        )  # fmt: skip

    def load_local(self, a: Access, addr: Any, M: Mask | None) -> Any:
        """ld.local."""
        offset, outside = self._local_offset(a, addr, M)
        memory = self.local_memory.view(a.kind)
        parts = [np.ascontiguousarray(memory[self._cells(a, offset, j)]) for j in range(a.count)]
        if self.local_written is not None:
            # Written element-wise, so the first byte of each element speaks for all of it.
            for j in range(a.count):
                known = self.local_written[..., :: a.item][self._cells(a, offset, j)]
                if not known.all():
                    missing = ~known & ~outside if M is None else ~known & ~outside & M.bits
                    if missing.any():
                        self.first_fault(
                            "uninitialised-local",
                            a,
                            missing,
                            offset,
                            "local",
                            "is read before the thread wrote it",
                        )
        return parts[0] if a.count == 1 else parts

    def store_local(self, a: Access, addr: Any, values: tuple[Any, ...], M: Mask | None) -> None:
        """st.local."""
        offset, _ = self._local_offset(a, addr, M)
        memory = self.local_memory.view(a.kind)
        for j, value in enumerate(values):
            cells = self._cells(a, offset, j)
            if M is not None:
                value = np.where(M.bits, value, memory[cells])
            memory[cells] = value
            if self.local_written is not None:
                for byte in range(a.item):
                    written = self.local_written[..., byte :: a.item]
                    if M is None:
                        written[cells] = True
                    else:
                        written[cells] |= M.bits
