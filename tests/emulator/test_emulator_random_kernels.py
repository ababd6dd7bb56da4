"""Kernels drawn from a grammar: the compiled kernel in the emulator equals a thread-by-thread
interpretation."""

import linecache

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import cuda, int64, uint32, uint64

from scc_numba.emulator import launch

M64 = (1 << 64) - 1
NAMES = ("a", "b", "c")


def wrap(v):
    return v & M64


def signed(v):
    return v - (1 << 64) if v >> 63 else v


# All variables are unsigned: signed overflow is undefined for Numba's compiler, which makes use of that.
# Expressions are ("var", name), ("const", n) or (operator, left, right).
OPERATORS = {
    "+": lambda x, y: x + y, "-": lambda x, y: x - y, "*": lambda x, y: x * y, "&": lambda x, y: x & y,
    "|": lambda x, y: x | y, "^": lambda x, y: x ^ y,
}  # fmt: skip
leaf = st.one_of(
    st.sampled_from([("var", n) for n in NAMES]),
    st.sampled_from([("const", n) for n in (0, 1, -1, 2, 3, 7, 100, -(2**31), 2**31, 2**62, -(2**63) + 1)]),
)
expression = st.recursive(
    leaf,
    lambda inner: st.one_of(
        st.tuples(st.sampled_from(list(OPERATORS)), inner, inner),
        st.tuples(st.sampled_from(["//", "%"]), inner, st.sampled_from([("const", n) for n in (1, 2, 3, 8, 1000)])),
        st.tuples(st.sampled_from([">>", "<<"]), inner, st.sampled_from([("const", n) for n in (0, 1, 5, 33, 63)])),
        st.tuples(st.sampled_from(["min", "max"]), inner, inner),
    ),
    max_leaves=5,
)
condition = st.tuples(st.sampled_from(["<", "<=", "==", "!=", ">", "<s", ">s"]), expression, expression)
assign = st.tuples(st.just("assign"), st.sampled_from(NAMES), expression)
load = st.tuples(st.just("load"), st.sampled_from(NAMES), expression)
count = st.tuples(st.just("atomic"), expression, expression)
local = st.recursive(
    st.one_of(assign, assign, load, count),
    lambda inner: st.one_of(
        st.tuples(st.just("if"), condition, st.lists(inner, min_size=1, max_size=2), st.lists(inner, max_size=2)),
        st.tuples(st.just("for"), expression, st.lists(inner, min_size=1, max_size=2), st.none() | condition),
    ),
    max_leaves=5,
)
together = st.one_of(
    st.tuples(st.just("shared"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 63)),
    st.tuples(
        st.just("shuffle"),
        st.sampled_from(NAMES),
        st.sampled_from(["xor", "up", "down", "idx"]),
        st.integers(0, 31),
    ),
    st.tuples(st.just("ballot"), st.sampled_from(NAMES), condition),
    st.tuples(st.just("count"), st.sampled_from(NAMES), condition),
)
programs = st.lists(st.one_of(local, local, together), min_size=1, max_size=6)


def text(e):
    if e[0] == "var":
        return e[1]
    if e[0] == "const":
        return f"uint64({e[1] & M64})"
    if e[0] in ("min", "max"):
        return f"{e[0]}({text(e[1])}, {text(e[2])})"
    return f"({text(e[1])} {e[0]} {text(e[2])})"


def comparison(c):
    op, left, right = c
    if op.endswith("s"):
        return f"int64({text(left)}) {op[0]} int64({text(right)})"
    return f"{text(left)} {op} {text(right)}"


def source(program, threads):
    lines = ["def kernel(x, out, acc):", f"    s = cuda.shared.array({threads}, uint64)",
    "    t = cuda.threadIdx.x",
             "    i = cuda.grid(1)", "    s[t] = uint64(0)", "    a = x[i]", "    b = uint64(t) * uint64(7)",
             "    c = uint64(i)"]  # fmt: skip
    counter = [0]

    def write(statement, indent):
        pad = "    " * indent
        kind = statement[0]
        if kind == "assign":
            lines.append(f"{pad}{statement[1]} = {text(statement[2])}")
        elif kind == "load":
            lines.append(f"{pad}{statement[1]} = x[{text(statement[2])} & uint64(63)]")
        elif kind == "atomic":
            lines.append(f"{pad}cuda.atomic.add(acc, {text(statement[1])} & uint64(7), {text(statement[2])})")
        elif kind == "if":
            lines.append(f"{pad}if {comparison(statement[1])}:")
            for s in statement[2]:
                write(s, indent + 1)
            if statement[3]:
                lines.append(f"{pad}else:")
                for s in statement[3]:
                    write(s, indent + 1)
        elif kind == "for":
            counter[0] += 1
            lines.append(f"{pad}for k{counter[0]} in range(int64({text(statement[1])} & uint64(7))):")
            for s in statement[2]:
                write(s, indent + 1)
            if statement[3] is not None:
                lines.append(f"{pad}    if {comparison(statement[3])}:")
                lines.append(f"{pad}        break")
        elif kind == "shared":
            _, target, value, shift = statement
            lines.extend([f"{pad}cuda.syncthreads()", f"{pad}s[t] = {value}", f"{pad}cuda.syncthreads()",
                          f"{pad}{target} = s[(t + {shift}) % {threads}]"])  # fmt: skip
        elif kind == "shuffle":
            _, target, mode, n = statement
            name = {
                "xor": "shfl_xor_sync",
                "up": "shfl_up_sync",
                "down": "shfl_down_sync",
                "idx": "shfl_sync",
            }[mode]
            lines.append(f"{pad}{target} = uint64(cuda.{name}(0xFFFFFFFF, int64({target}), {n}))")
        elif kind == "ballot":
            lines.append(
                f"{pad}{statement[1]} = uint64(uint32(cuda.ballot_sync(0xFFFFFFFF, {comparison(statement[2])})))"
            )
        else:
            lines.append(
                f"{pad}{statement[1]} = uint64(cuda.syncthreads_count(1 if {comparison(statement[2])} else 0))"
            )

    for statement in program:
        write(statement, 1)
    lines += ["    out[i, 0] = a", "    out[i, 1] = b", "    out[i, 2] = c"]
    return "\n".join(lines) + "\n"


