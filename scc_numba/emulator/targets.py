"""What each GPU generation allows and holds.

Sources: NVIDIA CUDA C++ Programming Guide, "Compute Capabilities" (threads, registers and shared memory a
block); L2 sizes from the data sheets of the largest chip sold of each generation.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import LaunchError


@dataclass(frozen=True, slots=True)
class Target:
    """Limits and sizes of one compute capability.

    Attributes:
        name: as in PTX, "sm_90".
        threads: per block.
        static_shared: bytes a block can have without opting in; Numba never opts in.
        registers: 32-bit registers a block can have; per_thread: a thread.
        l2: bytes of the second-level cache.
        resident_threads, resident_blocks, resident_shared: threads, blocks and bytes of shared memory that one
            multiprocessor holds at once; reserved_shared: bytes that every block gives up to the system.
    """

    name: str
    threads: int = 1024
    static_shared: int = 48 * 1024
    registers: int = 65536
    per_thread: int = 255
    l2: int = 4 * 2**20
    resident_threads: int = 2048
    resident_blocks: int = 32
    resident_shared: int = 228 * 1024
    reserved_shared: int = 1024

    @property
    def capability(self) -> tuple[int, int]:
        """(major, minor) as Numba takes it."""
        digits = self.name.removeprefix("sm_")
        return int(digits[:-1]), int(digits[-1])


MAX_BLOCK = (1024, 1024, 64)
MAX_GRID = (2**31 - 1, 65535, 65535)

TARGETS = {
    t.name: t
    for t in (
        Target(
            "sm_75",
            l2=6 * 2**20,
            resident_threads=1024,
            resident_blocks=16,
            resident_shared=64 * 1024,
            reserved_shared=0,
        ),  # TU102
        Target(
            "sm_80", l2=40 * 2**20, resident_threads=2048, resident_blocks=32, resident_shared=164 * 1024
        ),  # A100
        Target(
            "sm_86", l2=6 * 2**20, resident_threads=1536, resident_blocks=16, resident_shared=100 * 1024
        ),  # GA102
        Target("sm_87", l2=4 * 2**20, resident_threads=1536, resident_blocks=16, resident_shared=164 * 1024),
        Target(
            "sm_89", l2=72 * 2**20, resident_threads=1536, resident_blocks=24, resident_shared=100 * 1024
        ),  # L40
        Target("sm_90", l2=50 * 2**20),  # H100, H200
        Target("sm_100", l2=126 * 2**20),  # B200
        Target("sm_103", l2=126 * 2**20),
        Target(
            "sm_120", l2=128 * 2**20, resident_threads=1536, resident_blocks=24, resident_shared=100 * 1024
        ),  # GB202
    )
}


def find_target(name: str) -> Target:
    """The target of that name.

    Raises:
        LaunchError: no such target.
    """
    if name not in TARGETS:
        raise LaunchError(f"target={name!r} is unknown; known are {', '.join(TARGETS)}")
    return TARGETS[name]
