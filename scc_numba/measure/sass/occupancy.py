"""How many warps of a kernel fit on a streaming multiprocessor at once, and what keeps more out.

Limits of each compute capability: NVIDIA CUDA C++ Programming Guide, section "Compute Capabilities", table
"Technical Specifications per Compute Capability". How registers and shared memory are handed out: cuda_occupancy.h
of the CUDA toolkit, NVIDIA's own calculator, which the tests compile and compare with where it is at hand.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scc_numba.kernels import closest

WARP = 32
SUB_PARTITIONS = 4  # each has a scheduler, and a quarter of the registers
REGISTER_UNIT = 256  # registers are handed to a warp in multiples of this
REGISTERS = 65_536  # of a multiprocessor, in every generation here; a block may have as many


@dataclass(frozen=True)
class Limits:
    """What one multiprocessor holds.

    Attributes:
        warps: at once.
        blocks: at once.
        shared_bytes: shared memory of all its blocks.
        reserved_bytes: of shared memory, that the driver takes for each block.
        shared_unit: shared memory is handed to a block in multiples of this many bytes.
    """

    warps: int
    blocks: int
    shared_bytes: int
    reserved_bytes: int = 1024
    shared_unit: int = 128


LIMITS = {
    "sm_75": Limits(warps=32, blocks=16, shared_bytes=64 * 1024, reserved_bytes=0, shared_unit=256),
    "sm_80": Limits(warps=64, blocks=32, shared_bytes=164 * 1024),
    "sm_86": Limits(warps=48, blocks=16, shared_bytes=100 * 1024),
    "sm_87": Limits(warps=48, blocks=16, shared_bytes=164 * 1024),
    "sm_89": Limits(warps=48, blocks=24, shared_bytes=100 * 1024),
    "sm_90": Limits(warps=64, blocks=32, shared_bytes=228 * 1024),
    "sm_100": Limits(warps=64, blocks=32, shared_bytes=228 * 1024),
    "sm_120": Limits(warps=48, blocks=24, shared_bytes=100 * 1024),
}


@dataclass(frozen=True)
class Occupancy:
    """What fits.

    Attributes:
        warps: at once on a multiprocessor.
        of: the most that any kernel could have there.
        blocks: at once.
        limits: what keeps more out: "registers", "shared memory", "threads" or "blocks", or several of them.
    """

    warps: int
    of: int
    blocks: int
    limits: tuple[str, ...]

    @property
    def share(self) -> float:
        """Warps, as a share of the most there could be."""
        return self.warps / self.of


def limits_of(target: str) -> Limits:
    """The limits of "sm_90" and the like.

    Raises:
        ValueError: no such target is known; the message suggests the nearest.
    """
    if target not in LIMITS:
        raise ValueError(f"target={target!r} is unknown: {closest(target, list(LIMITS))}")
    return LIMITS[target]


def occupancy(target: str, threads: int, registers: int, shared_bytes: int) -> Occupancy:
    """The occupancy of a kernel, given the largest share of shared memory in the L1 cache that there can be.

    Args:
        target: "sm_90" and the like.
        threads: of a block, 1 to 1,024.
        registers: of a thread.
        shared_bytes: of a block, static and dynamic.
    """
    limits = limits_of(target)
    warps = -(-threads // WARP)
    of_a_warp = _round_up(max(registers, 1) * WARP, REGISTER_UNIT)
    fitting = SUB_PARTITIONS * (REGISTERS // SUB_PARTITIONS // of_a_warp)
    shared = _round_up(shared_bytes + limits.reserved_bytes, limits.shared_unit)
    by = {
        "registers": fitting // warps,
        "shared memory": limits.shared_bytes // shared if shared else math.inf,
        "threads": limits.warps // warps,
        "blocks": limits.blocks,
    }
    blocks = int(min(by.values()))
    return Occupancy(
        blocks * warps, limits.warps, blocks, tuple(name for name, most in by.items() if most == blocks)
    )


def _round_up(number: int, unit: int) -> int:
    return -(-number // unit) * unit
