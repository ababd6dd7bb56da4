"""Drawn float kernels: every bit equals a thread-by-thread interpretation, at the edges of the types too."""

import linecache
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import cuda
from numba.cuda import libdevice

from scc_numba.emulator import launch

NAMES = ("a", "b", "c")
THREADS = 64


def edges(kind):
    info = np.finfo(kind)
    small = info.smallest_subnormal
    return np.array([0.0, -0.0, 1.0, -1.5, 3.0, info.max, -info.max, info.tiny, -info.tiny, small, -small,
                     np.inf, -np.inf, np.nan, 1 / 3, -16777217.0], kind)  # fmt: skip


# Expressions are ("var", name), ("edge", k) or (operator, operands...). The kernel reads edge values from an array:
# the compiler must not compute with them.
leaf = st.one_of(st.tuples(st.just("var"), st.sampled_from(NAMES)), st.tuples(st.just("edge"), st.integers(0, 15)))
expression = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(["add", "sub", "mul", "div", "min", "max"]), inner, inner),
        st.tuples(st.just("fma"), inner, inner, inner),
        st.tuples(st.sampled_from(["neg", "abs", "sqrt"]), inner),
    ),
    max_leaves=5,
)
condition = st.tuples(st.sampled_from(["<", "<=", "==", "!=", ">", ">="]), expression, expression)
assign = st.tuples(st.just("assign"), st.sampled_from(NAMES), expression)
statement = st.one_of(
    assign,
    assign,
    st.tuples(st.just("if"), condition, st.lists(assign, min_size=1, max_size=2), st.lists(assign, max_size=1)),
    st.tuples(st.just("loop"), st.integers(1, 3), st.lists(assign, min_size=1, max_size=2), condition),
    st.tuples(st.just("shared"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 63)),
)


def text(e, prefix):
    """An expression in Python. Plain `x * y + z` may become one fused operation; the named ones are kept apart."""
    if e[0] == "var":
        return e[1]
    if e[0] == "edge":
        return f"e[{e[1]}]"
    x = [text(inner, prefix) for inner in e[1:]]
    return {
        "add": lambda: f"libdevice.{prefix}add_rn({x[0]}, {x[1]})",
        "sub": lambda: f"libdevice.{prefix}add_rn({x[0]}, -({x[1]}))",
        "mul": lambda: f"libdevice.{prefix}mul_rn({x[0]}, {x[1]})",
        "div": lambda: f"libdevice.{prefix}div_rn({x[0]}, {x[1]})",
        "sqrt": lambda: f"libdevice.{prefix}sqrt_rn({x[0]})",
        "fma": lambda: f"cuda.fma({x[0]}, {x[1]}, {x[2]})",
        "neg": lambda: f"(-({x[0]}))",
        "abs": lambda: f"abs({x[0]})",
        "min": lambda: f"min({x[0]}, {x[1]})",
        "max": lambda: f"max({x[0]}, {x[1]})",
    }[e[0]]()


def source(program, prefix, kind):
    lines = ["def kernel(x, e, out):", f"    s = cuda.shared.array({THREADS}, {kind})", "    t = cuda.threadIdx.x",
             "    i = cuda.grid(1)", "    a, b, c = x[i, 0], x[i, 1], e[t & 15]"]  # fmt: skip

    def write(s, pad):
        if s[0] == "assign":
            lines.append(f"{pad}{s[1]} = {text(s[2], prefix)}")
        elif s[0] == "if":
            lines.append(f"{pad}if {text(s[1][1], prefix)} {s[1][0]} {text(s[1][2], prefix)}:")
            for inner in s[2]:
                write(inner, pad + "    ")
            if s[3]:
                lines.append(f"{pad}else:")
                for inner in s[3]:
                    write(inner, pad + "    ")
        elif s[0] == "loop":
            lines.append(f"{pad}for _ in range({s[1]}):")
            for inner in s[2]:
                write(inner, pad + "    ")
            lines.append(f"{pad}    if {text(s[3][1], prefix)} {s[3][0]} {text(s[3][2], prefix)}:")
            lines.append(f"{pad}        break")
        else:
            lines.extend([f"{pad}cuda.syncthreads()", f"{pad}s[t] = {s[2]}", f"{pad}cuda.syncthreads()",
                          f"{pad}{s[1]} = s[(t + {s[3]}) % {THREADS}]"])  # fmt: skip

    for s in program:
        write(s, "    ")
    lines += [f"    out[i, {k}] = {n}" for k, n in enumerate(NAMES)]
    return "\n".join(lines) + "\n"


def rounded(exact, kind):
    """The float nearest to a fraction other than 0: ties to even, subnormals and overflow as IEEE 754 has them."""
    info = np.finfo(kind)
    size = abs(exact)
    power = size.numerator.bit_length() - size.denominator.bit_length()  # 2**power is within a factor 2 of it
    if Fraction(2) ** power > size:
        power -= 1
    unit = Fraction(2) ** max(power - info.nmant, int(info.minexp) - info.nmant)
    value = round(size / unit) * unit  # Python rounds a half to even
    number = float("inf") if value >= Fraction(2) ** int(info.maxexp) else float(value)
    return kind(-number if exact < 0 else number)


