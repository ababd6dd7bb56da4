"""Counters against brute force on drawn access patterns, and against hand counts."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import cuda, float32, float64

from scc_numba.emulator import NotCounted, PtxKernel, launch


def gather(a, index, out):
    i = cuda.grid(1)
    k = index[i]
    if k >= 0:
        out[i] = a[k]


def by_warp(index, threads):
    """Indices of each warp's active lanes."""
    out = []
    for start in range(0, len(index), threads):
        for w in range(start, start + threads, 32):
            out.append([int(k) for k in index[w : min(w + 32, start + threads)] if k >= 0])
    return out


patterns = st.one_of(
    st.lists(st.integers(-1, 999), min_size=96, max_size=96),
    st.lists(st.sampled_from([0, 1, 5]), min_size=96, max_size=96),
    st.integers(0, 10).map(lambda s: [(k * s) % 1000 for k in range(96)]),
    st.integers(0, 40).map(lambda s: [999 - s - k for k in range(96)]),
    st.integers(0, 95).map(lambda n: [k if k < n else -1 for k in range(96)]),
)


@settings(max_examples=60, deadline=None)
@given(patterns, st.sampled_from(["f4", "f8"]), st.sampled_from([32, 48, 96]))
def test_global_gather(pattern, dtype, threads):
    a, index = np.arange(1000, dtype=dtype), np.array(pattern, np.int32)
    out = np.zeros(96, dtype)
    report = launch(gather, 96 // threads, threads, (a, index, out), strict=True)
    warps = [w for w in by_warp(pattern, threads) if w]
    entry = report.arrays["a"]
    assert entry.load.requests == len(warps)
    assert entry.load.lanes == sum(map(len, warps))
    assert entry.load.bytes == entry.load.lanes * a.itemsize
    assert entry.load.sectors == sum(len({k * a.itemsize // 32 for k in w}) for w in warps)
    assert entry.unique_load_sectors == len({k * a.itemsize // 32 for w in warps for k in w})
    assert report.arrays["out"].store.requests == len(warps)
    assert out.tolist() == [float(a[k]) if k >= 0 else 0.0 for k in pattern]


def shared_gather(index, out):
    s = cuda.shared.array(1024, float32)
    t = cuda.threadIdx.x
    for k in range(t, 1024, cuda.blockDim.x):
        s[k] = k
    cuda.syncthreads()
    i = cuda.grid(1)
    if index[i] >= 0:
        out[i] = s[index[i]]


def shared_gather64(index, out):
    s = cuda.shared.array(1024, float64)
    t = cuda.threadIdx.x
    for k in range(t, 1024, cuda.blockDim.x):
        s[k] = k
    cuda.syncthreads()
    i = cuda.grid(1)
    if index[i] >= 0:
        out[i] = s[index[i]]


def passes(words):
    """Wavefronts for a set of lanes' 4-byte words: the bank with most different words decides."""
    banks = {}
    for word in words:
        banks.setdefault(word % 32, set()).add(word)
    return max((len(b) for b in banks.values()), default=0)


@settings(max_examples=60, deadline=None)
@given(patterns, st.booleans(), st.sampled_from([32, 96]))
def test_shared_gather(pattern, wide, threads):
    index, out = np.array(pattern, np.int32), np.zeros(96, "f8")
    kernel = shared_gather64 if wide else shared_gather
    report = launch(kernel, 96 // threads, threads, (index, out), strict=True)
    waves = requests = 0
    for start in range(0, 96, 32):
        lanes = pattern[start : start + 32]
        requests += any(k >= 0 for k in lanes)
        if wide:  # half-warps, two words a lane
            waves += sum(
                passes([2 * k + h for k in half if k >= 0 for h in (0, 1)]) for half in (lanes[:16], lanes[16:])
            )
        else:
            waves += passes([k for k in lanes if k >= 0])
    assert (report.shared_load.requests, report.shared_load.wavefronts) == (requests, waves)
    assert out.tolist() == [float(k) if k >= 0 else 0.0 for k in pattern]


QUADS = """.version 8.0
.target sm_90
.address_size 64
.shared .align 16 .b8 s[8192];
.visible .entry k(.param .u64 index, .param .u64 out)
{
.reg .b64 %rd<12>; .reg .b32 %r<8>; .reg .f32 %f<8>;
ld.param.u64 %rd1, [index]; ld.param.u64 %rd2, [out];
mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3;
ld.global.u32 %r2, [%rd4];
mov.u64 %rd5, s; mul.wide.u32 %rd6, %r2, 16; add.s64 %rd7, %rd5, %rd6;
cvt.rn.f32.u32 %f1, %r2;
st.shared.v4.f32 [%rd7], {%f1, %f1, %f1, %f1};
bar.sync 0;
ld.shared.v4.f32 {%f2, %f3, %f4, %f5}, [%rd7];
add.s64 %rd8, %rd2, %rd3; st.global.f32 [%rd8], %f5;
ret;
}
"""


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 511), min_size=32, max_size=32, unique=True))
def test_shared_128_bit(pattern):
    index, out = np.array(pattern, np.int32), np.zeros(32, "f4")
    report = launch(PtxKernel(QUADS, ("pointer", "pointer")), 1, 32, (index, out), strict=True)
    want = sum(passes([4 * k + h for k in pattern[q : q + 8] for h in range(4)]) for q in range(0, 32, 8))
    assert report.shared_load.wavefronts == report.shared_store.wavefronts == want
    assert out.tolist() == pattern


def tally(index, out):
    i = cuda.grid(1)
    if index[i] >= 0:
        cuda.atomic.add(out, index[i], 1)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-1, 20), min_size=64, max_size=64))
def test_atomics(pattern):
    index, out = np.array(pattern, np.int32), np.zeros(21, "i4")
    report = launch(tally, 1, 64, (index, out), strict=True)
    real = [k for k in pattern if k >= 0]
    assert out.tolist() == [real.count(k) for k in range(21)]
    warps = [w for w in by_warp(pattern, 64) if w]
    assert report.atomics.requests == len(warps)
    assert report.atomics.operations == len(real)
    assert report.atomics.worst_contention == max((real.count(k) for k in real), default=0)
    assert report.atomics.queue == sum(max(w.count(k) for k in w) for w in warps)


# ---------------------------------------------------------------------------------------- by hand


def naive(x, w, y, step, C, P, G):
    i = cuda.grid(1)
    n = i // (C * P)
    o = i % (C * P) // P
    p = i % P
    acc = float32(0.0)
    for j in range(G):
        acc += x[n, (o * step + j) % C, p] * w[o, j]
    y[n, o, p] = acc


@pytest.mark.parametrize("shift", [0, 3])
def test_a_convolution_by_hand(shift):
    C, P, G = 32, 64, 8
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, C, P)).astype("f4")
    w = rng.standard_normal((C, G)).astype("f4")
    y = np.zeros(C * P + 8, "f4")[shift : shift + C * P].reshape(1, C, P)
    report = launch(naive, C * P // 128, 128, (x, w, y, 1, C, P, G), strict=True)
    warps = C * P // 32
    assert report.global_load.requests == 2 * G * warps
    assert report.global_load.sectors == (4 + 1) * G * warps  # a row of x, one word of w
    assert report.global_store.requests == warps
    # A view keeps its offset: rows that start three floats off touch five sectors.
    assert report.global_store.sectors == (4 if shift == 0 else 5) * warps
    assert report.flops == 2 * G * C * P
    assert report.arrays["x"].load.sectors == 4 * G * warps
    assert report.arrays["w"].load.sectors == G * warps
    want = np.array([[sum(x[0, (o + j) % C] * w[o, j] for j in range(G))] for o in range(C)])
    assert np.abs(y[0] - want[:, 0]).max() < 1e-5


def transpose(a, b):
    s = cuda.shared.array((32, 32), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    for k in range(0, 32, 8):
        s[y + k, x] = a[y + k, x]
    cuda.syncthreads()
    for k in range(0, 32, 8):
        b[y + k, x] = s[x, y + k]


def padded(a, b):
    s = cuda.shared.array((32, 33), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    for k in range(0, 32, 8):
        s[y + k, x] = a[y + k, x]
    cuda.syncthreads()
    for k in range(0, 32, 8):
        b[y + k, x] = s[x, y + k]


def test_transpose_conflicts_vanish_with_padding():
    a = np.arange(1024, dtype="f4").reshape(32, 32)
    for kernel, waves in ((transpose, 32 * 32), (padded, 32)):
        b = np.zeros_like(a)
        report = launch(kernel, 1, (32, 8), (a, b), strict=True)
        assert (b == a.T).all()
        assert (report.shared_load.requests, report.shared_load.wavefronts) == (32, waves)
        assert report.shared_load.conflicts == waves - 32
        assert report.shared_store.wavefronts == 32
        assert report.barriers == 1


def diverging(a, out):
    i = cuda.grid(1)
    if a[i] > 0:
        v = a[i]
        for _ in range(10):
            v = v * v - a[i]
        out[i] = v


def test_active_lanes_show_divergence():
    a, out = np.ones(64, "f4"), np.zeros(64, "f4")
    a[:32:2] = -1
    report = launch(diverging, 1, 64, (a, out))
    assert report.divergent_branches == 1
    assert 0.5 < report.active_lanes < 1
    assert report.global_store.requests == 2
    assert report.global_store.lanes == 48


def leaves_early(a, out):
    i = cuda.grid(1)
    r = float32(0)
    for j in range(a.shape[0]):
        if a[j] > i:
            r = a[j]
            break
    out[i] = r + 1


def test_code_after_a_break_runs_once_a_warp():
    a, out = np.arange(200, dtype="f4"), np.zeros(64, "f4")
    report = launch(leaves_early, 1, 64, (a, out), strict=True)
    assert report.global_store.requests == 2
    assert out.tolist() == [i + 2.0 for i in range(64)]


def test_cost_per_line_adds_up():
    C, P, G = 8, 32, 4
    x, w, y = np.ones((1, C, P), "f4"), np.ones((C, G), "f4"), np.zeros((1, C, P), "f4")
    report = launch(naive, C * P // 64, 64, (x, w, y, 1, C, P, G))
    assert sum(line.instructions for line in report.lines) == report.instructions
    assert sum(line.flops for line in report.lines) == report.flops
    assert sum(line.global_load.sectors for line in report.lines) == report.global_load.sectors
    assert sum(a.load.sectors for a in report.arrays.values()) == report.global_load.sectors
    assert sum(report.instruction_classes.values()) == report.instructions


OUT_OF_ORDER = """.version 8.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 trips, .param .u64 total)
{
.reg .b64 %rd<6>; .reg .b32 %r<8>; .reg .pred %p<4>;
ld.param.u64 %rd1, [trips]; ld.param.u64 %rd2, [total];
mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3;
mov.u32 %r2, 0;
bra outer;
after:
red.global.add.u32 [%rd2], 1;
add.u32 %r2, %r2, 1;
setp.lt.u32 %p1, %r2, 3;
@!%p1 bra done;
outer:
ld.global.u32 %r3, [%rd4];
inner:
sub.u32 %r3, %r3, 1;
setp.gt.s32 %p2, %r3, 0;
@%p2 bra inner;
bra after;
done:
ret;
}
"""


def test_lanes_that_leave_an_inner_loop_wait_for_the_others():
    # What follows the inner loop stands before it in the text, whose order would run it lane by lane.
    trips, total = np.arange(1, 33, dtype=np.int32), np.zeros(1, np.int32)
    report = launch(PtxKernel(OUT_OF_ORDER, ("pointer", "pointer")), 1, 32, (trips, total), strict=True)
    assert total[0] == 3 * 32
    assert report.atomics.requests == 3
    assert report.atomics.worst_contention == 96


def through_shared(x, out):
    row = cuda.shared.array(64, float32)
    column = cuda.shared.array((32, 2), float32)
    t = cuda.threadIdx.x
    row[t] = x[t]
    column[t % 32, t // 32] = x[t]  # <- two words apart: two lanes a bank
    cuda.syncthreads()
    out[t] = row[63 - t] + column[t % 32, t // 32]


def test_shared_arrays_are_counted_one_by_one():
    arrays = launch(through_shared, 3, 64, (np.ones(64, np.float32), np.zeros(64, np.float32))).arrays
    assert list(arrays) == ["x", "out", "row", "column"]
    row, column = arrays["row"], arrays["column"]
    assert (row.space, row.bytes, column.bytes, arrays["x"].space) == ("shared", 256, 256, "global")
    for traffic in (row.load, row.store):
        assert (traffic.requests, traffic.wavefronts, traffic.conflicts) == (6, 6, 0)
    for traffic in (column.load, column.store):
        assert (traffic.requests, traffic.wavefronts, traffic.conflicts) == (6, 12, 6)


def test_without_counters_nothing_is_counted_and_the_report_says_so():
    args = np.ones(64, np.float32), np.zeros(64, np.float32)
    report = launch(through_shared, 3, 64, args, counters=False)
    assert (args[1] == 2).all()
    assert not report.counted
    machine = report._machine
    assert not machine.stats.any()
    assert not machine.touched.any()
    assert not any(machine.block_warps + machine.block_threads + machine.diverged)
    assert machine.samples == [None] * len(machine.samples)
    asked = (
        "instructions", "thread_instructions", "active_lanes", "instruction_classes", "opcodes", "flops",
        "barriers", "divergent_branches", "global_load", "shared_store", "local_load", "atomics", "unique_sectors",
        "l2", "arrays", "lines",
    )  # fmt: skip
    for name in asked:
        with pytest.raises(NotCounted, match="counters=False"):
            getattr(report, name)
    with pytest.raises(NotCounted):
        report.plot_access(1)
    text = io.StringIO()
    report.show(text)
    assert "not counted (counters=False)" in text.getvalue()
    assert "not counted" in repr(report)
    assert "not counted" in report._repr_html_()
    assert "lines" not in report.to_json()
