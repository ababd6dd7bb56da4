"""Shared memory: one piece a block, a shadow of who used it last, and asynchronous copies into it.

While all blocks of a batch do the same (same addresses, same masks), one block's shadow stands for all. The
first access in which they differ gives each block its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import access as ac
from . import races
from .errors import UnsupportedInstruction
from .machine_state import State
from .mask import NO_MASK, Mask, strides
from .program import Access

_POISON = 0xFF  # what unwritten shared memory holds: NaN as a float, −1 as an integer


class SharedMemory(State):
    """The part of the machine that owns shared memory."""

    def begin_shared(self) -> None:
        """Fresh shared memory for a batch."""
        self.shared_limit = -(-self.shared_size // 16) * 16
        self.shared_row = self.shared_limit + 16  # a spare cell at the end takes what must go nowhere
        self.shared_memory = np.full(self.nb * self.shared_row, _POISON, np.uint8)
        self.shared_views: dict[str, Any] = {}
        self.copies: list[dict[str, Any]] = []
        self.follow_shared = self.checks and self.shared_size > 0
        if self.follow_shared:
            grains = self.shared_limit // self.program.grain
            self.shadow_rows = 1
            self.shadow = np.empty((1, grains, 3), np.int64)
            self.shadow[..., :2] = ac.NOBODY
            self.shadow[..., 2] = 0

    def _shared_view(self, kind: str) -> Any:
        if kind not in self.shared_views:
            self.shared_views[kind] = self.shared_memory.view(kind)
        return self.shared_views[kind]

    def _split_shadow(self) -> None:
        """From now on every block has its own shadow."""
        if self.shadow_rows < self.nb:
            self.shadow = np.ascontiguousarray(np.broadcast_to(self.shadow, (self.nb, *self.shadow.shape[1:])))
            self.shadow_rows = self.nb

    def _check_shared(self, a: Access, addr: Any, M: Mask | None, mode: int) -> tuple[Any, tuple[int, ...], bool]:
        """Count and check; returns element numbers, their shape, and whether they are the same in all
        blocks.
        """
        if self.counters and self.samples[a.number] is None:
            self.samples[a.number] = ("shared", addr, M, self.nb)
        if addr.ndim == 0:
            addr = addr.reshape(1, 1, 1)
        flat = np.ascontiguousarray(addr).reshape(-1)
        s = strides(addr.shape)
        layout = M.layout if M is not None else (NO_MASK, 0, 0, 0)
        same = s[0] == 0
        row = 0 if same else self.shared_row
        index = np.empty(flat.size, np.int64)
        size = self.shared_size
        if M is not None or not size:  # lanes that take no part, or have nowhere to go, use the spare element
            index.fill(self.shared_limit >> a.shift)
        bad = ac.shared_access(
            flat, *s, *layout, self.nb, self.nw, a.size, a.shift, self.shared_spans(a), self.shared_limit, row,
            self.stats[a.number], index, self.fault, self.counters,
        ) if size else self._no_shared(a, M)  # fmt: skip
        if bad:
            self.shared_faults(a, M)
        if self.follow_shared:
            if not same or layout[1]:
                self._split_shadow()
            rows = self.shadow_rows
            bad = races.shared_race(
                index, *s, row, *layout, rows, self.nw, a.size, a.shift, self.shared_limit,
                self.program.grain, mode,
                self.shadow, self.epochs, self.warp_epochs, self.fault,
            )  # fmt: skip
            if bad:
                self.pending_race = True
        return index, addr.shape, same

    def shared_spans(self, a: Access) -> Any:
        """The arrays an access may touch: rows of (first byte, end, row of the statistics)."""
        known = self.shared_span_tables.get(a.sources)
        if known is None:
            first = len(self.arena.placements)
            rows = [(*span, first + k) for k, (s, span) in enumerate(self.shared_arrays.items()) if s in a.sources]
            if not rows:  # its pointer came by ways that are not followed
                rows = [(*span, first + k) for k, span in enumerate(self.shared_arrays.values())]
                rows.append((0, self.shared_size, first + len(self.shared_arrays)))
            known = self.shared_span_tables[a.sources] = np.array(rows, np.int64)
        return known

    def _no_shared(self, a: Access, M: Mask | None) -> int:
        self.fault[ac.OUT_OF_BOUNDS] = (self.nb * self.nw * 32 if M is None else M.threads, 0, 0, 0)
        return 1

    def load_shared(self, a: Access, addr: Any, M: Mask | None) -> Any:
        """ld.shared: one value, or a list of them for vector loads."""
        index, shape, same = self._check_shared(a, addr, M, ac.LOAD)
        if self.pending_race:
            self.pending_race = False
            self.shared_race_faults(a, None, (), M)
        memory = self._shared_view(a.kind)
        out = []
        for j in range(a.count):
            at = index + j if j else index
            if same:
                values = memory.reshape(self.nb, -1).take(at, axis=1)
                out.append(values.reshape(self.nb, *shape[1:]))
            else:
                out.append(memory.take(at).reshape(shape))
        return out[0] if a.count == 1 else out

    def store_shared(self, a: Access, addr: Any, values: tuple[Any, ...], M: Mask | None) -> None:
        """st.shared of one value or a vector."""
        index, shape, same = self._check_shared(a, addr, M, ac.STORE)
        if self.pending_race:
            self.pending_race = False
            self.shared_race_faults(a, index.reshape(shape), values, M)
        self._write_shared(a, index.reshape(shape), same, values, M)

    def _write_shared(self, a: Access, index: Any, same: bool, values: tuple[Any, ...], M: Mask | None) -> None:
        memory = self._shared_view(a.kind)
        spare = self.shared_limit >> a.shift
        for j, value in enumerate(values):
            wide = value.ndim and any(v > s for v, s in zip(value.shape[1:], index.shape[1:], strict=True))
            if M is not None:
                wide = wide or any(m > s for m, s in zip(M.bits.shape, index.shape, strict=True))
            if same and not wide:
                rows = memory.reshape(self.nb, -1)
                if value.ndim:
                    shape = (value.shape[0], *index.shape[1:])
                    value = np.broadcast_to(value, shape).reshape(shape[0], -1)
                rows[:, index.reshape(-1) + j] = value
                continue
            where = index
            if same:
                where = index + (np.arange(self.nb) * (self.shared_row >> a.shift)).reshape(-1, 1, 1)
            if M is not None:
                where = np.where(M.bits, where, spare)
            if value.ndim:
                value, where = np.broadcast_arrays(value, where)
            memory[where + j if j else where] = value

    # ------------------------------------------------------------------------------------ cp.async

    def copy_async(self, read: Access, write: Access, source: Any, target: Any, valid: Any, M: Mask | None) -> None:
        """cp.async: the data arrive at once, the shadow remembers that a reader may not count on it yet."""
        if valid is not None:
            empty = valid == 0
            if empty.any():
                # Lanes that copy nothing must not read either: their address may be anything.
                bits = ~empty if M is None else M.bits & ~empty
                bits = np.atleast_3d(bits) if np.ndim(bits) < 3 else bits
                loaded = self.load_global(read, source, Mask(bits, self.nb, self.nw))
                values = [np.where(bits, v, np.int32(0)) for v in self._as_list(read, loaded)]
            else:
                values = self._as_list(read, self.load_global(read, source, M))
            limit = np.minimum(valid, np.uint32(read.size))
            if ((limit % 4) != 0).any():
                raise UnsupportedInstruction(
                    "the emulator does not know cp.async with a source size that is no multiple of 4"
                )
            values = [np.where(limit > 4 * k, v, np.int32(0)) for k, v in enumerate(values)]
        else:
            values = self._as_list(read, self.load_global(read, source, M))
        index, shape, same = self._check_shared(write, target, M, ac.STORE)
        index = index.reshape(shape)
        if self.pending_race:
            self.pending_race = False
            self.shared_race_faults(write, index, tuple(values), M)
        self._write_shared(write, index, same, tuple(values), M)
        if self.follow_shared:
            full = np.broadcast_to(index, (self.nb, self.nw, 32)) * write.item
            if not same:
                full = full - np.arange(self.nb).reshape(-1, 1, 1) * self.shared_row
            bits = np.broadcast_to(True if M is None else M.bits, full.shape)
            if self.shadow_rows < self.nb:
                full, bits = full[:1], bits[:1]
            block, warp, lane = np.nonzero(bits & (full < self.shared_limit))
            first = full[block, warp, lane] // self.program.grain
            grains = (first[:, None] + np.arange(write.size // self.program.grain)).reshape(-1)
            repeat = write.size // self.program.grain
            block, thread = np.repeat(block, repeat), np.repeat(warp * 32 + lane, repeat)
            self.shadow[block, grains, 2] = 1
            self.copies.append({"block": block, "thread": thread, "grain": grains, "group": None})

    @staticmethod
    def _as_list(a: Access, values: Any) -> list[Any]:
        return [values] if a.count == 1 else list(values)

    def copies_commit(self, M: Mask | None) -> None:
        """cp.async.commit_group: what each thread started since the last commit becomes its next group."""
        if not self.follow_shared:
            return
        if M is not None and M.bits.shape[0] > 1:
            self._split_copies()
        bits = self._rows_of(M)
        number = self.groups_committed[: len(bits)]
        for c in self.copies:
            if c["group"] is None:
                c["group"] = np.full(len(c["block"]), -1, np.int64)
            warp, lane = c["thread"] // 32, c["thread"] % 32
            mine = (c["group"] < 0) & bits[c["block"], warp, lane]
            c["group"][mine] = number[c["block"], warp, lane][mine]
        self.groups_committed[: len(bits)] += bits

    def copies_wait(self, left: int, M: Mask | None) -> None:
        """cp.async.wait_group n: all but the thread's n latest groups have arrived, for this thread."""
        if not self.follow_shared or not self.copies:
            return
        if M is not None and M.bits.shape[0] > 1:
            self._split_copies()
        bits = self._rows_of(M)
        remaining = []
        for c in self.copies:
            warp, lane = c["thread"] // 32, c["thread"] % 32
            group = c["group"] if c["group"] is not None else np.full(len(c["block"]), -1, np.int64)
            committed = self.groups_committed[c["block"], warp, lane]
            done = bits[c["block"], warp, lane] & (group >= 0) & (group < committed - left)
            # From here on the copy counts as written by its thread: others need a barrier.
            block, grain = c["block"][done], c["grain"][done]
            if len(block):
                epoch = self.epochs[block] << 32
                warps = (self.warp_epochs[block, warp[done]] & 0xFFFF) << 16
                self.shadow[block, grain, 0] = epoch | warps | c["thread"][done]
                self.shadow[block, grain, 2] = 0
            keep = ~done
            if keep.any():
                remaining.append({k: v[keep] if v is not None else None for k, v in c.items()})
        self.copies = remaining

    def _rows_of(self, M: Mask | None) -> Any:
        rows = self.shadow_rows
        if M is None:
            return np.ones((rows, self.nw, 32), bool)
        return np.broadcast_to(M.bits, (max(rows, M.bits.shape[0]), self.nw, 32))[:rows]

    def _split_copies(self) -> None:
        if self.shadow_rows < self.nb:
            self._split_shadow()
            n = self.nb
            for c in self.copies:
                k = len(c["block"])
                c["block"] = np.repeat(np.arange(n), k)
                for name in ("thread", "grain", "group"):
                    if c[name] is not None:
                        c[name] = np.tile(c[name], n)
            self.groups_committed[:] = self.groups_committed[:1]
