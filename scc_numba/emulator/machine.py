"""Runs a program: batches of whole blocks, all threads of a batch in step, diverged threads one group
at a time.
"""

from __future__ import annotations

import functools
import heapq
import re
from typing import Any

import numpy as np

from . import access as ac
from .arena import Arena
from .atomics import Atomics
from .control_flow import EXIT, reachable
from .errors import EmulatorError, KernelFault, StepLimitExceeded, UnsupportedInstruction
from .findings import Collector
from .half import HELPERS
from .mask import Mask
from .memory_global import GlobalMemory
from .memory_local import LocalMemory
from .memory_shared import SharedMemory
from .program import CONST_WINDOW, GLOBAL_WINDOW, OFFSET_MASK, Access, Program
from .tensor_cores import TensorCores
from .warp import WarpOperations

BATCH_THREADS = 16384  # amortises Python over many threads and still fits in cache; 2,048 is about twice as slow
STEPS_VARIABLE = "SCC_NUMBA_MAX_STEPS"
_GRID_WIDE = 1 << 22  # threads that a cooperative launch may hold at once
_SHADOW_BYTES = 1 << 25  # most that the shadows of a batch may take
_FAIRNESS = 64  # steps after which a kernel with locks lets the group that is furthest ahead run


@functools.lru_cache(maxsize=256)
def _geometry(
    grid: tuple[int, int, int], block: tuple[int, int, int], first: int, count: int
) -> tuple[dict[str, Any], Any, Mask | None]:
    """Special registers of `count` blocks from number `first` on, the threads that exist, and their mask."""
    bx, by, bz = block
    gx, gy, gz = grid
    warps = -(-bx * by * bz // 32)
    linear = np.arange(warps * 32, dtype=np.int32).reshape(1, warps, 32)
    number = np.arange(first, first + count, dtype=np.int64).reshape(-1, 1, 1)

    def small(x: Any) -> Any:
        """As few elements as will do."""
        x = x.astype(np.int32)
        if (x == x[:, :, :1]).all():
            x = x[:, :, :1]
            if (x == x[:, :1]).all():
                x = x[:, :1]
                if (x == x[:1]).all():
                    return x[0, 0, 0]
        return np.ascontiguousarray(x)

    s = np.int32
    lane = np.arange(32, dtype=np.int32).reshape(1, 1, 32)
    one = np.int64(1)
    registers = {
        "tid.x": small(linear % bx), "tid.y": small(linear // bx % by), "tid.z": small(linear // (bx * by)),
        "ctaid.x": small(number % gx), "ctaid.y": small(number // gx % gy),
        "ctaid.z": small(number // (gx * gy)),
        "ntid.x": s(bx), "ntid.y": s(by), "ntid.z": s(bz), "nctaid.x": s(gx), "nctaid.y": s(gy),
        "nctaid.z": s(gz),
        "laneid": lane, "warpid": small(linear // 32), "nwarpid": s(warps), "smid": s(0), "nsmid": s(1),
        "gridid": np.int64(0),
        "lanemask_eq": (one << lane).astype(np.uint32).view(np.int32),
        "lanemask_lt": ((one << lane) - 1).astype(np.uint32).view(np.int32),
        "lanemask_le": ((one << (lane + 1)) - 1).astype(np.uint32).view(np.int32),
        "lanemask_gt": (~((one << (lane + 1)) - 1)).astype(np.uint32).view(np.int32),
        "lanemask_ge": (~((one << lane) - 1)).astype(np.uint32).view(np.int32),
    }  # fmt: skip
    exists = linear < bx * by * bz
    base = Mask(np.ascontiguousarray(exists), count, warps) if bx * by * bz % 32 else None
    return registers, exists, base


class Machine(GlobalMemory, SharedMemory, LocalMemory, Atomics, WarpOperations, TensorCores):
    """One launch. Generated code calls the methods of the parts; `run` schedules the blocks."""

    def __init__(
        self, program: Program, arena: Arena, params: list[Any], array_of_param: dict[int, int],
        grid: tuple[int, int, int], block: tuple[int, int, int], shared_bytes: int, *, checks: bool,
        counters: bool,
        global_races: bool, max_steps: int, batch_threads: int = BATCH_THREADS,
    ) -> None:  # fmt: skip
        self.program, self.arena, self.params = program, arena, params
        self.array_of_param = array_of_param
        self.grid, self.block = grid, block
        self.checks, self.counters = checks, counters
        self.max_steps = max_steps
        self.shared_size = program.static_shared + shared_bytes
        self.dynamic_shared = shared_bytes
        self.threads_per_block = block[0] * block[1] * block[2]
        self.nw = -(-self.threads_per_block // 32)
        self.blocks_in_grid = grid[0] * grid[1] * grid[2]
        self.batch_blocks = max(1, batch_threads // (self.nw * 32))
        if checks and self.shared_size:
            # Each block may come to have its own shadow of shared memory: 24 bytes a grain.
            room = _SHADOW_BYTES // (24 * (-(-self.shared_size // program.grain) + 16))
            self.batch_blocks = max(1, min(self.batch_blocks, room))
        if program.uses_grid_sync:
            self.batch_blocks = self.blocks_in_grid
            if self.blocks_in_grid * self.nw * 32 > _GRID_WIDE:
                raise KernelFault(
                    f"grid={grid} with block={block} uses a grid barrier and has more threads than fit at "
                    f"once "
                    f"({_GRID_WIDE:,}); a GPU would refuse it as well (cooperative launch too large)"
                )
        self.symbols = {name: np.int64(GLOBAL_WINDOW + at) for name, at in arena.variables.items()}
        self.shared_arrays = {
            symbol: (start, start + size if size else self.shared_size)
            for symbol, (start, size) in program.shared.items()
        }
        rows = len(arena.placements) + len(self.shared_arrays) + 1
        self.stats = np.zeros((len(program.accesses) + 1, rows, ac.COLUMNS), np.int64)
        self.samples = [None] * (len(program.accesses) + 1)
        self.touched = np.zeros(arena.size // 32 + 1 if counters else 0, np.uint8)
        self.defined = np.zeros(0, np.uint8)
        if checks and not all(p.defined for p in arena.placements if p is not None):
            self.defined = np.zeros(arena.size, np.uint8)
        self.fault = np.zeros((ac.FAULT_ROWS, 4), np.int64)
        self.check_global_races = checks and global_races and not program.locks
        grains = arena.size // program.global_grain + 1 if self.check_global_races else 0
        self.writers = np.zeros(grains, np.int64) if self.check_global_races else None
        self.sites = np.zeros(grains, np.int32)
        self.check_between = self.check_global_races and not program.orders_blocks and self.blocks_in_grid > 1
        self.check_within = self.check_global_races and not program.orders_threads and self.threads_per_block > 1
        self.readers = None
        self.meetings = {}
        by_mode = {a.mode for a in program.accesses if a.space in ("global", "generic")}
        self.follow_updates = (self.check_between or self.check_within) and {ac.STORE, ac.ATOMIC} <= by_mode
        self.updaters = np.zeros(grains if self.follow_updates else 0, np.int64)
        self.rewritten = np.zeros(self.batch_blocks * self.nw * 32 if self.check_global_races else 0, np.int64)
        self.pending_race = False
        self.span_tables, self.shared_span_tables = {}, {}
        self.constants = np.frombuffer(program.constants.ljust(16, b"\0"), np.uint8)
        self.collector = Collector()
        self.printed = []
        self.first_raised = None
        self.instructions_run = 0
        n = len(program.blocks)
        self.block_warps, self.block_threads = [0] * n, [0] * n
        self.diverged = [0] * n
        self.barriers = 0
        self.threads_run = 0
        self.has_barriers = any(b.end == "barrier" for b in program.blocks)
        self.here = 0  # the block that runs
        self.rank = {b: k for k, b in enumerate(program.order)}

    # ------------------------------------------------------------------------------------ what generated
    # code calls

    def merge(self, before: Any, after: Any, M: Mask | None) -> Any:
        """A register after a masked write: the new value in the mask, the old one elsewhere."""
        if before is None or M is None:
            return after
        return np.where(M.bits, after, before)

    def choose(self, condition: Any, after: Any, before: Any) -> Any:
        """A register after a guarded write."""
        if before is None:
            return after
        if condition.ndim == 0:
            return after if condition else before
        return np.where(condition, after, before)

    def narrow(self, M: Mask | None, condition: Any) -> Mask | None:
        """The mask where a guard holds too."""
        if condition.ndim == 0:
            if condition:
                return M
            return Mask(np.zeros((1, 1, 1), bool), self.nb, self.nw)
        bits = condition if M is None else M.bits & condition
        if M is None and bits.all():
            return None
        return Mask(bits, self.nb, self.nw)

    def parameter(self, index: int, offset: int, kind: Any) -> Any:
        """A kernel parameter as one value."""
        value = self.params[index]
        if value.dtype == kind and offset == 0:
            return value
        raw = value.tobytes()[offset : offset + kind.itemsize]
        return np.frombuffer(raw, kind)[0]

    def clock(self, passed: int, shift: int, kind: Any) -> Any:
        """A clock: PTX instructions that the batches have run so far, `passed` of them in this block."""
        return np.int64((self.instructions_run + passed) >> shift).astype(kind)

    def special(self, name: str) -> Any:
        """A special register."""
        value = self.registers.get(name)
        if value is None:
            raise UnsupportedInstruction(f"the emulator does not know the special register %{name}")
        return value

    # ------------------------------------------------------------------------------------ batches

    def _begin(self, first: int, count: int) -> None:
        """Set up a batch of `count` blocks from number `first` on."""
        self.first_block, self.nb = first, count
        self.registers, exists, self.base = _geometry(self.grid, self.block, first, count)
        self.registers = {
            **self.registers,
            "dynamic_smem_size": np.int32(self.dynamic_shared),
            "total_smem_size": np.int32(self.shared_size),
        }
        self.alive = np.broadcast_to(exists, (count, self.nw, 32))
        self._alive_is_base = True
        self.epochs = np.zeros(count, np.int64)
        self.warp_epochs = np.zeros((count, self.nw), np.int64)
        self.raised = np.zeros((1, 1, 1), bool)
        self.groups_committed = np.zeros((count, self.nw, 32), np.int64)
        self.begin_shared()
        self.begin_local()

    def run(self) -> None:
        """Run the whole grid."""
        with np.errstate(all="ignore"):
            for first in range(0, self.blocks_in_grid, self.batch_blocks):
                self._begin(first, min(self.batch_blocks, self.blocks_in_grid - first))
                try:
                    self._run_batch()
                except NameError as error:
                    instructions = self.program.blocks[self.here].instructions
                    where = instructions[0].where if instructions else "its beginning"
                    raise EmulatorError(
                        f"a mistake in the emulator's own translation of the PTX from {where} on: {error}; "
                        "please report it with the kernel"
                    ) from error

    # ------------------------------------------------------------------------------------ the scheduler

    def _run_batch(self) -> None:
        program, rank = self.program, self.rank
        blocks, order, functions, live = program.blocks, program.order, program.functions, program.live
        total = self.nb * self.threads_per_block
        warps = self.nb * self.nw
        # What some way through the kernel reads before it is written is open in PTX; it is zero here.
        zeros = [np.dtype(kind).type(0) for kind in program.slot_kinds]
        R: list[Any] = [zero if live[0] >> k & 1 else None for k, zero in enumerate(zeros)]
        A = program.accesses
        ready: dict[int, Mask | None] = {}  # rank -> threads that wait to run that block
        heap: list[int] = []
        waiting: dict[int, list[Any]] = {}  # barrier block -> [mask, value of its predicate]
        alive_threads = total
        fair, counting = program.spins, self.counters
        steps = 0
        self.held = []
        self.left: list[tuple[int, Mask | None]] = []  # where threads came from that have returned

        def leave(M: Mask | None) -> None:
            nonlocal alive_threads
            if self.checks and self.has_barriers:
                self.left.append((self.here, M))
            if M is None:
                alive_threads = 0
                self.alive = np.zeros((self.nb, self.nw, 32), bool)
            else:
                alive_threads -= M.threads
                if alive_threads:
                    self.alive = self.alive & ~M.bits
            self._alive_is_base = False

        def go(target: int, M: Mask | None) -> None:
            if target == EXIT:
                leave(M)
                return
            if blocks[target].only_exits:
                last = target
                while not blocks[last].instructions:
                    if blocks[last].next == EXIT:
                        break
                    last = blocks[last].next
                if counting:
                    self.block_warps[last] += warps if M is None else M.warps
                    self.block_threads[last] += total if M is None else M.threads
                leave(M)
                return
            k = rank[target]
            if k in ready:
                there = ready[k]
                ready[k] = None if there is None or M is None else self._union(there, M)
            else:
                ready[k] = M
                heapq.heappush(heap, k)

        go(0, self.base)
        while True:
            while heap:
                steps += 1
                if steps > self.max_steps:
                    self._give_up(ready, order)
                if fair and steps % _FAIRNESS == 0 and len(heap) > 1:
                    k = max(heap)
                    heap.remove(k)
                    heapq.heapify(heap)
                else:
                    k = heapq.heappop(heap)
                M = ready.pop(k)
                if M is not None and M.threads == self.nb * self.nw * 32:
                    M = None
                n = self.here = order[k]
                block = blocks[n]
                if counting:
                    self.block_warps[n] += warps if M is None else M.warps
                    self.block_threads[n] += total if M is None else M.threads
                keep = 0
                for other in ready:
                    keep |= live[order[other]]
                for other in waiting:
                    keep |= live[blocks[other].next] if blocks[other].next != EXIT else 0
                for standing, _ in self.held:
                    keep |= live[standing.next] if standing.next != EXIT else 0
                result = functions[n](self, R, A, M, keep)
                self.instructions_run += len(block.instructions)
                end = block.end
                if end == "fall":
                    go(block.next, M)
                elif end == "jump":
                    go(block.target, M)
                elif end == "branch":
                    self._branch(block, result, M, go)
                elif end == "exit":
                    if result is None:
                        leave(M)
                    else:
                        self._branch(block, result, M, go)
                elif end in ("barrier", "grid"):
                    if n in waiting:
                        entry = waiting[n]
                        if result is not None:
                            entry[1] = np.where((M.bits if M is not None else True), result, entry[1])
                        entry[0] = None if entry[0] is None or M is None else self._union(entry[0], M)
                    else:
                        waiting[n] = [M, result]
                elif end == "warp":
                    self.sync_warp(block, result, M, go)
                elif end == "table":
                    self._table(block, result, M, go)
                else:
                    self._trap(block, M)
                    leave(M)
            if self.held:
                self.give_up_warps(go)
                continue
            if not waiting:
                break
            self._release(waiting, R, go)

    def _union(self, a: Mask, b: Mask) -> Mask:
        return Mask(a.bits | b.bits, self.nb, self.nw)

    def _branch(self, block: Any, condition: Any, M: Mask | None, go: Any) -> None:
        """Send the threads of a block to its two successors."""
        target = block.target if block.end == "branch" else EXIT
        if condition.ndim == 0:
            go(target if condition else block.next, M)
            return
        bits = condition if M is None else condition & M.bits
        count = int(np.count_nonzero(bits)) * (self.nb * self.nw * 32 // bits.size)
        all_threads = self.nb * self.nw * 32 if M is None else M.threads
        if count == all_threads:
            go(target, M)
        elif count == 0:
            go(block.next, M)
        else:
            taken = Mask(bits, self.nb, self.nw)
            rest = Mask(~condition if M is None else M.bits & ~condition, self.nb, self.nw)
            self.diverged[block.number] += taken.warps + rest.warps - (self.nb * self.nw if M is None else M.warps)
            go(target, taken)
            go(block.next, rest)

    def _table(self, block: Any, index: Any, M: Mask | None, go: Any) -> None:
        """brx.idx: as many ways as there are entries that somebody takes."""
        if index.ndim == 0:
            go(block.targets[int(index)], M)
            return
        bits = np.broadcast_to(True if M is None else M.bits, (self.nb, self.nw, 32))
        whole = np.broadcast_to(index, bits.shape)
        ways = 0
        groups = []
        for entry in np.unique(whole[bits]):
            part = Mask(bits & (whole == entry), self.nb, self.nw)
            ways += part.warps
            groups.append((block.targets[int(entry)], part))
        self.diverged[block.number] += ways - (self.nb * self.nw if M is None else M.warps)
        for target, part in groups:
            go(target, part)

    def _release(self, waiting: dict[int, list[Any]], R: list[Any], go: Any) -> None:
        """Nobody can run any more: open the barriers."""
        blocks = self.program.blocks
        bars = [n for n in waiting if blocks[n].end == "barrier"]
        opened = bars or list(waiting)
        grid_wide = not bars
        total = self.nb * self.threads_per_block
        first = opened[0]
        M = waiting[first][0]
        count = self.nb * self.nw * 32 if M is None else M.threads
        if (
            len(waiting) > 1
            or (count < total if M is not None else False)
            or (M is not None and not self._alive_is_base)
        ):
            self._check_barrier(waiting, opened, grid_wide)
        for n in opened:
            M, value = waiting.pop(n)
            bits = np.broadcast_to(True if M is None else M.bits, (self.nb, self.nw, 32)) if M is not None else None
            arrived = bits.any(axis=(1, 2)) if bits is not None else np.ones(self.nb, bool)
            if not arrived.all() and getattr(self, "follow_shared", False):
                self._split_shadow()
            self.epochs += arrived
            self.barriers += int(np.count_nonzero(arrived))
            if n in self.program.reductions:
                slot, operation = self.program.reductions[n]
                R[slot] = self._reduced(operation, slot, value, bits, R[slot], M)
            if grid_wide and self.writers is not None:
                self.writers.fill(0)  # a grid barrier orders everything before it
                self.updaters.fill(0)
                if self.readers is not None:
                    self.readers.fill(0)
            self.here = n
            go(blocks[n].next, M)

    def _reduced(self, operation: str, slot: int, value: Any, bits: Any, before: Any, M: Mask | None) -> Any:
        """The result of bar.red: one value a block."""
        exists = np.broadcast_to(True if self.base is None else self.base.bits, (self.nb, self.nw, 32))
        here = exists if bits is None else bits
        p = np.broadcast_to(value, here.shape)
        if operation == "popc":
            result = (p & here).sum(axis=(1, 2), keepdims=True).astype(np.int32)
        elif operation == "and":
            result = (p | ~here).all(axis=(1, 2), keepdims=True)
        else:
            result = (p & here).any(axis=(1, 2), keepdims=True)
        return self.merge(before, result.astype(self.program.slot_kinds[slot]), M)

    def _check_barrier(self, waiting: dict[int, list[Any]], opened: list[int], grid_wide: bool) -> None:
        """Report blocks whose threads do not all stand at one barrier."""
        if not self.checks:
            return
        blocks = self.program.blocks
        shape = (self.nb, self.nw, 32)
        there = {n: np.broadcast_to(True if e[0] is None else e[0].bits, shape) for n, e in waiting.items()}
        if self.base is not None:
            there = {n: b & self.base.bits for n, b in there.items()}
        counts = {n: b.sum(axis=(1, 2)) for n, b in there.items()}
        for n in opened:
            here = counts[n]
            others = sum((c for m, c in counts.items() if m != n), np.zeros(self.nb, np.int64))
            elsewhere = (here > 0) & (others > 0)
            gone = (here > 0) & (here + others < self.threads_per_block)
            bad = elsewhere | gone
            if not bad.any():
                continue
            block = int(np.flatnonzero(bad)[0])
            instruction = blocks[n].instructions[-1]
            thread = int(np.flatnonzero(there[n][block])[0])
            if elsewhere[block]:
                m = next(m for m in counts if m != n and counts[m][block])
                if m in opened and opened.index(m) < opened.index(n):
                    continue  # reported from the other side
                absent = int(np.flatnonzero(there[m][block])[0])
                line = blocks[m].instructions[-1].line
                message = (
                    f"{int(here[block])} threads of the block wait here, {int(counts[m][block])} at line {line}"
                )
            else:
                everyone = there[n][block].reshape(-1)
                absent = int(np.flatnonzero(~everyone[: self.threads_per_block])[0])
                missing = self.threads_per_block - int(here[block])
                how = "go around it" if self._went_around(n, block, absent) else "have returned without reaching it"
                message = f"{missing} of the block's {self.threads_per_block} threads {how}"
            self.add_finding(
                "divergent-barrier", instruction, message, position=block * self.nw * 32 + thread,
                other=self.thread(absent), count=int(np.count_nonzero(bad)),
            )  # fmt: skip

    def _went_around(self, barrier: int, block: int, thread: int) -> bool:
        """Whether a thread that has returned took a way past a barrier, to code that comes after it."""
        for source, M in self.left:
            if M is None or np.broadcast_to(M.bits, (self.nb, self.nw, 32))[block].reshape(-1)[thread]:
                blocks = self.program.blocks
                return source in reachable(blocks, barrier) and barrier not in reachable(blocks, source)
        return False

    def _trap(self, block: Any, M: Mask | None) -> None:
        bits = np.broadcast_to(True if M is None else M.bits, (self.nb, self.nw, 32))
        position = int(np.flatnonzero(bits)[0])
        instruction = block.instructions[-1]
        where, thread = self.place(position)
        if not self.checks:
            raise KernelFault(f"trap at {instruction.where}, block {where}, thread {thread}")
        self.add_finding(
            "trap", instruction, "stops the kernel", position=position, count=int(np.count_nonzero(bits))
        )

    def ended(self, number: int, code: Any, M: Mask | None) -> None:
        """A function compiled with debug=True ends: with an exception if its code is positive.

        Callers hand the code on; the innermost function comes first and is the one that raised.
        """
        raised = code > 0
        if not raised.any():
            return
        bits = np.broadcast_to(raised if M is None else M.bits & raised, (self.nb, self.nw, 32)) & ~self.raised
        if self.base is not None:
            bits = bits & self.base.bits
        self.raised = self.raised | bits
        codes = np.broadcast_to(code, bits.shape)
        instruction = self.program.statuses[number]
        for one in np.unique(codes[bits]):
            mine = bits & (codes == one)
            position = int(np.flatnonzero(mine)[0])
            function = instruction.args[1]
            unknown = ("", f"an exception (number {one})", "", 0)
            name, said, file, line = self.program.exceptions.get((function, int(one)), unknown)
            what = f"raises {said}"
            if self.first_raised is None:
                self.first_raised = (said, *self.place(position))
            if instruction.opcode == "numba_raised" or not function:
                what += f" in device function {name}" if name else " in a device function"
            if not self.checks:
                where, thread = self.place(position)
                at = f"Python line {line}" if line else instruction.where
                raise KernelFault(f"{what} at {at}, block {where}, thread {thread}")
            self.add_finding(
                "trap", instruction, what, position=position, count=int(np.count_nonzero(mine)), show_ptx=False,
                at=(file, line) if line else None,
            )  # fmt: skip

    def _give_up(self, ready: dict[int, Mask | None], order: list[int]) -> None:
        running = [i for k in ready for i in self.program.blocks[order[k]].instructions]
        lines = sorted({i.line for i in running if i.line})
        where = f"line(s) {lines}" if lines else f"PTX line(s) {sorted({i.ptx_line for i in running})}"
        raise StepLimitExceeded(
            f"no end after {self.max_steps:,} steps; threads run around {where}: a livelock (a spin lock, or a "
            "wait for blocks that run later)? If the kernel is only long raise max_steps: of launch or activate, "
            f"by `scc-numba run --max-steps`, or in the environment as {STEPS_VARIABLE}."
        )

    # ------------------------------------------------------------------------------------ calls out of the
    # PTX

    def call_half(self, name: str, pointers: tuple[Any, ...], M: Mask | None) -> None:
        """A float16 or bfloat16 helper; its operands lie where the pointers say."""
        helper = HELPERS[name]
        target, *sources = pointers[helper.skip :]
        values = []
        for kind, pointer in zip(helper.operands, sources, strict=True):
            values.append(self.load_generic(self._plain(kind, ac.LOAD), pointer, M))
        result = helper.compute(*values)
        result = result if result.dtype == np.dtype(helper.result) else result.astype(helper.result)
        self.store_generic(self._plain(helper.result, ac.STORE), target, (result,), M)

    def _plain(self, kind: str, mode: int) -> Access:
        """An access that nobody counts: the operands of a linked function would be in registers."""
        return Access(
            len(self.program.accesses), self.program.instructions[0], "generic", mode, kind, 1, frozenset()
        )

    def print(self, text: Any, values: Any, M: Mask | None) -> None:
        """vprintf: collected a thread at a time, shown in thread order when the kernel is over."""
        bits = np.broadcast_to(True if M is None else M.bits, (self.nb, self.nw, 32))
        if self.base is not None:
            bits = bits & self.base.bits
        where = np.broadcast_to(text, bits.shape)
        frame = np.broadcast_to(values, bits.shape)
        for block, warp, lane in np.argwhere(bits):
            fmt = self._string(int(where[block, warp, lane]))
            at = int(frame[block, warp, lane]) & OFFSET_MASK
            line = _format(fmt, self.local_memory[block, warp, lane], at, self._string)
            self.printed.append((self.first_block + int(block), len(self.printed), int(warp * 32 + lane), line))

    def _string(self, address: int) -> str:
        offset = address & OFFSET_MASK
        memory = self.constants if address >> 40 == CONST_WINDOW >> 40 else self.arena.memory
        raw = memory[offset : offset + 4096].tobytes()
        return raw.split(b"\0")[0].decode(errors="replace")


_SPEC = re.compile(r"%([-+ #0]*\d*(?:\.\d+)?)(hh|h|ll|l|j|z|t|L)?([diouxXeEfFgGaAcsp%])")


def _format(fmt: str, memory: Any, at: int, string: Any) -> str:
    """C's printf over arguments packed with their natural alignment."""
    position = at

    def one(m: re.Match[str]) -> str:
        nonlocal position
        flags, length, kind = m[1], m[2] or "", m[3]
        if kind == "%":
            return "%"
        size = 8 if kind in "eEfFgGaAsp" or length in ("ll", "l", "j", "z", "t") else 4
        position = -(-position // size) * size
        raw = memory[position : position + size].tobytes()
        position += size
        if kind in "eEfFgG":
            return f"%{flags}{kind}" % np.frombuffer(raw, np.float64)[0]
        if kind == "s":
            return f"%{flags}s" % string(int.from_bytes(raw, "little"))
        if kind == "c":
            return chr(raw[0])
        number = int.from_bytes(raw, "little", signed=kind in "di")
        return f"%{flags}{'d' if kind in 'iu' else 'x' if kind == 'p' else kind}" % number

    return _SPEC.sub(one, fmt)
