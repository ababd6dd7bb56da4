"""`launch`: check the arguments, run the kernel, hand back a report."""

from __future__ import annotations

import math
import os
import sys
from typing import Any

import numpy as np

from .arena import Arena, written_map
from .errors import ArgumentError, FindingsError, LaunchError
from .findings import Finding
from .frontend import Loaded, load
from .machine import STEPS_VARIABLE, Machine
from .program import GLOBAL_WINDOW
from .report import Report
from .signatures import Parameter, wrong_count
from .targets import MAX_BLOCK, MAX_GRID, Target, find_target

DEFAULT_STEPS = 2_000_000  # unless the environment says otherwise

_AXES = "xyz"


def _shape(value: Any, name: str, limits: tuple[int, int, int]) -> tuple[int, int, int]:
    """A grid or block as three positive numbers."""
    given = value if isinstance(value, (tuple, list)) else (value,)
    if not 1 <= len(given) <= 3:
        raise LaunchError(f"{name}={value!r} must be a number or a tuple of one to three numbers")
    out = []
    for k, v in enumerate(given):
        if isinstance(v, (bool, np.bool_)) or not isinstance(v, (int, np.integer)):
            raise LaunchError(f"{name}={value!r}: {_AXES[k]} is a {type(v).__name__}, it must be a whole number")
        if not 1 <= v <= limits[k]:
            raise LaunchError(f"{name}={value!r}: {_AXES[k]} must be between 1 and {limits[k]:,}")
        out.append(int(v))
    out += [1] * (3 - len(out))
    return out[0], out[1], out[2]


def step_limit(max_steps: Any) -> int:
    """The most basic blocks to run: what is asked for, else SCC_NUMBA_MAX_STEPS, else the default.

    Raises:
        LaunchError: not a whole number, 1 or more.
    """
    name, value = "max_steps", max_steps
    if max_steps is None:
        name, value = STEPS_VARIABLE, os.environ.get(STEPS_VARIABLE) or DEFAULT_STEPS
        if isinstance(value, str) and value.strip().isdecimal():
            value = int(value)
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise LaunchError(f"{name}={value!r} must be a whole number, 1 or more")
    return int(value)


def _check_switches(**switches: Any) -> None:
    for name, value in switches.items():
        if not isinstance(value, (bool, np.bool_)):
            raise ArgumentError(f"{name}={value!r} is a {type(value).__name__}, it must be True or False")


def _check_array(value: Any, p: Parameter, written: bool) -> None:
    if not isinstance(value, np.ndarray):
        hint = "; a pointer parameter is given the array itself, not its address" if p.form == "pointer" else ""
        raise ArgumentError(f"argument {p.name} is a {type(value).__name__}, it must be a NumPy array{hint}")
    if p.dtype is not None and value.dtype != p.dtype:
        raise ArgumentError(f"argument {p.name} has dtype {value.dtype}, the signature says {p.dtype}")
    if isinstance(value, np.ma.MaskedArray):
        raise ArgumentError(
            f"argument {p.name} is a masked array, a kernel cannot see its mask; pass x.filled(...)"
        )
    is_array = p.form in ("array", "memref")
    if is_array and value.ndim != p.dimensions:
        raise ArgumentError(f"argument {p.name} has {value.ndim} dimensions, the signature says {p.dimensions}")
    if p.form == "pointer" and not value.flags.c_contiguous:
        raise ArgumentError(f"argument {p.name} is not C-contiguous; a bare pointer needs numpy.ascontiguousarray")
    if is_array and p.layout == "C" and not value.flags.c_contiguous:
        raise ArgumentError(f"argument {p.name} is not C-contiguous, as its signature says (layout 'C')")
    if is_array and p.layout == "F" and not value.flags.f_contiguous:
        raise ArgumentError(f"argument {p.name} is not Fortran-contiguous, as its signature says (layout 'F')")
    if written and not value.flags.writeable:
        raise ArgumentError(f"argument {p.name} is read-only and the kernel writes to it; pass a writable copy")


def _scalar(value: Any, p: Parameter) -> Any:
    """A scalar argument as a NumPy scalar of the parameter's type, without losing anything."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if not isinstance(value, (bool, int, float, np.generic)):
        raise ArgumentError(f"argument {p.name} is a {type(value).__name__}, it must be a number ({p.dtype})")
    kind = p.dtype.kind
    if kind in "iu":
        if isinstance(value, (float, np.floating)):
            raise ArgumentError(f"argument {p.name}={value!r} must be a whole number ({p.dtype})")
        info = np.iinfo(p.dtype)
        if not info.min <= int(value) <= info.max:
            raise ArgumentError(f"argument {p.name}={value} does not fit {p.dtype}")
    return p.dtype.type(value)


def _fresh(given: Any, loaded: Loaded, args: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arrays named as uninitialised: each is an argument, or the name of one."""
    by_name = {p.name: value for p, value in zip(loaded.parameters, args, strict=True)}
    flat = [item for value in args for item in (value if isinstance(value, tuple) else (value,))]
    fresh = []
    for item in given if isinstance(given, (tuple, list)) else (given,):
        array = by_name.get(item) if isinstance(item, str) else item
        if not isinstance(array, np.ndarray) or not any(array is value for value in flat):
            raise ArgumentError(
                f"uninitialised={item!r} is no array among the arguments; give the array itself, or a name of "
                f"{', '.join(by_name)}"
            )
        fresh.append(array)
    return tuple(fresh)


