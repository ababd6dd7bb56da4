"""Code for instructions in which the lanes of a warp work together."""

from __future__ import annotations

from .codegen import DTYPES, Writer, emits
from .ptx import Instruction, split_operands


@emits("shfl")
def _shfl(w: Writer, i: Instruction) -> None:
    if i.parts[1] != "sync":
        raise w.fail(i, "shuffles without .sync are gone since PTX 6.4")
    target, _, valid = i.args[0].partition("|")
    a = [w.source(x, "u4") for x in i.args[1:5]]
    t = w.temporary(f'm.shuffle({i.index}, "{i.parts[2]}", {", ".join(a)}, {w.mask()})')
    w.assign(target, f"{t}[0]", "u4", False)
    if valid:
        w.assign(valid, f"{t}[1]", "b1")


@emits("vote")
def _vote(w: Writer, i: Instruction) -> None:
    if i.parts[1] != "sync":
        raise w.fail(i, "votes without .sync are gone since PTX 6.4")
    mode = i.parts[2]
    call = f'm.vote({i.index}, "{mode}", {w.source(i.args[1], "b1")}, {w.source(i.args[2], "u4")}, {w.mask()})'
    w.assign(i.args[0], call, "u4" if mode == "ballot" else "b1")


@emits("match")
def _match(w: Writer, i: Instruction) -> None:
    mode, kind = i.parts[1], DTYPES[i.parts[-1]]
    target, _, all_equal = i.args[0].partition("|")
    t = w.temporary(
        f'm.match({i.index}, "{mode}", {w.source(i.args[1], kind)}, {w.source(i.args[2], "u4")}, {w.mask()})'
    )
    w.assign(target, f"{t}[0]", "u4")
    if all_equal:
        w.assign(all_equal, f"{t}[1]", "b1")


@emits("activemask")
def _activemask(w: Writer, i: Instruction) -> None:
    w.assign(i.args[0], f"m.active_mask({w.mask()})", "u4")


@emits("redux")
def _redux(w: Writer, i: Instruction) -> None:
    kind = DTYPES[i.parts[-1]]
    if kind[0] == "f" or i.parts[2] not in ("add", "min", "max", "and", "or", "xor"):
        raise w.fail(i)
    call = (
        f'm.reduce_warp({i.index}, "{i.parts[2]}", {w.source(i.args[1], kind)}, '
        f"{w.source(i.args[2], 'u4')}, {w.mask()})"
    )
    w.assign(i.args[0], call, kind)


@emits("mma")
def _mma(w: Writer, i: Instruction) -> None:
    shape = i.parts[3]
    types = i.parts[-4:]
    known = {
        ("m16n8k8", "tf32"), ("m16n8k4", "tf32"), ("m16n8k16", "f16"), ("m16n8k8", "f16"),
        ("m16n8k16", "bf16"), ("m16n8k8", "bf16"),
    }  # fmt: skip
    if i.parts[1:3] != ["sync", "aligned"] or i.parts[4:6] != ["row", "col"] or (shape, types[1]) not in known:
        raise w.fail(i)
    if types[1] != types[2] or types[0] != types[3] or types[0] not in ("f32", "f16"):
        raise w.fail(i)
    d, a, b, c = (split_operands(x.strip("{}")) for x in i.args[:4])
    out = "f4" if types[0] == "f32" else "u4"
    lists = ["(" + ", ".join(w.source(x, k) for x in names) + ",)" for names, k in ((a, "u4"), (b, "u4"), (c, out))]
    t = w.temporary(
        f'm.matrix_multiply({i.index}, "{shape}", "{types[1]}", "{types[0]}", {", ".join(lists)}, {w.mask()})'
    )
    for k, name in enumerate(d):
        w.assign(name, f"{t}[{k}]", out)
