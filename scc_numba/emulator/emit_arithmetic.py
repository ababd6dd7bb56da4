"""Code for integer, floating-point, logic and comparison instructions."""

from __future__ import annotations

from .codegen import CARRY, DTYPES, Writer, emits
from .ptx import Instruction

_ROUNDINGS = ("rz", "rm", "rp")


def _type(i: Instruction) -> str:
    return i.parts[-1]


def _rounding(i: Instruction) -> str:
    return next((p for p in i.parts if p in _ROUNDINGS), "")


def _finish(w: Writer, i: Instruction, expression: str, kind: str) -> None:
    """Flush and saturate as the modifiers say, then assign."""
    if "ftz" in i.parts and kind == "f4":
        expression = f"flush({expression})"
    if "sat" in i.parts:
        expression = f"saturate_float({expression})"
    if "relu" in i.parts:
        raise w.fail(i, ".relu is not modelled")
    w.assign(i.args[0], expression, kind)


def _float_sources(w: Writer, i: Instruction, kind: str, count: int) -> list[str]:
    out = [w.source(a, kind) for a in i.args[1 : 1 + count]]
    return [f"flush({x})" for x in out] if "ftz" in i.parts and kind == "f4" else out


def _packed(w: Writer, i: Instruction, single: str, count: int) -> None:
    """A two-in-one instruction: take both halves apart, compute, put them together."""
    kind = "f2" if _type(i) == "f16x2" else "u2"
    parts = [w.temporary(f"halves({w.source(a, 'u4')}, {kind})") for a in i.args[1 : 1 + count]]
    low, high = (single.format(*(f"{p}[{k}]" for p in parts)) for k in (0, 1))
    w.assign(i.args[0], f"pair({low}, {high})", "u4")


def _bfloat(expression: str, names: list[str]) -> str:
    """A bfloat16 operation through float32; add, sub and mul are exact enough to round once more."""
    return f"float_to_bfloat({expression.format(*(f'bfloat_to_float({n})' for n in names))})"


_SYMBOLS = {"add": "+", "sub": "-", "mul": "*"}


@emits("add", "sub")
def _add(w: Writer, i: Instruction) -> None:
    op, kind, ptx = i.parts[0], DTYPES[_type(i)], _type(i)
    symbol = _SYMBOLS[op]
    if "cc" in i.parts:
        _with_carry(w, i, False)
        return
    if ptx == "f16x2":
        _packed(w, i, f"({{}} {symbol} {{}})", 2)
    elif ptx == "bf16x2":
        _packed(w, i, _bfloat(f"{{}} {symbol} {{}}", ["{}", "{}"]), 2)
    elif ptx == "bf16":
        w.assign(i.args[0], _bfloat(f"{{}} {symbol} {{}}", [w.source(a, "u2") for a in i.args[1:3]]), "u2")
    elif kind[0] == "f":
        a, b = _float_sources(w, i, kind, 2)
        mode = _rounding(i)
        if mode:
            b = b if op == "add" else f"(-{b})"
            _finish(w, i, f'add_directed({a}, {b}, "{mode}")', kind)
        else:
            _finish(w, i, f"({a} {symbol} {b})", kind)
    elif "sat" in i.parts:
        sign = 1 if op == "add" else -1
        w.assign(i.args[0], f"add_saturate({w.source(i.args[1], 'i4')}, {w.source(i.args[2], 'i4')}, {sign})", "i4")
    else:
        kind = w.integer_kind(i.args[0], int(kind[1:]))
        w.assign(
            i.args[0],
            f"({w.source(i.args[1], kind, False)} {symbol} {w.source(i.args[2], kind, False)})",
            kind,
            False,
        )


@emits("addc", "subc")
def _addc(w: Writer, i: Instruction) -> None:
    _with_carry(w, i, True)


