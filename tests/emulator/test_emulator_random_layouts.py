"""Drawn accesses to arrays of drawn layouts: results equal NumPy's, and requests, sectors and bytes of every
array equal a count by brute force."""

import linecache

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numba import cuda

from scc_numba.emulator import launch

ROWS, COLUMNS = 24, 20

# Each makes a (ROWS, COLUMNS) array from a buffer, whose first byte lies at a multiple of 256 on a device.
LAYOUTS = {
    "C": lambda kind: np.zeros((ROWS, COLUMNS), kind),
    "F": lambda kind: np.zeros((ROWS, COLUMNS), kind, order="F"),
    "inner columns": lambda kind: np.zeros((ROWS, COLUMNS + 9), kind)[:, 3:-6],
    "every third row": lambda kind: np.zeros((3 * ROWS, COLUMNS), kind)[1::3],
    "every second column": lambda kind: np.zeros((ROWS, 2 * COLUMNS), kind)[:, ::2],
    "transposed": lambda kind: np.zeros((COLUMNS + 1, ROWS), kind)[1:].T,
    "backwards": lambda kind: np.zeros((ROWS, COLUMNS), kind)[::-1, ::-1],
}
access = st.fixed_dictionaries({
    "mode": st.sampled_from(["load", "store"]),
    "layout": st.sampled_from(list(LAYOUTS)),
    "kind": st.sampled_from(["i2", "f4", "f8"]),
    "row": st.tuples(st.integers(0, 7), st.integers(0, 30), st.sampled_from([1, 2, 20, 32])),
    "column": st.tuples(st.integers(0, 7), st.integers(0, 30), st.sampled_from([1, 2, 20, 32])),
    "who": st.tuples(st.integers(1, 5), st.integers(0, 9), st.integers(1, 9), st.integers(1, 9)),
})  # fmt: skip


def source(accesses):
    names = [f"a{k}" for k in range(len(accesses))]
    lines = [f"def kernel({', '.join(names)}, out):", "    i = cuda.grid(1)", "    total = 0.0"]
    for name, a in zip(names, accesses, strict=True):
        (p, q, r), (s, t, u), (v, w, m, few) = a["row"], a["column"], a["who"]
        place = f"{name}[(i // {r} * {p} + {q}) % {ROWS}, (i // {u} * {s} + {t}) % {COLUMNS}]"
        lines.append(f"    if (i * {v} + {w}) % {m} < {few}:")
        lines.append(f"        total += {place}" if a["mode"] == "load" else f"        {place} = 7")
    lines.append("    out[i] = total")
    return "\n".join(lines) + "\n"


def buffer_offset(array):
    root = array
    while isinstance(root.base, np.ndarray):
        root = root.base
    return array.__array_interface__["data"][0] - root.__array_interface__["data"][0]


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(
    st.lists(access, min_size=1, max_size=4), st.integers(1, 3), st.sampled_from([32, 48, 96]), st.integers(0, 99)
)
def test_drawn_accesses_are_counted_as_by_hand(accesses, blocks, threads, seed):
    code = source(accesses)
    name = f"<drawn accesses {abs(hash(code))}>"
    linecache.cache[name] = (len(code), None, code.splitlines(True), name)
    namespace = {"cuda": cuda}
    exec(compile(code, name, "exec"), namespace)
    rng = np.random.default_rng(seed)
    arrays = [LAYOUTS[a["layout"]](a["kind"]) for a in accesses]
    for x in arrays:
        x[...] = rng.integers(-99, 99, x.shape)
    wanted = [x.copy() for x in arrays]
    out, total = np.zeros(blocks * threads), np.zeros(blocks * threads)
    # Several threads may write one place here, all of them the same value.
    report = launch(namespace["kernel"], blocks, threads, (*arrays, out), global_races=False, strict=True)
    i = np.arange(blocks * threads)
    for k, a in enumerate(accesses):
        (p, q, r), (s, t, u), (v, w, m, few) = a["row"], a["column"], a["who"]
        row, column = (i // r * p + q) % ROWS, (i // u * s + t) % COLUMNS
        takes_part = (i * v + w) % m < few
        if a["mode"] == "load":
            total += np.where(takes_part, arrays[k][row, column].astype("f8"), 0)
        else:
            wanted[k][row[takes_part], column[takes_part]] = 7
        first = buffer_offset(arrays[k]) + row * arrays[k].strides[0] + column * arrays[k].strides[1]
        requests = sectors = 0
        for block in range(blocks):
            for warp in range(0, threads, 32):
                own = slice(block * threads + warp, block * threads + min(warp + 32, threads))
                touched = first[own][takes_part[own]]
                requests += len(touched) > 0
                sectors += len({int(b) // 32 for b in touched})  # an element lies within one sector
        # By array, not by line: the compiler may give a load the line of the condition before it.
        counts = report.arrays[f"a{k}"]
        traffic = counts.load if a["mode"] == "load" else counts.store
        found = (traffic.requests, traffic.sectors, traffic.bytes)
        assert found == (requests, sectors, int(takes_part.sum()) * arrays[k].itemsize), (code, k, a)
    assert out.tolist() == total.tolist(), code
    for x, want in zip(arrays, wanted, strict=True):
        assert np.array_equal(x, want), code
