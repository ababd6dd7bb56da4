"""Code for jumps, barriers and calls that leave the PTX."""

from __future__ import annotations

from .codegen import Writer, emits
from .half import HELPERS
from .ptx import Instruction


@emits("bra", "ret", "exit")
def _jump(w: Writer, i: Instruction) -> None:
    if i.guard:
        w.result = w.source(i.guard, "b1")


@emits("brx")
def _table(w: Writer, i: Instruction) -> None:
    w.result = w.source(i.args[0], "u4")


@emits("trap", "brkpt", "nanosleep")
def _nothing(w: Writer, i: Instruction) -> None:
    pass  # trap ends its block: the scheduler acts on it; time is not modelled


@emits("numba_status", "numba_raised")
def _status(w: Writer, i: Instruction) -> None:
    w.line(f"m.ended({len(w.program.statuses)}, {w.source(i.args[0], 'i4')}, {w.mask()})")
    if not w.deciding:
        w.program.statuses.append(i)


@emits("bar", "barrier")
def _barrier(w: Writer, i: Instruction) -> None:
    if "warp" in i.parts:
        if i.guard:
            raise w.fail(i)
        w.result = w.source(i.args[0], "u4")
        return
    if "cluster" in i.parts or "arrive" in i.parts or i.guard:
        raise w.fail(i)
    reducing = "red" in i.parts
    operands = i.args[1:] if reducing else i.args
    if operands[0] != "0" or len(operands) > (2 if reducing else 1):
        raise w.fail(i, "only barrier 0 of the whole block is modelled")
    if reducing:
        w.result = w.source(operands[1], "b1")
        w.assign(i.args[0], "None", "b1" if i.parts[2] != "popc" else "i4") if w.deciding else None


@emits("call")
def _call(w: Writer, i: Instruction) -> None:
    name, result, arguments = i.args[0], i.args[1], i.args[2:]
    values = ", ".join(w.source(a, "i8") for a in arguments)
    if name == "cudaCGSynchronize":
        w.assign(result, w.constant("i8", 0), "i8")
    elif name == "cudaCGGetIntrinsicHandle":
        w.assign(result, w.constant("i8", 1), "i8")
    elif name == "vprintf":
        w.line(f"m.print({values}, {w.mask()})")
        w.assign(result, w.constant("i8", 0), "i8")
    elif name in HELPERS:
        # The wrapper's own accesses go through local memory, as the compiler arranged them.
        w.line(f'm.call_half("{name}", ({values},), {w.mask()})')
        w.assign(result, w.constant("i8", 0), "i8")
    else:
        raise w.fail(i, f"the function {name!r} is not in the PTX")