def _with_carry(w: Writer, i: Instruction, take: bool) -> None:
    kind = "u" + DTYPES[_type(i)][1:]
    function = "add_carry" if i.parts[0].startswith("add") else "subtract_borrow"
    carry = w.source(CARRY, "b1") if take else w.constant("b1", 0)
    t = w.temporary(f"{function}({w.source(i.args[1], kind)}, {w.source(i.args[2], kind)}, {carry})")
    if "cc" in i.parts:
        w.assign(CARRY, f"{t}[1]", "b1")
    w.assign(i.args[0], f"{t}[0]", kind)


@emits("mul")
def _mul(w: Writer, i: Instruction) -> None:
    ptx, kind = _type(i), DTYPES[_type(i)]
    if ptx == "f16x2":
        _packed(w, i, "({} * {})", 2)
    elif ptx == "bf16x2":
        _packed(w, i, _bfloat("{} * {}", ["{}", "{}"]), 2)
    elif ptx == "bf16":
        w.assign(i.args[0], _bfloat("{} * {}", [w.source(a, "u2") for a in i.args[1:3]]), "u2")
    elif kind[0] == "f":
        a, b = _float_sources(w, i, kind, 2)
        mode = _rounding(i)
        _finish(w, i, f'multiply_directed({a}, {b}, "{mode}")' if mode else f"({a} * {b})", kind)
    else:
        w.assign(i.args[0], *_product(w, i), "wide" in i.parts or "hi" in i.parts)


def _product(w: Writer, i: Instruction) -> tuple[str, str]:
    """The integer product of the second and third operand, by .lo, .hi or .wide."""
    kind = DTYPES[_type(i)]
    if "wide" in i.parts:
        wide = f"{kind[0]}{2 * int(kind[1:])}"
        a, b = w.source(i.args[1], kind), w.source(i.args[2], kind)
        return f"({a}.astype({wide}) * {b}.astype({wide}))", wide
    if "hi" in i.parts:
        return f"settle(multiply_high({w.source(i.args[1], kind)}, {w.source(i.args[2], kind)}))", kind
    if "lo" not in i.parts:
        raise w.fail(i)
    kind = w.integer_kind(i.args[0], int(kind[1:]))
    return f"({w.source(i.args[1], kind, False)} * {w.source(i.args[2], kind, False)})", kind


@emits("mul24")
def _mul24(w: Writer, i: Instruction) -> None:
    """The product of the lower 24 bits of both operands: its upper (.hi) or lower (.lo) 32 bits of 48."""
    kind = DTYPES[_type(i)]
    if kind not in ("i4", "u4") or not {"lo", "hi"} & set(i.parts):
        raise w.fail(i)
    wide = f"{kind[0]}8"
    eight = w.constant(kind, 8)
    # Up and down again leaves the lower 24 bits, with their sign where there is one.
    a, b = (f"(({w.source(x, kind)} << {eight}) >> {eight}).astype({wide})" for x in i.args[1:3])
    product = f"({a} * {b})"
    if "hi" in i.parts:
        product = f"({product} >> {w.constant(wide, 16)})"
    w.assign(i.args[0], f"{product}.astype({kind})", kind)


