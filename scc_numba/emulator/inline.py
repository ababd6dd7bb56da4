"""Replaces every call of a device function by the function's body, so that a kernel is one flat list.

Parameters become registers: `st.param`, `ld.param` and the callee's own view of them all name the same
register, and the call disappears. Calls of functions that live outside the PTX (printing, grid barriers,
float16 helpers) stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from .errors import PtxError
from .ptx import Function, Instruction, Label, Module, Variable

# Where a kernel compiled with debug=True ends, Numba calls this with 0 or the number of an exception. On a GPU it
# stores the first one where the host will look; here every thread's is taken note of.
EXCEPTION_HELPER = "__exc_helper__"

_MAX_DEPTH = 32  # PTX allows recursion, Numba's kernels hardly use it; an inliner cannot follow it


@dataclass
class Flat:
    """A kernel with nothing left to call."""

    body: list[Instruction | Label]
    registers: dict[str, str]
    locals: list[Variable]
    tables: dict[str, list[str]]
    undefined: set[str]  # registers that the compiler says it leaves open


def inline(module: Module, entry: Function) -> Flat:
    """Flatten `entry` and all it calls.

    Raises:
        PtxError: recursion, an indirect call, or a call of a function that nobody defines.
    """
    flat = Flat([], dict(entry.registers), list(entry.locals), dict(entry.tables), set(entry.undefined))
    _copy(module, entry.body, flat, "", 0)
    return flat


def _copy(module: Module, body: list[Instruction | Label], flat: Flat, suffix: str, depth: int) -> None:
    calls = 0
    for item in body:
        if isinstance(item, Label) or item.parts[0] != "call":
            flat.body.append(_parameters(item, flat, module) if isinstance(item, Instruction) else item)
            continue
        result, name, arguments = _call_parts(item)
        if name.endswith(EXCEPTION_HELPER) and len(arguments) == 1:
            code = _parameter_register(arguments[0], 0, "b64", flat)
            given = [x for x in flat.body if isinstance(x, Instruction) and x.args[:1] == [code]]
            # A number in the text is one of the kernel's own exceptions; else a device function returned it.
            own = bool(given) and re.match(r"-?\d", given[-1].args[1]) is not None
            args = [code, name.removesuffix(EXCEPTION_HELPER) if own else ""]
            flat.body.append(item.becomes("numba_status", args, item.guard))
            continue
        callee = module.functions.get(name)
        if callee is None:
            if name not in module.externs:
                raise PtxError(f"{item.place}: call of {name!r}, which this PTX neither defines nor declares")
            registers = [_parameter_register(a, 0, "b64", flat) for a in arguments]
            target = [_parameter_register(r, 0, "b64", flat) for r in result]
            args = [name, *target[:1], *registers] if target else [name, "_", *registers]
            flat.body.append(item.becomes("call.extern", args, item.guard))
            continue
        if depth >= _MAX_DEPTH:
            raise PtxError(
                f"{item.where}: device function {name!r} calls itself; "
                "the emulator inlines calls and cannot follow recursion: write it as a loop"
            )
        calls += 1
        inner = f"{suffix}~{len(flat.body)}.{calls}"
        watched = replace(callee, body=list(_with_statuses(callee))) if _has_statuses(module) else callee
        renamed = _renamed(watched, inner, arguments, result)
        flat.registers.update({name + inner: kind for name, kind in callee.registers.items()})
        flat.undefined.update(name + inner for name in callee.undefined)
        flat.locals.extend(Variable(v.name + inner, v.space, v.align, v.size) for v in callee.locals)
        flat.tables.update({n + inner: [t + inner for t in ts] for n, ts in callee.tables.items()})
        end = f"$return{inner}"
        if item.guard:  # a guarded call: jump over it
            flat.body.append(item.becomes("bra", [end], _negate(item.guard)))
        returning = []
        for x in renamed:
            if isinstance(x, Instruction) and x.parts[0] == "ret":
                x = x.becomes("bra", [end], x.guard)
            returning.append(x)
        _copy(module, returning, flat, inner, depth + 1)
        flat.body.append(Label(end))


def _has_statuses(module: Module) -> bool:
    """Whether the text was compiled with debug=True, so that exceptions leave a trace."""
    return any(name.endswith(EXCEPTION_HELPER) for name in (*module.functions, *module.externs))


def _with_statuses(function: Function) -> Iterator[Instruction | Label]:
    """A device function's body; wherever it hands back a status, that is taken note of."""
    place = re.compile(rf"\[\s*{re.escape(function.returns[0][0])}\s*(\+\s*0\s*)?\]") if function.returns else None
    for x in function.body:
        if isinstance(x, Instruction) and x.opcode.startswith("st.param") and place and place.match(x.args[0]):
            yield x.becomes("numba_raised", [x.args[1], function.name], x.guard)
        yield x


