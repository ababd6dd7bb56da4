"""What a launch counted and found, by kernel, by source line and by array."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from . import access as ac
from .errors import NotCounted
from .findings import Finding
from .program import OFFSET_MASK


@dataclass
class Traffic:
    """Counts of one kind of memory access.

    Attributes:
        requests: warps that executed an instruction of this kind.
        sectors: 32-byte pieces they touched, counted once a request (global and local memory).
        bytes: bytes the threads asked for.
        lanes: threads that took part, summed over requests.
        wavefronts: passes of shared memory; requests without conflicts need one for each 128 bytes.
        ideal: sectors (or wavefronts) that the same bytes would need at best.
    """

    requests: int = 0
    sectors: int = 0
    bytes: int = 0
    lanes: int = 0
    wavefronts: int = 0
    ideal: int = 0

    @property
    def conflicts(self) -> int:
        """Wavefronts beyond the best possible: bank conflicts of shared memory."""
        return max(0, self.wavefronts - self.ideal)

    def add(self, row: Any, size: int) -> None:
        """Add a row of the machine's statistics."""
        self.requests += int(row[ac.REQUESTS])
        self.sectors += int(row[ac.SECTORS])
        self.lanes += int(row[ac.LANES])
        self.bytes += int(row[ac.LANES]) * size
        self.wavefronts += int(row[ac.WAVEFRONTS])
        self.ideal += int(row[ac.IDEAL])


@dataclass
class AtomicTraffic(Traffic):
    """Counts of atomics; sectors for global memory, wavefronts for shared memory.

    Attributes:
        operations: atomic updates, one a thread.
        queue: per request the most lanes of the warp on one address, summed over requests: they run one after the
            other. Equals requests without contention; says nothing of other warps.
        worst_contention: how often the most updated address was updated, by any thread of the launch (for shared
            memory, of a batch of blocks).
    """

    operations: int = 0
    queue: int = 0
    worst_contention: int = 0

    def add(self, row: Any, size: int) -> None:
        """Add a row of the machine's statistics."""
        super().add(row, size)
        self.operations += int(row[ac.LANES])
        self.queue += int(row[ac.WORST])


@dataclass
class Line:
    """Counts of one source line."""

    line: int
    file: str
    source: str = ""
    instructions: int = 0  # PTX instructions issued, each counted once a warp
    threads: int = 0  # the same, one a thread: 32 times instructions if no lane is idle
    flops: int = 0
    global_load: Traffic = field(default_factory=Traffic)
    global_store: Traffic = field(default_factory=Traffic)
    shared_load: Traffic = field(default_factory=Traffic)
    shared_store: Traffic = field(default_factory=Traffic)
    local_load: Traffic = field(default_factory=Traffic)
    local_store: Traffic = field(default_factory=Traffic)
    atomics: AtomicTraffic = field(default_factory=AtomicTraffic)
    diverged: int = 0  # branches at which a warp split
    findings: list[Finding] = field(default_factory=list)

    @property
    def active_lanes(self) -> float:
        """Mean share of a warp's lanes that take part, 0 to 1."""
        return self.threads / (32 * self.instructions) if self.instructions else 0.0


@dataclass
class ArrayTraffic:
    """Counts of one array: an argument in global memory, or a shared array.

    Attributes:
        space: "global" or "shared".
        bytes: of the argument, or of the array in one block.
        load, store, atomics: requests with their sectors (global) or wavefronts (shared).
        unique_load_sectors, unique_store_sectors: different sectors touched, 0 for shared arrays.
    """

    name: str
    bytes: int
    space: str = "global"
    load: Traffic = field(default_factory=Traffic)
    store: Traffic = field(default_factory=Traffic)
    atomics: AtomicTraffic = field(default_factory=AtomicTraffic)
    unique_load_sectors: int = 0
    unique_store_sectors: int = 0


@dataclass
class Sample:
    """The addresses of one memory instruction, the first time it ran.

    Attributes:
        space: "global" or "shared".
        mode: 0 load, 1 store, 2 atomic.
        size: bytes a lane.
        addresses: (warps, 32) byte offsets in global memory or in the block's shared memory.
        active: (warps, 32) lanes that took part.
    """

    space: str
    mode: int
    size: int
    addresses: Any
    active: Any