@emits("mad", "madc", "fma")
def _mad(w: Writer, i: Instruction) -> None:
    ptx, kind = _type(i), DTYPES[_type(i)]
    if ptx in ("f16", "f16x2", "bf16", "bf16x2"):
        function = "half_fma" if ptx.startswith("f16") else "bfloat_fma"
        if ptx.endswith("x2"):
            _packed(w, i, f"{function}({{}}, {{}}, {{}})", 3)
        else:
            _finish(w, i, f"{function}({', '.join(w.source(a, kind) for a in i.args[1:4])})", kind)
    elif kind[0] == "f":
        a, b, c = _float_sources(w, i, kind, 3)
        mode = _rounding(i)
        _finish(w, i, f'fma_directed({a}, {b}, {c}, "{mode}")' if mode else f"fma({a}, {b}, {c})", kind)
    elif "cc" in i.parts or i.parts[0] == "madc":
        kind = "u" + kind[1:] if "lo" in i.parts else kind
        a, b = w.source(i.args[1], kind), w.source(i.args[2], kind)
        product = f"({a} * {b})" if "lo" in i.parts else f"multiply_high({a}, {b})"
        unsigned = "u" + kind[1:]
        product = product if unsigned == kind else f"{product}.view({unsigned})"
        carry = w.source(CARRY, "b1") if i.parts[0] == "madc" else w.constant("b1", 0)
        t = w.temporary(f"add_carry({product}, {w.source(i.args[3], unsigned)}, {carry})")
        if "cc" in i.parts:
            w.assign(CARRY, f"{t}[1]", "b1")
        w.assign(i.args[0], f"{t}[0]", unsigned)
    else:
        product, kind = _product(w, i)
        w.assign(i.args[0], f"({product} + {w.source(i.args[3], kind, False)})", kind, "wide" in i.parts)


@emits("sad")
def _sad(w: Writer, i: Instruction) -> None:
    kind = DTYPES[_type(i)]
    a, b, c = (w.source(x, kind) for x in i.args[1:4])
    w.assign(i.args[0], f"(np.maximum({a}, {b}) - np.minimum({a}, {b}) + {c})", kind)


@emits("div")
def _div(w: Writer, i: Instruction) -> None:
    kind = DTYPES[_type(i)]
    if kind[0] == "f":
        a, b = _float_sources(w, i, kind, 2)
        mode = _rounding(i)
        _finish(w, i, f'divide_directed({a}, {b}, "{mode}")' if mode else f"({a} / {b})", kind)
    else:
        w.assign(i.args[0], f"settle(divide({w.source(i.args[1], kind)}, {w.source(i.args[2], kind)}))", kind)


@emits("rem")
def _rem(w: Writer, i: Instruction) -> None:
    kind = DTYPES[_type(i)]
    w.assign(i.args[0], f"settle(remainder({w.source(i.args[1], kind)}, {w.source(i.args[2], kind)}))", kind)


@emits("min", "max")
def _min(w: Writer, i: Instruction) -> None:
    op, ptx, kind = i.parts[0], _type(i), DTYPES[_type(i)]
    if "xorsign" in i.parts or len(i.args) > 3 or ("NaN" in i.parts and ptx not in ("f32", "f16", "bf16")):
        raise w.fail(i)
    name = {"min": "minimum", "max": "maximum"}[op]
    if "NaN" in i.parts:
        name = f"nan_{name}"
    if ptx == "f16" and "NaN" in i.parts:
        a, b = (f"{w.source(x, kind)}.astype(f4)" for x in i.args[1:3])
        w.assign(i.args[0], f"{name}({a}, {b}).astype(f2)", kind)
    elif ptx == "f16":
        w.assign(i.args[0], f"half_{op}({w.source(i.args[1], kind)}, {w.source(i.args[2], kind)})", kind)
    elif ptx == "f16x2":
        _packed(w, i, f"half_{op}({{}}, {{}})", 2)
    elif ptx in ("bf16", "bf16x2"):
        single = _bfloat(f"{name}({{}}, {{}})", ["{}", "{}"])
        if ptx == "bf16x2":
            _packed(w, i, single, 2)
        else:
            w.assign(i.args[0], single.format(*(w.source(a, "u2") for a in i.args[1:3])), "u2")
    elif kind[0] == "f":
        a, b = _float_sources(w, i, kind, 2)
        _finish(w, i, f"{name}({a}, {b})", kind)
    else:
        w.assign(i.args[0], f"np.{name}({w.source(i.args[1], kind)}, {w.source(i.args[2], kind)})", kind)