def fused(a, b, c, kind):
    if not (np.isfinite(a) and np.isfinite(b) and np.isfinite(c)):
        # A product of finite numbers is finite, however large.
        return c if np.isfinite(a) and np.isfinite(b) else kind(a * b + c)
    exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
    if exact:
        return rounded(exact, kind)
    return kind(a * b + c) if a == 0 or b == 0 else kind(0)  # the sum of zeros has their sign, a difference none


def least(x, y):
    """PTX min: the number if one is NaN, and -0 before +0."""
    if np.isnan(x) or np.isnan(y):
        return y if np.isnan(x) else x
    if x == y:
        return x if np.signbit(x) else y
    return min(x, y)


def value(e, v, table, kind):
    if e[0] == "var":
        return v[e[1]]
    if e[0] == "edge":
        return table[e[1]]
    x = [value(inner, v, table, kind) for inner in e[1:]]
    return {
        "add": lambda: x[0] + x[1], "sub": lambda: x[0] - x[1], "mul": lambda: x[0] * x[1],
        "div": lambda: x[0] / x[1], "sqrt": lambda: np.sqrt(x[0]), "fma": lambda: fused(*x, kind),
        "neg": lambda: -x[0], "abs": lambda: abs(x[0]), "min": lambda: least(x[0], x[1]),
        "max": lambda: -least(-x[0], -x[1]),
    }[e[0]]()  # fmt: skip


def holds(c, v, table, kind):
    x, y = value(c[1], v, table, kind), value(c[2], v, table, kind)
    return {"<": x < y, "<=": x <= y, "==": x == y, "!=": x != y, ">": x > y, ">=": x >= y}[c[0]]


def one(s, v, table, kind):
    if s[0] == "assign":
        v[s[1]] = value(s[2], v, table, kind)
    elif s[0] == "if":
        for inner in s[2] if holds(s[1], v, table, kind) else s[3]:
            one(inner, v, table, kind)
    else:
        for _ in range(s[1]):
            for inner in s[2]:
                one(inner, v, table, kind)
            if holds(s[3], v, table, kind):
                break


def interpret(program, x, table, kind):
    states = [{"a": r[0], "b": r[1], "c": table[t & 15]} for t, r in enumerate(x)]
    for s in program:
        if s[0] == "shared":
            held = [v[s[2]] for v in states]
            for t, v in enumerate(states):
                v[s[1]] = held[(t + s[3]) % THREADS]
        else:
            for v in states:
                one(s, v, table, kind)
    return np.array([[v[n] for n in NAMES] for v in states], kind)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(program=st.lists(statement, min_size=1, max_size=5), seed=st.integers(0, 2**32))
def test_drawn_float_kernels_equal_their_interpretation(kind, program, seed):
    code = source(program, "f" if kind is np.float32 else "d", np.dtype(kind).name)
    name = f"<drawn float {abs(hash(code))}>"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    namespace = {"cuda": cuda, "libdevice": libdevice, "float32": np.float32, "float64": np.float64}
    exec(compile(code, name, "exec"), namespace)
    rng = np.random.default_rng(seed)
    table = edges(kind)
    bits = rng.integers(0, 2 ** (8 * table.itemsize), (THREADS, 2), dtype=np.uint64)
    x = bits.astype(f"u{table.itemsize}").view(kind)  # any bits at all, and a third of them edge values
    x = np.where(rng.random(x.shape) < 0.3, rng.choice(table, x.shape), x)
    out = np.zeros((THREADS, 3), kind)
    report = launch(namespace["kernel"], 1, THREADS, (x, table, out))
    assert not report.findings, (code, [str(f) for f in report.findings])
    with np.errstate(all="ignore"):
        want = interpret(program, x, table, kind)
    assert np.array_equal(np.isnan(out), np.isnan(want)), code
    number = ~np.isnan(want)
    assert out[number].tobytes() == want[number].tobytes(), (code, out[number], want[number])


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_the_interpretation_rounds_as_it_should(kind):
    """The reference is held against NumPy where both tell: c is a zero of the product's sign, or a is 1."""
    rng = np.random.default_rng(1)
    unsigned = f"u{np.dtype(kind).itemsize}"
    x = rng.integers(0, 2**64, (2000, 2), dtype=np.uint64).astype(unsigned).view(kind)
    with np.errstate(all="ignore"):
        for a, b in np.concatenate([x, rng.choice(edges(kind), (400, 2))]):
            for got, want in (
                (fused(a, b, np.copysign(kind(0), a * b), kind), a * b),
                (fused(kind(1), a, b, kind), a + b),
            ):
                assert (np.isnan(got) and np.isnan(want)) or got.tobytes() == want.tobytes(), (a, b, got, want)
