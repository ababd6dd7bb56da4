"""Code for loads, stores, atomics and asynchronous copies."""

from __future__ import annotations

import re

from .access import ATOMIC, LOAD, STORE
from .codegen import DTYPES, Writer, emits
from .ptx import SIZES, Instruction, split_operands

_SPACES = ("global", "shared", "local", "const", "param")
_ATOMIC_OPS = ("add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec")


def _space(w: Writer, i: Instruction) -> str:
    for p in i.parts[1:]:
        name = p.split("::")[0]
        if name == "shared" and p not in ("shared", "shared::cta"):
            raise w.fail(i, "clusters are not modelled")
        if name in _SPACES:
            return name
    return "generic"


def _count(w: Writer, i: Instruction) -> int:
    if "v8" in i.parts:
        raise w.fail(i)
    return 4 if "v4" in i.parts else 2 if "v2" in i.parts else 1


@emits("ld", "ldu")
def _ld(w: Writer, i: Instruction) -> None:
    ptx = i.parts[-1]
    kind = DTYPES[ptx]
    if "param" in i.parts:
        _ld_param(w, i, kind)
        return
    count = _count(w, i)
    targets = split_operands(i.args[0].strip("{}")) if count > 1 else [i.args[0]]
    voting = ptx[0] in "fus"
    if targets[0] in w.registers and SIZES[w.registers[targets[0]]] == SIZES[ptx]:
        kind = w.kind_of(targets[0], kind)
    space = _space(w, i)
    description = w.access(i, space, LOAD, kind, count, i.args[1])
    value = f"m.load_{space}({description}, {w.address(i.args[1])}, {w.mask()})"
    if count == 1:
        w.assign(i.args[0], value, kind, voting)
        return
    t = w.temporary(value)
    for k, target in enumerate(targets):
        w.assign(target, f"{t}[{k}]", kind, voting)


def _ld_param(w: Writer, i: Instruction, kind: str) -> None:
    m = re.match(r"\[\s*([\w$%]+)\s*(?:\+\s*(\d+))?\s*\]$", i.args[1])
    names = [p for p, _ in w.program.params]
    if m is None or m[1] not in names or "v2" in i.parts or "v4" in i.parts:
        raise w.fail(i)
    index = names.index(m[1])
    w.assign(i.args[0], f"m.parameter({index}, {int(m[2] or 0)}, {kind})", kind, kind[0] == "f")


@emits("st")
def _st(w: Writer, i: Instruction) -> None:
    ptx = i.parts[-1]
    kind = DTYPES[ptx]
    count = _count(w, i)
    values = split_operands(i.args[1].strip("{}")) if count > 1 else [i.args[1]]
    if values[0] in w.registers and SIZES[w.registers[values[0]]] == SIZES[ptx]:
        kind = w.kind_of(values[0], kind)
    space = _space(w, i)
    if space in ("const", "param"):
        raise w.fail(i)
    description = w.access(i, space, STORE, kind, count, i.args[0])
    stored = ", ".join(w.source(v, kind, ptx[0] in "fus") for v in values)
    w.line(f"m.store_{space}({description}, {w.address(i.args[0])}, ({stored},), {w.mask()})")


@emits("atom", "red")
def _atom(w: Writer, i: Instruction) -> None:
    ptx = i.parts[-1]
    operation = next(p for p in i.parts[1:] if p in _ATOMIC_OPS)
    if ptx in ("f16x2", "bf16x2", "b128") or "v2" in i.parts or "v4" in i.parts or "async" in i.parts:
        raise w.fail(i)
    kind = DTYPES[ptx]
    if ptx == "bf16":
        raise w.fail(i)
    if operation in ("inc", "dec") and kind != "u4":
        raise w.fail(i)
    target, rest = (i.args[0], i.args[1:]) if i.parts[0] == "atom" else ("_", i.args)
    space = _space(w, i)
    if space not in ("global", "shared", "generic"):
        raise w.fail(i)
    description = w.access(i, space, ATOMIC, kind, 1, rest[0])
    wanted = target != "_" and w.wanted(target)
    operands = ", ".join(w.source(v, kind) for v in rest[1:])
    call = f'm.atomic({description}, "{operation}", {w.address(rest[0])}, ({operands},), {wanted}, {w.mask()})'
    if wanted:
        w.assign(target, call, kind)
    else:
        w.line(call)


@emits("membar", "fence", "prefetch", "prefetchu", "discard", "applypriority", "griddepcontrol")
def _fence(w: Writer, i: Instruction) -> None:
    # Memory is sequentially consistent here, and caches hold nothing that memory does not.
    if i.parts[0] == "fence" and any(p.startswith(("proxy", "mbarrier_init")) for p in i.parts[1:]):
        raise w.fail(i)


@emits("cp")
def _cp(w: Writer, i: Instruction) -> None:
    if len(i.parts) < 3 or i.parts[1] != "async" or "bulk" in i.parts or "mbarrier" in i.parts:
        raise w.fail(i)
    what = i.parts[2]
    if what == "commit_group":
        w.line(f"m.copies_commit({w.mask()})")
    elif what == "wait_group":
        w.line(f"m.copies_wait({int(i.args[0], 0)}, {w.mask()})")
    elif what == "wait_all":
        w.line(f"m.copies_commit({w.mask()})")
        w.line(f"m.copies_wait(0, {w.mask()})")
    elif what in ("ca", "cg"):
        size = int(i.args[2], 0)
        kind, count = {4: ("i4", 1), 8: ("i4", 2), 16: ("i4", 4)}[size]
        read = w.access(i, "global", LOAD, kind, count, i.args[1])
        write = w.access(i, "shared", STORE, kind, count, i.args[0])
        # With a source size the rest of the destination is filled with zeros.
        valid = "None"
        if len(i.args) > 3 and "L2::cache_hint" not in i.parts:
            if "p" in w.registers.get(i.args[3], ""):
                raise w.fail(i, "the ignore-src predicate is not modelled")
            valid = w.source(i.args[3], "u4")
        w.line(
            f"m.copy_async({read}, {write}, {w.address(i.args[1])}, {w.address(i.args[0])}, {valid}, {w.mask()})"
        )
    else:
        raise w.fail(i)