@emits("abs", "neg", "not", "cnot")
def _unary(w: Writer, i: Instruction) -> None:
    op, ptx, kind = i.parts[0], _type(i), DTYPES[_type(i)]
    if ptx in ("bf16", "bf16x2", "f16x2"):  # signs sit in the top bit of each half
        mask = {"bf16": 0x8000, "bf16x2": 0x80008000, "f16x2": 0x80008000}[ptx]
        full = 0xFFFF if ptx == "bf16" else 0xFFFFFFFF
        a = w.source(i.args[1], kind)
        e = f"({a} ^ {w.constant(kind, mask)})" if op == "neg" else f"({a} & {w.constant(kind, full ^ mask)})"
        w.assign(i.args[0], e, kind)
        return
    if kind == "b1" or op in ("not", "cnot"):
        if kind != "b1":
            kind = w.integer_kind(i.args[0], int(kind[1:]))
        a = w.source(i.args[1], kind, False)
        w.assign(i.args[0], f"(~{a})" if op == "not" else f"({a} == 0).astype({kind})", kind, False)
        return
    a = w.source(i.args[1], kind)
    if kind[0] == "f":
        _finish(w, i, f"np.abs({a})" if op == "abs" else f"(-{a})", kind)
    else:
        w.assign(i.args[0], f"np.abs({a})" if op == "abs" else f"(-{a})", kind)


@emits("sqrt", "rsqrt", "rcp", "ex2", "lg2", "sin", "cos", "tanh")
def _special(w: Writer, i: Instruction) -> None:
    op, ptx, kind = i.parts[0], _type(i), DTYPES[_type(i)]
    function = {
        "sqrt": "np.sqrt({})", "rsqrt": "reciprocal_sqrt({})", "rcp": "reciprocal({})",
        "ex2": "through_double(np.exp2, {})", "lg2": "through_double(np.log2, {})",
        "sin": "through_double(np.sin, {})", "cos": "through_double(np.cos, {})",
        "tanh": "through_double(np.tanh, {})",
    }[op]  # fmt: skip
    if ptx in ("f16", "f16x2"):
        single = function.format("{}.astype(f4)") + ".astype(f2)"
        if ptx == "f16x2":
            _packed(w, i, single, 1)
        else:
            w.assign(i.args[0], single.format(w.source(i.args[1], kind)), kind)
        return
    if ptx.startswith("bf16"):
        single = f"float_to_bfloat({function.format('bfloat_to_float({})')})"
        if ptx == "bf16x2":
            _packed(w, i, single, 1)
        else:
            w.assign(i.args[0], single.format(w.source(i.args[1], "u2")), "u2")
        return
    (a,) = _float_sources(w, i, kind, 1)
    mode = _rounding(i)
    if mode and op == "sqrt":
        _finish(w, i, f'sqrt_directed({a}, "{mode}")', kind)
    elif mode and op == "rcp":
        one = w.constant(kind, 0x3F800000 if kind == "f4" else 0x3FF0000000000000)
        _finish(w, i, f'divide_directed({one}, {a}, "{mode}")', kind)
    else:
        _finish(w, i, function.format(a), kind)


@emits("copysign")
def _copysign(w: Writer, i: Instruction) -> None:
    kind = DTYPES[_type(i)]
    w.assign(i.args[0], f"np.copysign({w.source(i.args[2], kind)}, {w.source(i.args[1], kind)})", kind)


@emits("testp")
def _testp(w: Writer, i: Instruction) -> None:
    kind = DTYPES[_type(i)]
    a = w.source(i.args[1], kind)
    tiny = w.constant(kind, 0x00800000 if kind == "f4" else 0x0010000000000000)
    test = {
        "finite": f"np.isfinite({a})", "infinite": f"np.isinf({a})", "number": f"(~np.isnan({a}))",
        "notanumber": f"np.isnan({a})", "normal": f"(np.isfinite({a}) & (np.abs({a}) >= {tiny}))",
        "subnormal": f"((np.abs({a}) < {tiny}) & ({a} != 0))",
    }[i.parts[1]]  # fmt: skip
    w.assign(i.args[0], test, "b1")


