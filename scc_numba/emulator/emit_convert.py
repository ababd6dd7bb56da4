"""Code for moves and conversions."""

from __future__ import annotations

from .codegen import DTYPES, Writer, emits
from .ptx import SIZES, Instruction, split_operands

_INTEGER_ROUNDINGS = ("rni", "rzi", "rmi", "rpi")


@emits("mov")
def _mov(w: Writer, i: Instruction) -> None:
    ptx = i.parts[-1]
    if ptx == "b128":
        raise w.fail(i)
    kind = DTYPES[ptx]
    target, value = i.args
    if target.startswith("{"):
        names = split_operands(target.strip("{}"))
        bits = 8 * SIZES[ptx] // len(names)
        unsigned = f"u{SIZES[ptx]}"
        t = w.temporary(w.source(value, unsigned))
        for k, name in enumerate(names):
            part = f"({t} >> {w.constant(unsigned, k * bits)})" if k else t
            w.assign(name, f"{part}.astype(u{bits // 8})", f"u{bits // 8}", False)
        return
    if value.startswith("{"):
        names = split_operands(value.strip("{}"))
        bits = 8 * SIZES[ptx] // len(names)
        unsigned = f"u{SIZES[ptx]}"
        parts = []
        for k, name in enumerate(names):
            part = f"{w.source(name, f'u{bits // 8}', False)}.astype({unsigned})"
            parts.append(f"({part} << {w.constant(unsigned, k * bits)})" if k else part)
        w.assign(target, " | ".join(parts), unsigned, False)
        return
    if value in w.registers and SIZES[w.registers[value]] == SIZES[ptx]:
        kind = w.kind_of(value, kind)
    elif target in w.registers and SIZES[w.registers[target]] == SIZES[ptx]:
        kind = w.kind_of(target, kind)
    w.assign(target, w.source(value, kind, ptx[0] == "f"), kind, ptx[0] == "f")


@emits("cvta")
def _cvta(w: Writer, i: Instruction) -> None:
    # One window per address space: the generic address is the address.
    size = SIZES[i.parts[-1]]
    w.assign(i.args[0], w.source(i.args[1], f"i{size}"), f"i{size}")


@emits("isspacep")
def _isspacep(w: Writer, i: Instruction) -> None:
    window = {"global": 0x10, "shared": 0x20, "local": 0x30, "const": 0x40}[i.parts[1]]
    address = w.source(i.args[1], "i8")
    w.assign(i.args[0], f"(({address} >> i8.type(40)) == i8.type({window}))", "b1")


@emits("cvt")
def _cvt(w: Writer, i: Instruction) -> None:
    to, of = i.parts[-2], i.parts[-1]
    if "relu" in i.parts or "satfinite" in i.parts:
        raise w.fail(i)
    mode = next((p for p in i.parts if p in ("rn", "rz", "rm", "rp", "rna")), "rn")
    if to in ("f16x2", "bf16x2"):
        if of != "f32" or mode not in ("rn", "rz") or (to == "f16x2" and mode != "rn"):
            raise w.fail(i)
        # The first source goes to the upper half.
        high, low = w.source(i.args[1], "f4"), w.source(i.args[2], "f4")
        one = "{}.astype(f2)" if to == "f16x2" else f'float_to_bfloat({{}}, "{mode}")'
        w.assign(i.args[0], f"pair({one.format(low)}, {one.format(high)})", "u4")
        return
    if to == "tf32":
        w.assign(i.args[0], f'to_tf32({w.source(i.args[1], "f4")}, "{mode}").view(u4)', "u4")
        return
    if "bf16" in (to, of):
        _bfloat(w, i, to, of, mode)
        return
    target, source = DTYPES[to], DTYPES[of]
    x = w.source(i.args[1], source)
    if "ftz" in i.parts and source == "f4":
        x = f"flush({x})"
    rounding = next((p for p in i.parts if p in _INTEGER_ROUNDINGS), None)
    if target[0] == "f" and source[0] == "f":
        e = f'round_to_integer({x}, "{rounding}")' if rounding else x
        if target != source:
            if mode != "rn":
                if (target, source) != ("f4", "f8"):
                    raise w.fail(i)
                e = f'narrow({e}, "{mode}")'
            else:
                e = f"{e}.astype({target})"
        if "ftz" in i.parts and target == "f4":
            e = f"flush({e})"
        if "sat" in i.parts:
            e = f"saturate_float({e})"
    elif target[0] == "f":
        e = f'integer_to_float({x}, "{mode}", {target})' if mode != "rn" else f"{x}.astype({target})"
        if "sat" in i.parts:
            e = f"saturate_float({e})"
    elif source[0] == "f":
        if rounding is None:
            raise w.fail(i)
        e = f'float_to_integer({x}, "{rounding}", {target})'
    elif "sat" in i.parts:
        e = f"saturate_integer({x}, {target})"
    elif target[1:] == source[1:]:
        e = f"{x}.view({target})" if target != source else x
    else:
        # The source's sign decides how it extends; the target's type only names the bits.
        e = f"{x}.astype({source[0]}{target[1:]})"
        target = f"{source[0]}{target[1:]}"
        if i.args[0] in w.registers and SIZES[w.registers[i.args[0]]] > int(target[1:]):
            signed = DTYPES[to][0]
            e, target = f"{e}.view({signed}{target[1:]})", f"{signed}{target[1:]}"
    w.assign(i.args[0], e, target)


def _bfloat(w: Writer, i: Instruction, to: str, of: str, mode: str) -> None:
    if to == "bf16" and of in ("f32", "f16"):
        x = w.source(i.args[1], DTYPES[of])
        x = x if of == "f32" else f"{x}.astype(f4)"
        if mode not in ("rn", "rz"):
            raise w.fail(i)
        w.assign(i.args[0], f'float_to_bfloat({x}, "{mode}")', "u2")
    elif of == "bf16" and to in ("f32", "f64", "f16"):
        x = f"bfloat_to_float({w.source(i.args[1], 'u2')})"
        w.assign(i.args[0], x if to == "f32" else f"{x}.astype({DTYPES[to]})", DTYPES[to])
    else:
        # Integers go through float32; that is exact or rounds once for up to 24 bits, so wider ones are
        # refused.
        if to == "bf16" and of in ("u8", "s8", "u16", "s16"):
            x = f"{w.source(i.args[1], DTYPES[of])}.astype(f4)"
            w.assign(i.args[0], f'float_to_bfloat({x}, "{mode}")', "u2")
            return
        rounding = next((p for p in i.parts if p in _INTEGER_ROUNDINGS), None)
        if of != "bf16" or rounding is None:
            raise w.fail(i)
        x = f"bfloat_to_float({w.source(i.args[1], 'u2')})"
        w.assign(i.args[0], f'float_to_integer({x}, "{rounding}", {DTYPES[to]})', DTYPES[to])
