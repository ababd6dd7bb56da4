"""What all parts of the machine share: the launch's shape, statistics, and how a fault becomes a finding."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from . import access as ac
from .arena import Arena
from .findings import Collector, Finding, triple
from .mask import Mask
from .program import Access, Program


class State:
    """Attributes of a running launch. `M` stands for the mask in force throughout, None for all threads."""

    program: Program
    arena: Arena
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    checks: bool
    counters: bool
    strict: bool
    nb: int  # blocks in the batch
    nw: int  # warps a block
    first_block: int  # number of the batch's first block
    base: Mask | None  # threads that exist (the last warp of a block may be partial)
    alive: Any  # bool (nb, nw, 32): threads that have not returned
    stats: Any  # int64 (accesses, arrays, columns)
    touched: Any  # uint8 per sector of the arena: 1 loaded, 2 stored
    defined: Any  # uint8 per byte of the arena, or empty
    writers: Any  # int64 per grain of the arena: who wrote last
    fault: Any  # int64 (FAULT_ROWS, 4)
    epochs: Any  # int64 (nb,): barriers passed
    warp_epochs: Any  # int64 (nb, nw)
    groups_committed: Any  # int64 (nb, nw, 32): cp.async groups
    span_tables: dict[frozenset[Any], Any]
    shared_span_tables: dict[frozenset[Any], Any]
    shared_arrays: dict[str, tuple[int, int]]  # symbol -> first byte and end in a block's shared memory
    array_of_param: dict[int, int]
    check_global_races: bool
    check_between: bool  # also look for blocks that read what others write
    check_within: bool  # and for threads that read what others of their block write
    readers: Any  # int64 (grains, 4): who read, None until a kernel reads what it writes
    meetings: dict[tuple[int, int, frozenset[Any]], bool]  # (mode, other mode, sources): may the two meet?
    follow_updates: bool  # hold plain writes against atomics
    updaters: Any  # int64 per grain of the arena: whose atomic came last
    sites: Any  # int32 per grain: the instruction that wrote last
    rewritten: Any  # int64 per thread of the batch, see races.global_race
    pending_race: bool
    shared_size: int
    constants: Any
    collector: Collector
    load_global: Any  # methods of the other parts, for those that call them
    printed: list[tuple[int, int, int, str]]
    instructions_run: int  # PTX instructions, by whichever threads run together: what clocks count
    first_raised: tuple[str, Any, Any] | None  # "IndexError: too far", block and thread
    raised: Any  # bool (nb, nw, 32): threads whose exception has been reported
    held: list[Any]  # [block, lanes]: lanes that wait at a warp barrier for others
    samples: list[Any]  # per access: the first execution's space, addresses, mask and number of blocks

    # ------------------------------------------------------------------------------------ findings

    def file_of(self, number: int) -> str:
        """Source file of an index in `.loc`."""
        return self.program.files.get(number, "")

    def place(self, position: int) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Block and thread (x, y, z) of a flat position in the batch."""
        block, thread = divmod(position, self.nw * 32)
        return triple(self.first_block + block, self.grid), triple(thread, self.block)

    def thread(self, number: int) -> tuple[int, int, int]:
        """(x, y, z) of a thread's number in its block."""
        return triple(number, self.block)

    def add_finding(
        self, kind: str, instruction: Any, message: str, *, position: int = 0, other: Any = None,
        address: int = -1,
        array: str = "", count: int = 1, show_ptx: bool = True, at: tuple[str, int] | None = None,
    ) -> None:  # fmt: skip
        """Record a finding at an instruction, or `at` a file and line; `position` is the flat place in the batch
        of the thread that did it.
        """
        file, line = at or (self.file_of(instruction.file), instruction.line)
        block, thread = self.place(position)
        threads = (thread,) if other is None else (thread, other)
        where = f"{os.path.basename(file)}:{line}" if line else instruction.place
        text = f"{message} ({where}, block {block}, thread {thread}"
        text += f" and thread {other}" if other is not None else ""
        text += f"; `{instruction}`)" if show_ptx else ")"
        self.collector.add(
            Finding(
                kind,
                line,
                file,
                array,
                block,
                threads,
                address,
                count,
                text,
                instruction.ptx_line,
            )
        )

    def first_fault(self, kind: str, a: Access, bits: Any, offset: Any, array: str, what: str) -> None:
        """A finding from an array of flags: the first flagged thread is named."""
        if not self.checks:
            return
        bits = np.broadcast_to(bits, (self.nb, self.nw, 32))
        position = int(np.flatnonzero(bits)[0])
        at = int(np.broadcast_to(offset, bits.shape).reshape(-1)[position])
        self.add_finding(
            kind, a.instruction, f"byte {at} of {array} memory {what}", position=position, address=at,
            array=array,
            count=int(np.count_nonzero(bits)),
        )  # fmt: skip

    def _take(self, row: int) -> tuple[int, int, int, int] | None:
        count, position, other, address = (int(v) for v in self.fault[row])
        if count == 0:
            return None
        self.fault[row] = 0
        return count, position, other, address

    def global_faults(self, a: Access, M: Mask | None) -> None:
        """Turn what `global_access` reported into findings."""
        out, crooked, unset = (self._take(r) for r in (ac.OUT_OF_BOUNDS, ac.MISALIGNED, ac.UNINITIALISED))
        if not self.checks:
            return
        verb = "reads" if a.mode == ac.LOAD else "writes" if a.mode == ac.STORE else "updates"
        for fault, kind in ((out, "out-of-bounds"), (crooked, "misaligned"), (unset, "uninitialised-global")):
            if fault is None:
                continue
            count, position, _, address = fault
            numbers = [self.array_of_param[s] for s in a.sources if s in self.array_of_param]
            placements = [p for p in self.arena.placements if p is not None]
            near = [self.arena.placements[n] for n in numbers] or placements
            p = min(
                (q for q in near if q is not None),
                key=lambda q: max(q.start - address, address - q.end + 1, 0),
                default=None,
            )
            name = p.name if p is not None else "global memory"
            offset = address - (p.start if p is not None else 0)
            size = p.end - p.start if p is not None else 0
            if kind == "out-of-bounds":
                message = f"{verb} {a.size} bytes at byte {offset} of {name}, which has {size} bytes"
            elif kind == "misaligned":
                message = (
                    f"{verb} {a.size} bytes at byte {offset} of {name}: the address is no multiple of {a.size}"
                )
            else:
                message = f"reads byte {offset} of {name}, where nothing was written yet"
            self.add_finding(
                kind, a.instruction, message, position=position, address=offset, array=name, count=count
            )

    def array_at(self, address: int) -> tuple[str, int]:
        """Name of the array at a byte offset of the arena, and the offset in it."""
        for p in self.arena.placements:
            if p is not None and p.start <= address < p.end:
                return p.name, address - p.start
        return "global memory", address

    def global_race_faults(self, a: Access, index: Any, values: tuple[Any, ...], M: Mask | None) -> None:
        """Two threads wrote one place: a lost update if the line also reads the array, else a race."""
        same, other = self._take(ac.SAME_WRITE), self._take(ac.WRITE_AFTER_WRITE)
        place = a.instruction.file, a.instruction.line
        reads = any(
            b.mode == ac.LOAD and (b.instruction.file, b.instruction.line) == place and b.sources == a.sources
            for b in self.program.accesses
        )
        again = self._rewritten_otherwise(a, index, values, reads)
        if same is not None and other is None and not reads and not self._disagree(index, values, M):
            same = None  # all of them write the same value: a common idiom, and harmless
        fault = other or same or again
        if fault is None:
            return
        count, position, before, address = fault
        name, offset = self.array_at(address)
        per_block = self.nw * 32
        other_block, other_thread = triple(before // per_block, self.grid), self.thread(before % per_block)
        kind = "lost-update" if reads else "global-race"
        why = "reads, changes and writes" if reads else "writes"
        self.add_finding(
            kind, a.instruction,
            f"{why} byte {offset} of {name}, which thread {other_thread} of block {other_block} writes too; "
            + ("use cuda.atomic" if reads else "nothing orders the two"),
            position=position, other=other_thread, address=offset, array=name, count=count,
        )  # fmt: skip

    def _rewritten_otherwise(
        self, a: Access, index: Any, values: tuple[Any, ...], always: bool
    ) -> tuple[int, int, int, int] | None:
        """Threads that write where this instruction wrote before, another value than stands there (or `always`)."""
        lanes = np.flatnonzero(self.rewritten)
        if not len(lanes):
            return None
        others = self.rewritten[lanes] - 1
        self.rewritten[lanes] = 0
        shape = (self.nb, self.nw, 32)
        where = np.broadcast_to(index, shape).reshape(-1)[lanes]
        memory, bits = self.arena.view(a.kind), f"u{a.item}"
        wrong = np.full(len(lanes), always)
        for j, value in enumerate(values):
            new = np.ascontiguousarray(np.broadcast_to(value, shape).reshape(-1)[lanes])
            wrong |= memory[where + j].view(bits) != new.view(bits)
        if not wrong.any():
            return None
        first = int(np.flatnonzero(wrong)[0])
        return int(np.count_nonzero(wrong)), int(lanes[first]), int(others[first]), int(where[first]) << a.shift

    def global_update_faults(self, a: Access) -> None:
        """One thread wrote plainly what another updates by an atomic."""
        fault = self._take(ac.WRITE_AND_ATOMIC)
        if fault is None:
            return
        count, position, before, address = fault
        name, offset = self.array_at(address)
        per_block = self.nw * 32
        other_block, other_thread = triple(before // per_block, self.grid), self.thread(before % per_block)
        does, theirs = ("writes", "updates by an atomic")
        if a.mode == ac.ATOMIC:
            does, theirs = ("updates", "writes plainly")
        self.add_finding(
            "global-race", a.instruction,
            f"{does} byte {offset} of {name}, which thread {other_thread} of block {other_block} {theirs}; nothing "
            "orders the two: make both atomic, or put a barrier or another launch between them",
            position=position, other=other_thread, address=offset, array=name, count=count,
        )  # fmt: skip

    def global_order_faults(self, a: Access) -> None:
        """One thread read what another wrote, or the other way round."""
        for row in (ac.READ_AFTER_WRITE, ac.WRITE_AFTER_READ):
            fault = self._take(row)
            if fault is None:
                continue
            count, position, before, address = fault
            name, offset = self.array_at(address)
            per_block = self.nw * 32
            other_block, other_thread = triple(before // per_block, self.grid), self.thread(before % per_block)
            verb, theirs = ("reads", "writes") if row == ac.READ_AFTER_WRITE else ("writes", "reads")
            whose = (
                f"block {other_block} {theirs}; blocks run in any order: use two launches, a grid barrier, or an "
            )
            whose += "atomic with a fence"
            if before // per_block == self.first_block + position // per_block:
                whose = f"the same block {theirs} with no barrier in between; use cuda.syncthreads"
            self.add_finding(
                "global-race", a.instruction,
                f"{verb} byte {offset} of {name}, which thread {other_thread} of {whose}",
                position=position, other=other_thread, address=offset, array=name, count=count,
            )  # fmt: skip

    def _disagree(self, index: Any, values: tuple[Any, ...], M: Mask | None) -> bool:
        """Whether lanes that write one place in one instruction write different values."""
        shape = (self.nb, self.nw, 32)
        bits = np.broadcast_to(True if M is None else M.bits, shape)
        where = np.broadcast_to(index, shape)[bits]
        order = np.argsort(where, kind="stable")
        place = where[order]
        for value in values:
            v = np.broadcast_to(value, shape)[bits][order]
            raw = np.ascontiguousarray(v).view(f"u{v.dtype.itemsize}")
            if ((place[1:] == place[:-1]) & (raw[1:] != raw[:-1])).any():
                return True
        return False

    def shared_faults(self, a: Access, M: Mask | None) -> None:
        """Bounds and alignment faults of shared memory."""
        out, crooked = self._take(ac.OUT_OF_BOUNDS), self._take(ac.MISALIGNED)
        if not self.checks:
            return
        if out is not None:
            count, position, _, address = out
            if address >= 1 << 39:
                address -= 1 << 40
            own = [s for s in a.sources if s in self.shared_arrays]
            name = "shared"
            message = f"uses {a.size} bytes at byte {address} of shared memory, of which the block has "
            message += f"{self.shared_size}"
            if own:
                symbol = min(
                    own, key=lambda s: max(self.shared_arrays[s][0] - address, address - self.shared_arrays[s][1])
                )
                start, end = self.shared_arrays[symbol]
                name = self.label(symbol)
                message = (
                    f"uses {a.size} bytes at byte {address - start} of shared {name}, which has {end - start} bytes"
                )
                landed = [s for s, (low, high) in self.shared_arrays.items() if low <= address < high]
                if landed:
                    message += f"; it lands in {self.label(landed[0])}"
                address -= start
            self.add_finding(
                "out-of-bounds", a.instruction, message, position=position, address=address, array=name, count=count
            )
        if crooked is not None:
            count, position, _, address = crooked
            name, base = self._shared_name(address)
            self.add_finding(
                "misaligned", a.instruction,
                f"uses {a.size} bytes at byte {address - base} of shared {name}: the address is no multiple of "
                f"{a.size}",
                position=position, address=address - base, array=name, count=count,
            )  # fmt: skip

    def shared_race_faults(self, a: Access, index: Any, values: tuple[Any, ...], M: Mask | None) -> None:
        """Turn what `shared_race` reported into findings."""
        rows = {
            ac.READ_AFTER_WRITE: ("shared-race", "reads", "wrote"),
            ac.WRITE_AFTER_READ: ("shared-race", "writes", "reads"),
            ac.WRITE_AFTER_WRITE: ("shared-race", "writes", "wrote"),
            ac.SAME_WRITE: ("shared-race", "writes", "writes"),
            ac.UNINITIALISED: ("uninitialised-shared", "reads", ""),
            ac.IN_FLIGHT: ("copy-not-waited", "uses", "copies to"),
        }
        place = a.instruction.file, a.instruction.line
        reads = any(
            b.mode == ac.LOAD and (b.instruction.file, b.instruction.line) == place and b.sources == a.sources
            for b in self.program.accesses
        )
        for row, (kind, verb, theirs) in rows.items():
            fault = self._take(row)
            if fault is None:
                continue
            count, position, other, address = fault
            name, base = self._shared_name(address)
            if row == ac.SAME_WRITE:
                if not reads and not self._same_write_matters(a, index, values, M):
                    continue
                message = f"two threads write byte {address - base} of shared {name} in one instruction"
            elif kind == "uninitialised-shared":
                message = f"reads byte {address - base} of shared {name}, which no thread has written"
            elif kind == "copy-not-waited":
                message = (
                    f"uses byte {address - base} of shared {name} while an asynchronous copy to it is under way"
                )
            else:
                message = f"{verb} byte {address - base} of shared {name}, which another thread {theirs} "
                message += "with no barrier in between"
            if reads and row in (ac.SAME_WRITE, ac.WRITE_AFTER_WRITE):
                kind = "lost-update"
                message = f"reads, changes and writes byte {address - base} of shared {name}, which another thread "
                message += "writes too; use cuda.atomic"
            known = kind != "uninitialised-shared" and other < ac.BY_ATOMIC and other != position % (self.nw * 32)
            self.add_finding(
                kind, a.instruction, message, position=position, other=self.thread(other) if known else None,
                address=address - base, array=name, count=count,
            )  # fmt: skip

    def _same_write_matters(self, a: Access, index: Any, values: tuple[Any, ...], M: Mask | None) -> bool:
        if index is None:
            return True
        apart = index
        if index.shape[0] == 1:  # the same cell of different blocks is not the same place
            apart = index + (np.arange(self.nb) << 32).reshape(-1, 1, 1)
        return self._disagree(apart, values, M)

    def label(self, symbol: str) -> str:
        """What the Python source calls a shared array, or its symbol where that is not known."""
        return self.program.shared_labels.get(symbol, symbol)

    def _shared_name(self, address: int) -> tuple[str, int]:
        best = ("memory", 0)
        for symbol, (offset, _) in self.program.shared.items():
            if offset <= address and offset >= best[1]:
                best = (self.label(symbol), offset)
        return best