# ------------------------------------------------------------------------------------------------ bits


@emits("and", "or", "xor")
def _logic(w: Writer, i: Instruction) -> None:
    kind = DTYPES[_type(i)]
    if kind != "b1":
        kind = w.integer_kind(i.args[0], int(kind[1:]))
    symbol = {"and": "&", "or": "|", "xor": "^"}[i.parts[0]]
    w.assign(
        i.args[0],
        f"({w.source(i.args[1], kind, False)} {symbol} {w.source(i.args[2], kind, False)})",
        kind,
        False,
    )


@emits("lop3")
def _lop3(w: Writer, i: Instruction) -> None:
    a, b, c = (w.source(x, "u4") for x in i.args[1:4])
    w.assign(i.args[0], f"lop3({a}, {b}, {c}, {int(i.args[4], 0)})", "u4")


@emits("shl", "shr")
def _shift(w: Writer, i: Instruction) -> None:
    kind = DTYPES[_type(i)]
    left = i.parts[0] == "shl"
    if left:
        kind = w.integer_kind(i.args[0], int(kind[1:]))
    elif _type(i).startswith("b"):
        kind = "u" + kind[1:]
    bits = 8 * int(kind[1:])
    value = w.source(i.args[1], kind, not left)
    if i.args[2].isdigit():
        n = int(i.args[2])
        if n < bits or (kind[0] == "i" and not left):
            e = f"({value} {'<<' if left else '>>'} {w.constant(kind, min(n, bits - 1))})"
        else:
            e = f"({value} & {w.constant(kind, 0)})"
        if not left:
            e = f"settle({e})"
    else:
        e = f"{'shift_left' if left else 'shift_right'}({value}, {w.source(i.args[2], 'u4')})"
    w.assign(i.args[0], e, kind, not left)


@emits("shf")
def _funnel(w: Writer, i: Instruction) -> None:
    low, high, n = (w.source(x, "u4") for x in i.args[1:4])
    left, clamp = "l" in i.parts, "clamp" in i.parts
    w.assign(i.args[0], f"funnel({low}, {high}, {n}, {left}, {clamp})", "u4")


@emits("bfi")
def _bfi(w: Writer, i: Instruction) -> None:
    kind = "u" + DTYPES[_type(i)][1:]
    a, b = w.source(i.args[1], kind), w.source(i.args[2], kind)
    w.assign(
        i.args[0],
        f"bit_field_insert({a}, {b}, {w.source(i.args[3], 'u4')}, {w.source(i.args[4], 'u4')})",
        kind,
    )


@emits("bfe")
def _bfe(w: Writer, i: Instruction) -> None:
    kind = DTYPES[_type(i)]
    a = w.source(i.args[1], kind)
    w.assign(i.args[0], f"bit_field_extract({a}, {w.source(i.args[2], 'u4')}, {w.source(i.args[3], 'u4')})", kind)


@emits("popc", "clz", "brev", "bfind")
def _bit_count(w: Writer, i: Instruction) -> None:
    op, kind = i.parts[0], "u" + DTYPES[_type(i)][1:]
    if op == "bfind":
        kind = DTYPES[_type(i)]
        e = f"find_top_bit({w.source(i.args[1], kind)}, {'shiftamt' in i.parts})"
        w.assign(i.args[0], e, "i4")
        return
    a = w.source(i.args[1], kind)
    function = {"popc": "count_bits", "clz": "leading_zeros", "brev": "reverse_bits"}[op]
    w.assign(i.args[0], f"{function}({a})", kind if op == "brev" else "i4")


@emits("prmt")
def _prmt(w: Writer, i: Instruction) -> None:
    if len(i.parts) > 2:
        raise w.fail(i, "only the default byte selection is modelled")
    a, b, c = (w.source(x, "u4") for x in i.args[1:4])
    w.assign(i.args[0], f"permute_bytes({a}, {b}, {c})", "u4")