class _Binder:
    """Sorts arguments into arrays for the arena and values for the PTX parameters."""

    def __init__(self, loaded: Loaded, undefined: tuple[Any, ...]) -> None:
        self.loaded = loaded
        self.undefined = undefined
        self.arrays: list[tuple[str, np.ndarray, bool]] = []
        self.values: list[Any] = []  # NumPy scalars, or the number of an array as an int

    def take(self, p: Parameter, value: Any) -> None:
        if p.form == "tuple":
            if not isinstance(value, tuple) or len(value) != len(p.items):
                raise ArgumentError(f"argument {p.name} must be a tuple of {len(p.items)}")
            for item, v in zip(p.items, value, strict=True):
                self.take(item, v)
            return
        if p.form == "scalar":
            self.values.append(_scalar(value, p))
            return
        program = self.loaded.program
        position = len(self.values) + (4 if p.form == "array" else 0)
        written = position in program.written or (p.form == "memref" and position + 1 in program.written)
        _check_array(value, p, written)
        number = len(self.arrays)
        defined = not any(value is u for u in self.undefined)
        self.arrays.append((p.name, value, defined))
        if p.form == "pointer":
            self.values.append(number)
            return
        zero = np.int64(0)
        if p.form == "memref":
            steps = [np.int64(n // value.itemsize) for n in value.strides]
            self.values += [number, number, zero, *(np.int64(n) for n in value.shape), *steps]
            return
        self.values += [zero, zero, np.int64(value.size), np.int64(value.itemsize), number]
        self.values += [np.int64(n) for n in value.shape] + [np.int64(n) for n in value.strides]


_PARAMETER_KINDS = {
    "u8": "i1", "s8": "i1", "b8": "i1", "u16": "i2", "s16": "i2", "b16": "i2", "u32": "i4", "s32": "i4",
    "b32": "i4",
    "u64": "i8", "s64": "i8", "b64": "i8", "f32": "f4", "f64": "f8", "f16": "f2", "pred": "b1",
}  # fmt: skip


def _as_parameter(value: Any, kind: str) -> Any:
    """A value as the PTX parameter's bits."""
    dtype = np.dtype(_PARAMETER_KINDS[kind])
    if value.dtype == dtype:
        return value
    if value.dtype.itemsize == dtype.itemsize:
        return value.view(dtype)
    if dtype.kind == "f" or value.dtype.kind == "f":
        return value.astype(dtype)
    return value.astype(np.dtype(f"{value.dtype.kind if value.dtype.kind in 'iu' else 'i'}{dtype.itemsize}")).view(
        dtype
    )


def _keep_written(machine: Machine) -> None:
    """Device arrays remember which of their bytes were written."""
    for p in machine.arena.placements:
        known = written_map(p.array) if p is not None and not p.defined else None
        if p is not None and known is not None:
            known[...] = machine.defined[p.start : p.end]


def _load_written(machine: Machine) -> None:
    for p in machine.arena.placements:
        known = written_map(p.array) if p is not None and not p.defined else None
        if p is not None and known is not None:
            machine.defined[p.start : p.end] = known


def _limits(
    loaded: Loaded, block: tuple[int, int, int], shared_bytes: int, target: Target, registers: int | None
) -> list[Finding]:
    """What the launch asks for beyond the target."""
    program = loaded.program
    threads = block[0] * block[1] * block[2]
    shared = program.static_shared + shared_bytes
    problems = []
    if program.max_threads is not None and threads > program.max_threads:
        problems.append(
            f"block={block} has {threads:,} threads, the kernel's launch bounds allow {program.max_threads:,}"
        )
    if shared > target.static_shared:
        problems.append(
            f"{shared:,} bytes of shared memory a block ({program.static_shared:,} static, "
            f"{shared_bytes:,} dynamic), "
            f"{target.name} allows {target.static_shared:,} without opting in"
        )
    if registers is not None and registers > target.per_thread:
        problems.append(f"registers={registers} a thread, {target.name} allows {target.per_thread}")
    elif registers is not None and registers * threads > target.registers:
        problems.append(
            f"registers={registers} a thread for {threads} threads, {target.name} has {target.registers:,} a block"
        )
    line = program.instructions[0].line if program.instructions else 0
    file = program.files.get(program.instructions[0].file, "") if program.instructions else ""
    return [Finding("limit", line, file, "", (0, 0, 0), ((0, 0, 0),), -1, 1, p) for p in problems]


def launch(
    kernel: Any,
    grid: Any,
    block: Any,
    args: Any,
    *,
    shared_bytes: int = 0,
    target: str = "sm_90",
    checks: bool = True,
    counters: bool = True,
    strict: bool = False,
    signature: Any = None,
    options: dict[str, Any] | None = None,
    registers: int | None = None,
    global_races: bool = True,
    uninitialised: Any = (),
    max_steps: int | None = None,
) -> Report:
    """Run a kernel on the CPU, count its memory traffic and check its accesses.

    Args:
        kernel: a Python function written for `numba.cuda`, a `cuda.jit` dispatcher, or a `PtxKernel`.
        grid: blocks, a number or a tuple (x, y, z).
        block: threads of a block, likewise.
        args: NumPy arrays (updated in place, as on a device), numbers, and tuples of numbers.
        shared_bytes: dynamic shared memory of a block, in bytes.
        target: the GPU generation to compile for, "sm_80", "sm_90"...
        checks: look for races, reads of nothing, divergent barriers and so on. Without it an access outside
            its array
            is still never carried out, but not reported.
        counters: count instructions and memory traffic. Without, nothing is counted, and the report's counts raise
            `NotCounted`.
        strict: raise `FindingsError` if there is any finding.
        signature: argument types, where the arguments do not tell: pointers, or scalars narrower than
            Numba's default.
            A Numba signature, a tuple of Numba types, or a string "void(CPointer(float32), int32)".
        options: compiler options (`fastmath`, `opt`, `debug`); by default those of the dispatcher. With `debug`
            an exception that a thread raises is a finding; without, Numba's compiler leaves no trace of it.
        registers: 32-bit registers a thread needs, if known from the assembler, to check against the target.
        global_races: report two threads that write one place of global memory unordered.
        uninitialised: arrays among `args`, or their names, whose contents count as not yet written.
        max_steps: basic blocks to run before giving up; by default SCC_NUMBA_MAX_STEPS, else two million.

    Returns:
        A `Report` with counts and findings.

    Raises:
        LaunchError: a grid, block, target or shared_bytes that no device takes.
        ArgumentError: arguments that do not fit the kernel, or a read-only array that the kernel writes.
        UnsupportedInstruction: the kernel uses an instruction the emulator does not know.
        StepLimitExceeded: the kernel did not end.
        FindingsError: `strict` and something was found.
    """
    grid3, block3 = _shape(grid, "grid", MAX_GRID), _shape(block, "block", MAX_BLOCK)
    if math.prod(block3) > MAX_BLOCK[0]:
        raise LaunchError(f"block={block!r} has {math.prod(block3):,} threads, the most is {MAX_BLOCK[0]:,}")
    if isinstance(shared_bytes, bool) or not isinstance(shared_bytes, (int, np.integer)) or shared_bytes < 0:
        raise LaunchError(f"shared_bytes={shared_bytes!r} must be a whole number of bytes, 0 or more")
    steps = step_limit(max_steps)
    if registers is not None and (
        isinstance(registers, bool) or not isinstance(registers, (int, np.integer)) or registers < 1
    ):
        raise LaunchError(f"registers={registers!r} must be a whole number of registers a thread, 1 or more")
    _check_switches(checks=checks, counters=counters, strict=strict, global_races=global_races)
    device = find_target(target)
    if isinstance(args, np.ndarray) or not isinstance(args, (tuple, list)):
        raise ArgumentError(f"args is a {type(args).__name__}, it must be a tuple of the kernel's arguments")
    args = tuple(args)
    loaded = load(kernel, args, device, signature, options)
    program = loaded.program
    if len(args) != len(loaded.parameters):
        raise ArgumentError(wrong_count("the kernel", loaded.parameters, args))
    binder = _Binder(loaded, _fresh(uninitialised, loaded, args))
    for p, value in zip(loaded.parameters, args, strict=True):
        binder.take(p, value)
    limits = _limits(loaded, block3, int(shared_bytes), device, registers)
    if limits and not checks:
        raise LaunchError(limits[0].message)
    arena = Arena(binder.arrays, program)
    params = []
    for (_, kind), value in zip(program.params, binder.values, strict=True):
        if type(value) is int:
            value = np.int64(arena.address(value))
        params.append(_as_parameter(value, kind))
    machine = Machine(
        program, arena, params, loaded.array_of_param, grid3, block3, int(shared_bytes), checks=checks,
        counters=counters, global_races=global_races, max_steps=steps,
    )  # fmt: skip
    for f in limits:
        machine.collector.add(f)
    if len(machine.defined):
        _load_written(machine)
    machine.run()
    changed = sorted({loaded.array_of_param[s] for s in program.written if s in loaded.array_of_param})
    if program.unknown_stores:
        changed = [n for n, (_, array, _) in enumerate(binder.arrays) if array.flags.writeable]
    arena.store(changed)
    if len(machine.defined):
        _keep_written(machine)
    if machine.printed:
        machine.printed.sort()
        sys.stdout.write("".join(text for *_, text in machine.printed))
    report = Report(machine, loaded, device)
    if strict and report.findings:
        raise findings_error(report, report.findings)
    return report


def findings_error(report: Report, findings: list[Finding]) -> FindingsError:
    """The error of a strict launch."""
    summary = "\n".join(f"  {f}" for f in findings)
    return FindingsError(f"{len(findings)} finding(s) in {report.kernel}:\n{summary}", report)


__all__ = ["GLOBAL_WINDOW", "launch"]
