"""Loads and stores in global memory: checks, counts, then one NumPy gather or scatter."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import access as ac
from . import races
from .machine_state import State
from .mask import NO_MASK, Mask, strides
from .program import (
    CONST_WINDOW,
    GLOBAL_WINDOW,
    LOCAL_WINDOW,
    OFFSET_MASK,
    SHARED_WINDOW,
    WINDOW_SHIFT,
    Access,
)

_LOADED, _STORED = 1, 2
_OWNER = {0x10: "global", 0x20: "shared", 0x30: "local", 0x40: "const"}


class GlobalMemory(State):
    """The part of the machine that owns the arena; also generic and constant accesses."""

    def spans(self, a: Access) -> Any:
        """The arrays an access may touch: rows of (first byte, end, row of the statistics, defined)."""
        known = self.span_tables.get(a.sources)
        if known is None:
            numbers = [self.array_of_param[s] for s in a.sources if s in self.array_of_param]
            if not numbers:
                numbers = list(range(len(self.arena.placements)))
            rows = []
            for n in numbers:
                p = self.arena.placements[n]
                assert p is not None
                rows.append((p.start, p.end, n, int(p.defined)))
            known = np.array(rows or [(0, 0, 0, 1)], np.int64)
            self.span_tables[a.sources] = known
        return known

    def _check_global(self, a: Access, addr: Any, M: Mask | None, mark: int) -> tuple[Any, tuple[int, ...]]:
        """Count an access; returns element numbers laid out like the address, 0 where memory must not
        be touched.
        """
        if self.counters and self.samples[a.number] is None:
            self.samples[a.number] = ("global", addr, M, self.nb)
        if addr.ndim == 0:
            addr = addr.reshape(1, 1, 1)
        flat = np.ascontiguousarray(addr).reshape(-1)
        s = strides(addr.shape)
        layout = M.layout if M is not None else (NO_MASK, 0, 0, 0)
        index = np.zeros(flat.size, np.int64)
        bad = ac.global_access(
            flat, GLOBAL_WINDOW, *s, *layout, self.nb, self.nw, a.size, a.shift, self.spans(a),
            self.stats[a.number],
            self.touched, mark, self.defined, index, self.fault, self.counters,
        )  # fmt: skip
        if bad:
            self.global_faults(a, M)
        if self.follow_updates and a.mode != ac.LOAD and self._meets(a, ac.STORE + ac.ATOMIC - a.mode):
            bad = races.global_update(
                index, *s, *layout, self.nb, self.nw, a.size, a.shift, self.program.global_grain,
                self.first_block * self.nw * 32, self.epochs, self.warp_epochs, a.mode, self.check_between,
                self.check_within, self.writers, self.updaters, self.fault,
            )  # fmt: skip
            if bad:
                self.global_update_faults(a)
        if self.check_global_races and a.mode == ac.STORE:
            bad = races.global_race(
                index, *s, *layout, self.nb, self.nw, a.size, a.shift, self.program.global_grain,
                self.first_block * self.nw * 32, self.epochs, self.warp_epochs, self.writers, self.sites,
                a.number, self.rewritten, self.fault,
            )  # fmt: skip
            if bad:
                self.pending_race = True
        between, within = self.check_between, self.check_within
        if (between or within) and a.mode != ac.ATOMIC and self._meets(a, ac.LOAD + ac.STORE - a.mode):
            if self.readers is None:
                self.readers = np.zeros((len(self.writers), 4), np.int64)
            bad = races.global_order(
                index, *s, *layout, self.nb, self.nw, a.size, a.shift, self.program.global_grain,
                self.first_block * self.nw * 32, self.epochs, self.warp_epochs, a.mode, between, within,
                self.writers, self.readers, self.fault,
            )  # fmt: skip
            if bad:
                self.global_order_faults(a)
        return index, addr.shape

    def _meets(self, a: Access, mode: int) -> bool:
        """Whether an access may touch memory that the kernel also uses in another way; mostly it may not."""
        known = self.meetings.get((a.mode, mode, a.sources))
        if known is None:
            mine = self.spans(a)
            other = [b for b in self.program.accesses if b.space in ("global", "generic") and b.mode == mode]
            known = any(
                bool(((mine[:, None, 0] < theirs[:, 1]) & (theirs[:, 0] < mine[:, None, 1])).any())
                for theirs in map(self.spans, other)
            )
            self.meetings[a.mode, mode, a.sources] = known
        return known

    def load_global(self, a: Access, addr: Any, M: Mask | None) -> Any:
        """ld.global: one value, or a list of them for vector loads."""
        index, shape = self._check_global(a, addr, M, _LOADED)
        memory = self.arena.view(a.kind)
        if addr.ndim == 0:
            k = int(index[0])
            return memory[k] if a.count == 1 else [memory[k + j] for j in range(a.count)]
        if a.count == 1:
            return memory.take(index).reshape(shape)
        return [memory.take(index + j).reshape(shape) for j in range(a.count)]

    def store_global(self, a: Access, addr: Any, values: tuple[Any, ...], M: Mask | None) -> None:
        """st.global of one value or a vector."""
        index, shape = self._check_global(a, addr, M, _STORED)
        index = index.reshape(shape)
        if self.pending_race:
            self.pending_race = False
            self.global_race_faults(a, index, values, M)
        memory = self.arena.view(a.kind)
        for j, value in enumerate(values):
            where = index
            if value.ndim and value.shape != shape:
                whole = np.broadcast_shapes(value.shape, shape)
                if whole != shape:
                    # Lanes share an address and disagree: only lanes that take part may write, the last one
                    # wins.
                    where = index if M is None else np.where(M.bits, index, 0)
                    value, where = np.broadcast_arrays(value, where)
            memory[where + j if j else where] = value
        memory[: 16 // a.item + a.count] = 0

    # ------------------------------------------------------------------------------------ generic and
    # constant

    def _windows(self, addr: Any, M: Mask | None) -> list[tuple[int, Mask | None]]:
        """The address spaces a generic access touches, each with the threads that do."""
        window = addr >> np.int64(WINDOW_SHIFT)
        if window.ndim == 0:
            return [(int(window), M)]
        if M is None and (window == window[0, 0, 0]).all():
            return [(int(window[0, 0, 0]), None)]
        bits = np.broadcast_to(True if M is None else M.bits, (self.nb, self.nw, 32))
        whole = np.broadcast_to(window, bits.shape)
        found = np.unique(whole[bits])
        if len(found) == 1:
            return [(int(found[0]), M)]
        return [(int(f), Mask(bits & (whole == f), self.nb, self.nw)) for f in found]

    def load_generic(self, a: Access, addr: Any, M: Mask | None) -> Any:
        """Ld without an address space: the address tells."""
        parts = []
        for window, mask in self._windows(addr, M):
            if mask is not None and mask.threads == 0:
                continue
            load = getattr(self, f"load_{_OWNER.get(window, 'global')}")
            parts.append((mask, load(a, addr, mask)))
        if not parts:
            zero = a.dtype.type(0)
            return zero if a.count == 1 else [zero] * a.count
        result = parts[0][1]
        for mask, value in parts[1:]:
            assert mask is not None
            if a.count == 1:
                result = np.where(mask.bits, value, result)
            else:
                result = [np.where(mask.bits, v, r) for v, r in zip(value, result, strict=True)]
        return result

    def store_generic(self, a: Access, addr: Any, values: tuple[Any, ...], M: Mask | None) -> None:
        """St without an address space."""
        for window, mask in self._windows(addr, M):
            if mask is not None and mask.threads == 0:
                continue
            owner = _OWNER.get(window, "global")
            if owner == "const":
                owner = "global"  # reported as out of bounds there
            getattr(self, f"store_{owner}")(a, addr, values, mask)

    def load_const(self, a: Access, addr: Any, M: Mask | None) -> Any:
        """ld.const: no traffic worth counting, bounds are the module's constants."""
        memory = self.constants[: len(self.constants) // a.item * a.item].view(a.kind)
        offset = addr & np.int64(OFFSET_MASK)
        outside = (
            (offset < 0) | (offset + a.size > len(self.constants)) | ((addr >> np.int64(40)) != CONST_WINDOW >> 40)
        )
        if M is not None:
            outside = outside & M.bits
        if outside.any():
            self.first_fault("out-of-bounds", a, outside, offset, "constant", "is outside the module's constants")
        index = np.clip(offset >> np.int64(a.shift), 0, max(len(memory) - a.count, 0))
        parts = [memory[index + j] for j in range(a.count)]
        return parts[0] if a.count == 1 else parts


__all__ = ["LOCAL_WINDOW", "SHARED_WINDOW", "GlobalMemory"]