# ------------------------------------------------------------------------------------------------ comparisons

_COMPARE = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">=",
            "lo": "<", "ls": "<=", "hi": ">", "hs": ">="}  # fmt: skip
_UNORDERED = {"ltu": ">=", "leu": ">", "gtu": "<=", "geu": "<", "neu": "=="}


def _comparison(w: Writer, i: Instruction) -> str:
    """The comparison of the second and third operand as a predicate expression."""
    c, ptx = i.parts[1], _type(i)
    kind = DTYPES[ptx]
    if ptx == "bf16":
        a, b = (f"bfloat_to_float({w.source(x, 'u2')})" for x in i.args[1:3])
    elif kind[0] == "f":
        a, b = _float_sources(w, i, kind, 2)
    else:
        equality = c in ("eq", "ne")
        if equality:
            kind = w.kind_of(i.args[1], kind)
            kind = kind if kind[0] in "iu" and kind[1:] == DTYPES[ptx][1:] else DTYPES[ptx]
        elif c in ("lo", "ls", "hi", "hs"):
            kind = "u" + kind[1:]
        a, b = w.source(i.args[1], kind, not equality), w.source(i.args[2], kind, not equality)
    if c == "ne" and kind[0] == "f":
        e = f"(({a} < {b}) | ({a} > {b}))"  # ordered: false for NaN
    elif c in _COMPARE:
        e = f"({a} {_COMPARE[c]} {b})"
    elif c in _UNORDERED:
        e = f"(~({a} {_UNORDERED[c]} {b}))" if c != "neu" else f"({a} != {b})"
    elif c == "equ":
        e = f"(~(({a} < {b}) | ({a} > {b})))"
    elif c in ("num", "nan"):
        e = f"(np.isnan({a}) | np.isnan({b}))"
        e = f"(~{e})" if c == "num" else e
    else:
        raise w.fail(i)
    return e


@emits("setp")
def _setp(w: Writer, i: Instruction) -> None:
    e = _comparison(w, i)
    combine = next((p for p in i.parts[2:-1] if p in ("and", "or", "xor")), None)
    p, _, q = i.args[0].partition("|")
    if q:
        e = w.temporary(e)
    outcomes = [(p, e)] + ([(q, f"(~{e})")] if q else [])
    for register, value in outcomes:
        if combine:
            symbol = {"and": "&", "or": "|", "xor": "^"}[combine]
            value = f"({value} {symbol} {w.source(i.args[3], 'b1')})"
        w.assign(register, value, "b1")


@emits("set")
def _set(w: Writer, i: Instruction) -> None:
    if any(p in ("and", "or", "xor") for p in i.parts):
        raise w.fail(i)
    kind = DTYPES[i.parts[-2]]
    e = _comparison(w, i)
    if kind[0] == "f":
        w.assign(i.args[0], f"{e}.astype({kind})", kind)
    else:
        w.assign(i.args[0], f"(-{e}.astype(i{kind[1:]}))", f"i{kind[1:]}")


@emits("selp")
def _selp(w: Writer, i: Instruction) -> None:
    ptx = DTYPES[_type(i)]
    kind = w.kind_of(i.args[0], ptx)
    kind = kind if kind[1:] == ptx[1:] else ptx
    vote = ptx[0] == "f"
    yes, no = w.source(i.args[1], kind, vote), w.source(i.args[2], kind, vote)
    w.assign(i.args[0], f"select({w.source(i.args[3], 'b1')}, {yes}, {no})", kind, vote)


@emits("slct")
def _slct(w: Writer, i: Instruction) -> None:
    kind, test = DTYPES[i.parts[-2]], DTYPES[i.parts[-1]]
    c = w.source(i.args[3], test)
    w.assign(
        i.args[0],
        f"select({c} >= {test}.type(0), {w.source(i.args[1], kind)}, {w.source(i.args[2], kind)})",
        kind,
    )
