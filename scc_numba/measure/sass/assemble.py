"""PTX to machine code, and what the assembler says that it takes: registers, spills, local and shared memory."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from scc_numba.measure.sass.tools import WHEELS, ToolFailed, find_tool

_MANGLED = re.compile(r" '_Z\w+'")
_SPILLS = re.compile(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_REGISTERS = re.compile(r"Used (\d+) registers")
_SHARED = re.compile(r"(\d+) bytes smem")


@dataclass(frozen=True)
class Resources:
    """What a kernel takes, by `ptxas -v`.

    Attributes:
        registers: of a thread.
        spill_stores: bytes that a thread's spilled registers are written with, each instruction counted once.
        spill_loads: bytes that they are read back with.
        local_bytes: local memory of a thread: spilled registers, and arrays that found no registers.
        shared_bytes: static shared memory of a block.
    """

    registers: int
    spill_stores: int
    spill_loads: int
    local_bytes: int
    shared_bytes: int


def assemble(ptx: str, target: str, max_registers: int | None = None) -> tuple[Resources, str]:
    """The resources of a PTX text's one kernel, and its SASS as nvdisasm prints it, with source lines.

    Args:
        ptx: with one entry, compiled with line numbers.
        target: "sm_90" and the like; the text's own, or a later one.
        max_registers: registers of a thread at most, as `numba.cuda.jit(max_registers=...)` would ask for.

    Raises:
        NoTools: the tools are not installed.
        ToolFailed: the assembler refuses the text: too much shared memory, a version of PTX that it does not know.
    """
    ptxas, nvdisasm = find_tool("ptxas"), find_tool("nvdisasm")
    limit = [] if max_registers is None else ["-maxrregcount", str(max_registers)]
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx, encoding="utf-8")
        try:
            _, said = ptxas.run("-v", "-lineinfo", "-arch", target, *limit, source, "-o", cubin)
        except ToolFailed as error:
            if "Unsupported .version" in error.said:
                raise ToolFailed(
                    f"{error}: it is older than the compiler; pip install -U {WHEELS['ptxas']}", error.said
                ) from None
            told = _MANGLED.sub("", str(error)).replace(str(source), "the kernel's PTX")
            raise ToolFailed(told, error.said) from None
        listing, _ = nvdisasm.run("-c", "-g", cubin)
    return read_resources(said), listing


def read_resources(said: str) -> Resources:
    """What `ptxas -v` says of a module with one kernel.

    Raises:
        ValueError: it does not say it.
    """
    registers, spills = _REGISTERS.findall(said), _SPILLS.findall(said)
    if len(registers) != 1 or not spills:
        raise ValueError(f"ptxas tells of {len(registers)} kernels' registers, expected one: {said.strip()!r}")
    frames, stores, loads = (max(int(row[i]) for row in spills) for i in range(3))
    shared = _SHARED.search(said)
    return Resources(int(registers[0]), stores, loads, frames, int(shared[1]) if shared else 0)