def _negate(guard: str) -> str:
    return guard[1:] if guard.startswith("!") else "!" + guard


def _call_parts(call: Instruction) -> tuple[list[str], str, list[str]]:
    """`call (result), name, (arguments)` in any of its shorter forms."""
    args = list(call.args)
    inside = lambda s: [p.strip() for p in s.strip("()").split(",") if p.strip()]  # noqa: E731
    result = inside(args.pop(0)) if args and args[0].startswith("(") else []
    if not args:
        raise PtxError(f"{call.place}: a call without a function")
    name = args.pop(0)
    if name.startswith("%"):
        raise PtxError(f"{call.where}: indirect calls are not modelled: {call}")
    return result, name, inside(args[0]) if args else []


def _renamed(function: Function, suffix: str, arguments: list[str], result: list[str]) -> list[Instruction | Label]:
    """The callee's body with its own names made unique and its parameters named as the caller names them."""
    names = {r: r + suffix for r in function.registers}
    names.update({v.name: v.name + suffix for v in function.locals})
    names.update({x.name: x.name + suffix for x in function.body if isinstance(x, Label)})
    names.update({t: t + suffix for t in function.tables})
    names.update({p: a for (p, _), a in zip(function.params, arguments, strict=False)})
    names.update({p: a for (p, _), a in zip(function.returns, result, strict=False)})
    scoped = suffix.replace("~", "_").replace(".", "_")

    def rename(text: str) -> str:
        def one(m: re.Match[str]) -> str:
            word = m[0]
            if word in names:
                return names[word]
            return word + scoped if "@" in word or re.fullmatch(r"(param|retval)\d+", word) else word

        return re.sub(r"[%$]?[A-Za-z_][\w$]*(?:@\d+)?|\$[\w$]+", one, text)

    out: list[Instruction | Label] = []
    for x in function.body:
        if isinstance(x, Label):
            out.append(Label(rename(x.name)))
        else:
            args = [rename(a) for a in x.args]
            guard = ("!" + rename(x.guard[1:]) if x.guard.startswith("!") else rename(x.guard)) if x.guard else None
            out.append(x.becomes(x.opcode, args, guard))
    return out


_ADDRESS = re.compile(r"\[\s*([\w$@%.~]+)\s*(?:\+\s*(\d+))?\s*\]$")


def _parameters(item: Instruction, flat: Flat, module: Module) -> Instruction:
    """Turn `st.param`/`ld.param` of a call's parameter into a move; the kernel's own parameters stay
    loads.
    """
    parts = item.parts
    if len(parts) < 3 or parts[1] != "param" or parts[0] not in ("ld", "st"):
        return item
    place = 1 if parts[0] == "ld" else 0
    m = _ADDRESS.match(item.args[place])
    if m is None:
        raise PtxError(f"{item.place}: cannot read the parameter address in {item}")
    name, offset = m[1], int(m[2] or 0)
    if any(name == p for f in module.entries for p, _ in f.params):
        return item
    if len(parts) > 3:
        raise PtxError(f"{item.place}: vector parameters are not modelled: {item}")
    kind = parts[-1]
    register = _parameter_register(name, offset, "b64", flat)
    args = [item.args[0], register] if parts[0] == "ld" else [register, item.args[1]]
    # A parameter register is 64 bits wide: narrower values are widened on the way in and cut on the way out.
    return item.becomes(f"mov.{kind}", args, item.guard)


def _parameter_register(name: str, offset: int, kind: str, flat: Flat) -> str:
    register = f"%param:{name}+{offset}"
    flat.registers.setdefault(register, kind)
    return register