_PLACES = {
    ("global", ac.LOAD): "global_load", ("global", ac.STORE): "global_store",
    ("shared", ac.LOAD): "shared_load",
    ("shared", ac.STORE): "shared_store",
    ("local", ac.LOAD): "local_load", ("local", ac.STORE): "local_store",
}  # fmt: skip


class Report:
    """The outcome of one launch; counts are worked out when first asked for.

    Attributes:
        kernel: the kernel's name.
        findings: what the checks found, see `Finding`.
        raised: with debug=True the exception that was raised first, as text, with its block and thread; else None.
        counted: False after `launch(..., counters=False)`: then every count raises `NotCounted`.
        grid, block: shapes of the launch.
        target: name of the target it was compiled for.
    """

    def __init__(self, machine: Any, loaded: Any, target: Any) -> None:
        self._machine = machine
        self._loaded = loaded
        self.kernel: str = loaded.name or machine.program.name
        self.findings: list[Finding] = machine.collector.sorted()
        self.grid, self.block = machine.grid, machine.block
        self.target: str = target.name
        self._l2_bytes = target.l2
        self.counted: bool = machine.counters
        # The first exception a thread raised, "IndexError: too far", with its block and thread (debug=True only).
        self.raised: tuple[str, Any, Any] | None = machine.first_raised

    @property
    def _counts(self) -> Any:
        """The machine, whose counts mean something.

        Raises:
            NotCounted: the launch had counters=False.
        """
        if not self.counted:
            raise NotCounted(
                f"nothing was counted of {self.kernel}: the launch had counters=False; launch it with counters=True"
                " for counts (its findings are there)"
            )
        return self._machine

    # ------------------------------------------------------------------------------------ whole kernel

    @cached_property
    def instructions(self) -> int:
        """PTX instructions issued, counted once a warp."""
        m = self._counts
        return sum(n * len(b.instructions) for n, b in zip(m.block_warps, m.program.blocks, strict=True))

    @cached_property
    def thread_instructions(self) -> int:
        """PTX instructions, counted once a thread."""
        m = self._counts
        return sum(n * len(b.instructions) for n, b in zip(m.block_threads, m.program.blocks, strict=True))

    @property
    def active_lanes(self) -> float:
        """Mean share of a warp's lanes that take part, 0 to 1."""
        return self.thread_instructions / (32 * self.instructions) if self.instructions else 0.0

    @cached_property
    def instruction_classes(self) -> dict[str, int]:
        """PTX instructions issued per warp by class: integer, float32, load, control..."""
        m = self._counts
        out: dict[str, int] = {}
        for n, classes in zip(m.block_warps, m.program.classes, strict=True):
            for name, count in classes.items():
                if n:
                    out[name] = out.get(name, 0) + n * count
        return dict(sorted(out.items(), key=lambda p: -p[1]))

    @cached_property
    def opcodes(self) -> dict[str, int]:
        """PTX instructions issued per warp by opcode, "fma.rn.f32", the most frequent first."""
        m = self._counts
        out: dict[str, int] = {}
        for n, b in zip(m.block_warps, m.program.blocks, strict=True):
            for i in b.instructions:
                if n:
                    out[i.opcode] = out.get(i.opcode, 0) + n
        return dict(sorted(out.items(), key=lambda p: -p[1]))

    @cached_property
    def flops(self) -> int:
        """Floating-point operations; a fused multiply-add is two."""
        m = self._counts
        return sum(n * f for n, f in zip(m.block_threads, m.program.flops, strict=True))

    @property
    def barriers(self) -> int:
        """Block barriers passed, one a block."""
        return int(self._counts.barriers)

    @property
    def divergent_branches(self) -> int:
        """Branches at which a warp split, one a warp."""
        return int(sum(self._counts.diverged))

    @cached_property
    def _totals(self) -> Line:
        total = Line(0, "")
        m = self._counts
        for a in m.program.accesses:
            self._count(total, a)
        hits = [h.max() for h in (m.atomic_hits, m.shared_hits) if h is not None and len(h)]
        total.atomics.worst_contention = int(max(hits, default=0))
        return total

    def _count(self, line: Line, a: Any) -> None:
        rows = self._counts.stats[a.number]
        if a.mode == ac.ATOMIC:
            line.atomics.add(rows.sum(axis=0), a.size)
        elif a.space == "generic":  # some of its threads may go to shared memory
            split = len(self._machine.arena.placements)
            getattr(line, _PLACES["global", a.mode]).add(rows[:split].sum(axis=0), a.size)
            getattr(line, _PLACES["shared", a.mode]).add(rows[split:].sum(axis=0), a.size)
        elif (a.space, a.mode) in _PLACES:
            getattr(line, _PLACES[a.space, a.mode]).add(rows.sum(axis=0), a.size)

    @property
    def global_load(self) -> Traffic:
        """Loads from global memory."""
        return self._totals.global_load

    @property
    def global_store(self) -> Traffic:
        """Stores to global memory."""
        return self._totals.global_store

    @property
    def shared_load(self) -> Traffic:
        """Loads from shared memory."""
        return self._totals.shared_load

    @property
    def shared_store(self) -> Traffic:
        """Stores to shared memory."""
        return self._totals.shared_store

    @property
    def local_load(self) -> Traffic:
        """Loads from local memory (a model, see the README)."""
        return self._totals.local_load

    @property
    def local_store(self) -> Traffic:
        """Stores to local memory (a model, see the README)."""
        return self._totals.local_store

    @property
    def atomics(self) -> AtomicTraffic:
        """Atomic operations on global and shared memory."""
        return self._totals.atomics

    @cached_property
    def unique_sectors(self) -> int:
        """Different sectors of global memory touched: what DRAM must move at least."""
        return int(np.count_nonzero(self._counts.touched))

    @property
    def l2(self) -> dict[str, Any]:
        """A model of the second-level cache.

        While everything touched fits the target's L2, each sector comes from DRAM once: then `dram_sectors`
        is the count of unique sectors. Where it does not fit, no better bound than "between once and every
        request" is given.
        """
        touched = self.unique_sectors
        fits = touched * 32 <= self._l2_bytes
        requested = self.global_load.sectors + self.global_store.sectors + self.atomics.sectors
        return {
            "bytes": self._l2_bytes, "fits": fits, "dram_sectors_at_least": touched,
            "dram_sectors_at_most": touched if fits else requested,
        }  # fmt: skip

    # ------------------------------------------------------------------------------------ by array and line

    @cached_property
    def arrays(self) -> dict[str, ArrayTraffic]:
        """Counts by array: the arguments in order, then the shared arrays."""
        m = self._counts
        out: dict[str, ArrayTraffic] = {}
        for n, p in enumerate(m.arena.placements):
            if p is None or p.array is None:
                continue
            entry = ArrayTraffic(p.name, p.array.nbytes)
            for a in m.program.accesses:
                if a.space not in ("global", "generic"):
                    continue
                part = entry.load if a.mode == ac.LOAD else entry.store if a.mode == ac.STORE else entry.atomics
                part.add(m.stats[a.number, n], a.size)
            touched = m.touched[p.start >> 5 : (p.end + 31) >> 5]
            entry.unique_load_sectors = int(np.count_nonzero(touched & 1))
            entry.unique_store_sectors = int(np.count_nonzero(touched & 2))
            out[p.name] = entry
        first = len(m.arena.placements)
        for n, (symbol, (start, end)) in enumerate(m.shared_arrays.items()):
            name = m.label(symbol)
            if name in out:
                name = f"{name} (shared)"
            entry = out[name] = ArrayTraffic(name, end - start, "shared")
            for a in m.program.accesses:
                if a.space in ("shared", "generic"):
                    part = entry.load if a.mode == ac.LOAD else entry.store if a.mode == ac.STORE else entry.atomics
                    part.add(m.stats[a.number, first + n], a.size)
        return out

    @cached_property
    def lines(self) -> list[Line]:
        """One record a source line that has instructions, in order."""
        from .codegen import instruction_flops

        m = self._counts
        found: dict[tuple[str, int], Line] = {}

        def at(i: Any) -> Line:
            key = (m.program.files.get(i.file, ""), i.line)
            if key not in found:
                found[key] = Line(i.line, key[0])
            return found[key]

        for n, b in enumerate(m.program.blocks):
            warps, threads = m.block_warps[n], m.block_threads[n]
            for i in b.instructions:
                line = at(i)
                line.instructions += warps
                line.threads += threads
                line.flops += threads * instruction_flops(i)
            if b.instructions:
                at(b.instructions[-1]).diverged += m.diverged[n]
        for a in m.program.accesses:
            self._count(at(a.instruction), a)
        for f in self.findings:
            found.setdefault((f.file, f.line), Line(f.line, f.file)).findings.append(f)
        for (file, number), line in found.items():
            line.source = _source_line(file, number)
        return [found[k] for k in sorted(found)]

    def samples(self, line: int) -> list[Sample]:
        """The memory instructions of a line that ran, each with the addresses of its first execution."""
        m = self._counts
        out = []
        for a in m.program.accesses:
            kept = m.samples[a.number]
            if kept is None or a.instruction.line != line:
                continue
            space, address, mask, blocks = kept
            shape = (blocks, m.nw, 32)
            offset = np.broadcast_to(address, shape) & np.int64(OFFSET_MASK)
            active = np.broadcast_to(True if mask is None else mask.bits, shape)
            out.append(Sample(space, a.mode, a.size, offset.reshape(-1, 32), active.reshape(-1, 32)))
        return out

    def plot_access(self, line: int, warp: int = 0, access: int = 0, ax: Any = None) -> Any:
        """Draw which lane of a warp touches which sector or bank, see `plots.plot_access`."""
        from .plots import plot_access

        return plot_access(self, line, warp, access, ax)

    def plot_lines(self, count: str = "instructions", top: int = 12, ax: Any = None) -> Any:
        """A bar a source line, see `plots.plot_lines`."""
        from .plots import plot_lines

        return plot_lines(self, count, top, ax)

    def to_json(self) -> dict[str, Any]:
        """Everything as plain dictionaries and lists; without counters=True only the launch and its findings."""
        traffic = (
            "global_load", "global_store", "shared_load", "shared_store", "local_load", "local_store",
            "atomics",
        )  # fmt: skip
        launched = {
            "kernel": self.kernel, "target": self.target, "grid": list(self.grid), "block": list(self.block),
            "counted": self.counted, "findings": [asdict(f) for f in self.findings],
        }  # fmt: skip
        if not self.counted:
            return launched
        return {
            **launched,
            "instructions": self.instructions, "thread_instructions": self.thread_instructions,
            "instruction_classes": self.instruction_classes, "active_lanes": self.active_lanes,
            "flops": self.flops,
            "barriers": self.barriers, "divergent_branches": self.divergent_branches,
            "unique_sectors": self.unique_sectors, "l2": self.l2,
            **{name: asdict(getattr(self, name)) for name in traffic},
            "arrays": {k: asdict(v) for k, v in self.arrays.items()},
            "lines": [asdict(line) for line in self.lines],
        }  # fmt: skip

    def show(self, file: Any = None) -> None:
        """Print the source with the counts beside each line."""
        from .show import show

        show(self, file)

    def _repr_html_(self) -> str:
        from .show import as_html

        return as_html(self)

    def __repr__(self) -> str:
        if not self.counted:
            return f"<Report of {self.kernel}: not counted, {len(self.findings)} finding(s)>"
        return (
            f"<Report of {self.kernel}: {self.instructions:,} instructions, {self.global_load.sectors:,} "
            f"sectors loaded, "
            f"{self.global_store.sectors:,} stored, {len(self.findings)} finding(s)>"
        )


def _source_line(file: str, number: int) -> str:
    import linecache

    return linecache.getline(file, number).rstrip("\n") if file and number else ""
