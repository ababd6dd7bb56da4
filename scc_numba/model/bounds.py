"""The least time each resource of a GPU needs for a kernel's work, and which of them is the last to finish."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from scc_numba.model.gpus import ATOMICS_PER_CLOCK_ON_ONE_ADDRESS, ISSUE_PER_CLOCK, L1_BYTES_PER_CLOCK, Gpu

WARP = 32


@dataclass(frozen=True)
class Work:
    """What a kernel does in one launch; of several launches, the sums.

    Attributes:
        multiply_adds: that the operation needs, N·K·P·G; twice as many FLOP.
        blocks: of the grid.
        blocks_per_multiprocessor: that fit at once; 0 where it is not known.
        dram_bytes: that must cross the DRAM's pins at least: every sector of memory that is touched, once.
        l2_bytes: that must pass the L2 cache at least: sectors loaded, each once, and all that are stored or added
            to, for the L1 caches write through.
        l2_bytes_without_l1: the same if the L1 caches served no load at all.
        l1_passes: 128-byte passes of global loads and stores through the L1 caches.
        shared_wavefronts: passes through shared memory, bank conflicts included.
        issue_slots: warp instructions of the machine code; None where it is not known.
        fp32_instructions: warp instructions of the float32 pipe; fp64_instructions: of the float64 pipe.
        tensor_flop: FLOP on tensor cores by type of operand.
        longest_queue: atomic updates of the one address that gets the most.
    """

    multiply_adds: float
    blocks: int
    blocks_per_multiprocessor: int
    dram_bytes: float
    l2_bytes: float
    l2_bytes_without_l1: float
    l1_passes: float
    shared_wavefronts: float
    issue_slots: float | None
    fp32_instructions: float
    fp64_instructions: float = 0
    tensor_flop: dict[str, float] = field(default_factory=dict)
    longest_queue: float = 0


@dataclass(frozen=True)
class Bound:
    """The least time that one resource needs.

    Attributes:
        resource: its name.
        seconds: the time; infinite where the GPU has no such resource.
    """

    resource: str
    seconds: float


@dataclass(frozen=True)
class Waves:
    """How the blocks fall upon the multiprocessors.

    Attributes:
        number: of waves: blocks over those that run at once; None where it is not known how many do.
        tail: by what factor the busiest multiprocessor has more blocks than the average one; at least 1. A grid
            of 133 blocks on 132 multiprocessors has 1.98: one has two blocks, and the others wait.
    """

    number: float | None
    tail: float


@dataclass(frozen=True)
class SpeedOfLight:
    """The bounds of a kernel's work on a GPU. A model: nothing of it was measured.

    Attributes:
        gpu: the GPU.
        work: the work.
        bounds: one a resource, in the order of the memory hierarchy, then issue and the pipes.
        waves: how the blocks fall upon the multiprocessors.
        l2_without_l1: seconds that L2 would need if the L1 caches served nothing; no bound, but its other end.
    """

    gpu: Gpu
    work: Work
    bounds: tuple[Bound, ...]
    waves: Waves
    l2_without_l1: float

    @property
    def seconds(self) -> float:
        """The largest bound: the kernel takes at least so long."""
        return max(bound.seconds for bound in self.bounds)

    @property
    def binding(self) -> str:
        """The resource that has the largest bound."""
        return max(self.bounds, key=lambda bound: bound.seconds).resource

    @property
    def flops(self) -> float:
        """FLOP/s of the operation at most: those it needs, however many more the kernel spends."""
        return 2 * self.work.multiply_adds / self.seconds if self.seconds else 0.0

    @property
    def intensity(self) -> float:
        """FLOP for each byte of DRAM."""
        return 2 * self.work.multiply_adds / self.work.dram_bytes if self.work.dram_bytes else math.inf


def speed_of_light(work: Work, gpu: Gpu) -> SpeedOfLight:
    """The bounds of the work on the GPU.

    What multiprocessors do by themselves (L1, shared memory, issue, pipes) is as slow as the busiest of them: the
    work of the average one times the tail. DRAM and L2 serve them all.
    """
    waves = _waves(work, gpu)
    clocks = gpu.multiprocessors * gpu.clock / waves.tail  # of the multiprocessors together, a second

    def each(amount: float, per_clock: float) -> float:
        return amount / per_clock / clocks

    bounds = [
        Bound("DRAM", work.dram_bytes / gpu.dram_bandwidth),
        Bound("L2", work.l2_bytes / gpu.l2_bandwidth),
        Bound("L1", each(work.l1_passes * 128, L1_BYTES_PER_CLOCK)),
        Bound("shared memory", each(work.shared_wavefronts * 128, L1_BYTES_PER_CLOCK)),
    ]
    if work.issue_slots is not None:
        bounds.append(Bound("issue", each(work.issue_slots, ISSUE_PER_CLOCK)))
    pipes = each(work.fp32_instructions * WARP, gpu.fp32_lanes)
    pipes = max(pipes, each(work.fp64_instructions * WARP, gpu.fp64_lanes))
    bounds.append(Bound("FMA pipes", pipes))
    if any(work.tensor_flop.values()):
        times = [flop / gpu.tensor_flops.get(kind, 0.0) if kind in gpu.tensor_flops else math.inf
                 for kind, flop in work.tensor_flop.items()]  # fmt: skip
        bounds.append(Bound("tensor cores", sum(times) * waves.tail))
    bounds.append(Bound("atomics", work.longest_queue / ATOMICS_PER_CLOCK_ON_ONE_ADDRESS / gpu.clock))
    return SpeedOfLight(gpu, work, tuple(bounds), waves, work.l2_bytes_without_l1 / gpu.l2_bandwidth)


def _waves(work: Work, gpu: Gpu) -> Waves:
    if work.blocks == 0:
        return Waves(0.0, 1.0)
    busiest = -(-work.blocks // gpu.multiprocessors)
    at_once = work.blocks_per_multiprocessor * gpu.multiprocessors
    return Waves(work.blocks / at_once if at_once else None, busiest * gpu.multiprocessors / work.blocks)