def value(e, v):
    if e[0] == "var":
        return v[e[1]]
    if e[0] == "const":
        return e[1] & M64
    x, y = value(e[1], v), value(e[2], v)
    if e[0] in ("min", "max"):
        return min(x, y) if e[0] == "min" else max(x, y)
    if e[0] == "//":
        return wrap(x // y)
    if e[0] == "%":
        return wrap(x % y)
    if e[0] == ">>":
        return x >> y
    if e[0] == "<<":
        return wrap(x << y)
    return wrap(OPERATORS[e[0]](x, y))


def holds(c, v):
    op, left, right = c
    x, y = value(left, v), value(right, v)
    if op.endswith("s"):
        op, x, y = op[0], signed(x), signed(y)
    return {"<": x < y, "<=": x <= y, "==": x == y, "!=": x != y, ">": x > y}[op]


def one(statement, v, x, acc):
    kind = statement[0]
    if kind == "assign":
        v[statement[1]] = value(statement[2], v)
    elif kind == "load":
        v[statement[1]] = int(x[value(statement[2], v) & 63])
    elif kind == "atomic":
        k = value(statement[1], v) & 7
        acc[k] = wrap(acc[k] + value(statement[2], v))
    elif kind == "if":
        for s in statement[2] if holds(statement[1], v) else statement[3]:
            one(s, v, x, acc)
    else:
        for _ in range(value(statement[1], v) & 7):
            for s in statement[2]:
                one(s, v, x, acc)
            if statement[3] is not None and holds(statement[3], v):
                break


def interpret(program, x, blocks, threads):
    out, acc = [], [0] * 8
    for block in range(blocks):
        states = [{"a": int(x[block * threads + t]), "b": t * 7, "c": block * threads + t} for t in range(threads)]
        for statement in program:
            kind = statement[0]
            if kind == "shared":
                held = [v[statement[2]] for v in states]
                for t, v in enumerate(states):
                    v[statement[1]] = held[(t + statement[3]) % threads]
            elif kind == "shuffle":
                _, name, mode, n = statement
                held = [v[name] for v in states]
                for t, v in enumerate(states):
                    lane, warp = t % 32, t - t % 32
                    j = {"xor": lane ^ n, "up": lane - n, "down": lane + n, "idx": n}[mode]
                    v[name] = held[warp + j] if 0 <= j < 32 else held[t]
            elif kind in ("ballot", "count"):
                flags = [holds(statement[2], v) for v in states]
                for t, v in enumerate(states):
                    warp = t - t % 32
                    bits = sum(1 << k for k in range(32) if flags[warp + k])
                    v[statement[1]] = bits if kind == "ballot" else sum(flags)
            else:
                for v in states:
                    one(statement, v, x, acc)
        out += [[v[n] for n in NAMES] for v in states]
    return out, acc


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(programs, st.integers(0, 2**32), st.sampled_from([(1, 32), (2, 64), (3, 32)]))
def test_drawn_kernels_equal_their_interpretation(program, seed, shape):
    blocks, threads = shape
    code = source(program, threads)
    name = f"<drawn {abs(hash(code))}>"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    namespace = {"cuda": cuda, "int64": int64, "uint32": uint32, "uint64": uint64}
    exec(compile(code, name, "exec"), namespace)
    rng = np.random.default_rng(seed)
    x = rng.choice(np.array([0, 1, M64, 5, 64, 2**31, 2**32 - 1, 2**63 - 1, 2**63, 12345], np.uint64), 192)
    out, acc = np.zeros((blocks * threads, 3), np.uint64), np.zeros(8, np.uint64)
    report = launch(namespace["kernel"], blocks, threads, (x, out, acc))
    want, total = interpret(program, x, blocks, threads)
    assert out.tolist() == want, code
    assert acc.tolist() == total, code
    assert not report.findings, (code, [str(f) for f in report.findings])
