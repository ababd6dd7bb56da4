"""A kernel ready to run: its blocks, its memory layout and its generated Python functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .control_flow import Block
from .ptx import Instruction, Variable

# Each address space is a window of the 64-bit address range: an address says by itself where it points, so
# generic accesses need no conversion and `cvta` does nothing.
GLOBAL_WINDOW = 0x10 << 40
SHARED_WINDOW = 0x20 << 40
LOCAL_WINDOW = 0x30 << 40
CONST_WINDOW = 0x40 << 40
WINDOW_SHIFT = 40
OFFSET_MASK = (1 << WINDOW_SHIFT) - 1


@dataclass(slots=True)
class Access:
    """One memory instruction, as the memories need to know it."""

    number: int
    instruction: Instruction
    space: str  # "global", "shared", "local", "const" or "generic"
    mode: int  # access.LOAD, STORE or ATOMIC
    kind: str  # NumPy dtype of one element
    count: int  # elements: 1, 2 or 4
    # What its address can come from: positions of pointer parameters, symbols of shared arrays; empty: unknown.
    sources: frozenset[int | str]

    dtype: Any = None
    item: int = 0
    size: int = 0  # bytes of the whole access
    shift: int = 0  # log2(item)

    def __post_init__(self) -> None:
        self.dtype = np.dtype(self.kind)
        self.item = self.dtype.itemsize
        self.size = self.item * self.count
        self.shift = self.item.bit_length() - 1


@dataclass
class Program:
    """Everything about a kernel that does not change from launch to launch."""

    name: str
    target: str
    params: list[tuple[str, str]]
    files: dict[int, str]
    instructions: list[Instruction]
    blocks: list[Block]
    order: list[int]
    accesses: list[Access]
    shared: dict[str, tuple[int, int]]  # symbol -> (offset, bytes)
    static_shared: int
    local_bytes: int
    constants: bytes
    constant_at: dict[str, int]
    globals: dict[str, Variable]
    slots: dict[str, int]
    slot_kinds: list[str]
    live: list[int]  # per block: bit set of slots live at its start
    source: str
    max_threads: int | None = None
    grain: int = 4  # bytes of a shadow entry of shared memory
    global_grain: int = 4
    uses_shared: bool = False
    uses_grid_sync: bool = False
    spins: bool = False  # compares and swaps, or exchanges: threads may wait for each other
    locks: bool = False  # takes locks by atomics: write order between threads is then its own business
    orders_threads: bool = False  # has a fence and atomics, or may wait for others: likewise threads of one block
    orders_blocks: bool = False  # has a fence, or may wait for other threads: blocks may order each other
    written: frozenset[int] = frozenset()  # pointer parameters it can store through
    unknown_stores: bool = False
    functions: list[Callable[..., Any]] = field(default_factory=list)
    statuses: list[Instruction] = field(
        default_factory=list
    )  # where Numba hands over a thread's exception, or none
    # PTX name of a function and number -> the function's Python name, "IndexError: too far", file, line
    exceptions: dict[tuple[str, int], tuple[str, str, str, int]] = field(default_factory=dict)
    # Per block: PTX instructions by class, and floating-point operations of one thread.
    classes: list[dict[str, int]] = field(default_factory=list)
    flops: list[int] = field(default_factory=list)
    shared_labels: dict[str, str] = field(default_factory=dict)  # symbol -> the Python variable's name
    reductions: dict[int, tuple[int, str]] = field(default_factory=dict)  # barrier block -> (slot, operation)
