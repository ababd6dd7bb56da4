"""Each kind of finding: a kernel that triggers exactly it at the right line, and a repaired twin that
is silent."""

import inspect

import numpy as np
import pytest
from numba import cuda, float32, int32

from scc_numba.emulator import KINDS, FindingsError, PtxKernel, launch


def marked(kernel, mark="<-"):
    """The line of a kernel that carries a mark."""
    lines, start = inspect.getsourcelines(kernel)
    (found,) = [start + k for k, line in enumerate(lines) if "# " + mark in line]
    return found


def only(report, kind, line=None, array=None):
    assert [f.kind for f in report.findings] == [kind], [str(f) for f in report.findings]
    (f,) = report.findings
    if line is not None:
        assert f.line == line
    if array is not None:
        assert f.array == array
    assert kind in KINDS
    assert f.message
    return f


def numbers(n, dtype="f4"):
    return np.arange(n, dtype=dtype)


# ---------------------------------------------------------------------------------------- bounds


def reads_past_the_end(a, out):
    i = cuda.grid(1)
    out[i] = a[i + 1]  # <-


def writes_past_the_end(a, out):
    i = cuda.grid(1)
    if i <= a.shape[0]:
        out[i] = 1.0  # <-


def writes_inside(a, out):
    i = cuda.grid(1)
    if i < a.shape[0]:
        out[i] = 1.0


def test_out_of_bounds_is_exact_to_the_element():
    a, out = numbers(64), np.zeros(64, "f4")
    f = only(launch(reads_past_the_end, 2, 32, (a, out)), "out-of-bounds", marked(reads_past_the_end), "a")
    assert (f.block, f.threads, f.address, f.count) == ((1, 0, 0), ((31, 0, 0),), 256, 1)
    assert out[:-1].tolist() == a[1:].tolist()
    out = np.zeros(64, "f4")
    f = only(launch(writes_past_the_end, 3, 32, (a, out)), "out-of-bounds", marked(writes_past_the_end), "out")
    assert f.address == 256
    assert not launch(writes_inside, 3, 32, (a, out)).findings


def test_an_array_next_door_does_not_hide_it():
    whole = np.zeros(128, "f4")  # two views of one buffer: past the end of the first lies the second
    a, out = whole[:32], whole[32:64]
    only(launch(reads_past_the_end, 1, 32, (a, out)), "out-of-bounds", marked(reads_past_the_end), "a")


def negative_index(a, out):
    i = cuda.grid(1)
    out[i] = a[i - 40]  # <-


def test_negative_indices_wrap_once_as_in_numba():
    a, out = numbers(40), np.zeros(32, "f4")
    assert not launch(negative_index, 1, 32, (a, out)).findings
    only(launch(negative_index, 1, 32, (a[:36], out)), "out-of-bounds", marked(negative_index), "a")


def shared_past_the_end(out):
    s = cuda.shared.array(32, float32)
    t = cuda.threadIdx.x
    s[t + 1] = 1.0  # <-
    out[t] = 0.0


def test_out_of_bounds_in_shared_memory():
    f = only(
        launch(shared_past_the_end, 1, 32, (np.zeros(32, "f4"),)),
        "out-of-bounds",
        marked(shared_past_the_end),
    )
    assert (f.array, f.address, f.threads) == ("s", 128, ((31, 0, 0),))
    assert "4 bytes at byte 128 of shared s, which has 128 bytes" in f.message


def lands_in_the_next_array(out):
    s = cuda.shared.array(32, float32)
    q = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    q[t] = 1.0
    if t < 32:
        s[t] = 2.0
    cuda.syncthreads()
    out[t] = s[t + 32] + q[t]  # <-


@cuda.jit(device=True)
def front(s, q, t):
    chosen = s if t < 8 else q
    return chosen[t]


def goes_by_way_of_a_function(out):
    s = cuda.shared.array(32, float32)
    q = cuda.shared.array(32, float32)
    t = cuda.threadIdx.x
    s[t] = t
    q[t] = -t
    cuda.syncthreads()
    out[t] = front(s, q, t)


def dynamic_beside_static(out):
    s = cuda.shared.array(32, float32)
    d = cuda.shared.array(0, float32)
    t = cuda.threadIdx.x
    s[t] = t
    d[t] = t
    cuda.syncthreads()
    out[t] = s[31 - t] + d[31 - t]


def test_a_shared_array_next_door_does_not_hide_it():
    f = only(
        launch(lands_in_the_next_array, 2, 64, (numbers(64),)),
        "out-of-bounds",
        marked(lands_in_the_next_array),
        "s",
    )
    assert "byte 128 of shared s, which has 128 bytes; it lands in q" in f.message
    assert launch(goes_by_way_of_a_function, 2, 32, (numbers(32),)).findings == []
    assert launch(dynamic_beside_static, 2, 32, (numbers(32),), shared_bytes=128).findings == []
    short = launch(dynamic_beside_static, 2, 32, (numbers(32),), shared_bytes=124).findings
    assert [(f.kind, f.array) for f in short] == [("out-of-bounds", "d")] * 2


def test_strict_raises_with_the_report():
    with pytest.raises(FindingsError, match="out-of-bounds at line") as caught:
        launch(reads_past_the_end, 2, 32, (numbers(64), np.zeros(64, "f4")), strict=True)
    assert caught.value.report.findings[0].kind == "out-of-bounds"


# ---------------------------------------------------------------------------------------- alignment

VECTOR = """.version 8.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 a, .param .u64 out)
{{
.reg .b64 %rd<8>; .reg .b32 %r<4>; .reg .f32 %f<4>;
ld.param.u64 %rd1, [a]; ld.param.u64 %rd2, [out];
mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 16;
add.s64 %rd4, %rd1, %rd3; add.s64 %rd5, %rd2, %rd3;
ld.global.v4.f32 {{%f0, %f1, %f2, %f3}}, [%rd4+{offset}];
st.global.v4.f32 [%rd5], {{%f3, %f2, %f1, %f0}};
ret;
}}
"""


def test_misaligned_vector_load():
    a, out = numbers(160), np.zeros(128, "f4")
    kernel = PtxKernel(VECTOR.format(offset=4), ("pointer", "pointer"))
    assert only(launch(kernel, 1, 32, (a, out)), "misaligned").address == 4
    report = launch(PtxKernel(VECTOR.format(offset=16), ("pointer", "pointer")), 1, 32, (a, out), strict=True)
    assert out.reshape(-1, 4)[:, ::-1].reshape(-1).tolist() == a[4:132].tolist()
    assert (report.global_load.requests, report.global_load.sectors, report.global_load.bytes) == (1, 17, 512)


# ---------------------------------------------------------------------------------------- shared memory


def reverse_without_barrier(a, out):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]
    out[t] = s[63 - t]  # <-


def reverse(a, out):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]
    cuda.syncthreads()
    out[t] = s[63 - t]


def test_read_after_write():
    a, out = numbers(64), np.zeros(64, "f4")
    f = only(launch(reverse_without_barrier, 1, 64, (a, out)), "shared-race", marked(reverse_without_barrier))
    assert f.threads == ((0, 0, 0), (63, 0, 0))
    assert out.tolist() == a[::-1].tolist()  # right by luck, and found all the same
    assert not launch(reverse, 1, 64, (a, out)).findings
    assert not launch(reverse, 3, 64, (a, out), global_races=False).findings


def overwritten_too_early(a, out):
    s = cuda.shared.array(32, float32)
    t = cuda.threadIdx.x
    for k in range(3):
        s[t] = a[t] + k  # <-
        cuda.syncthreads()
        out[t] += s[31 - t]


def overwritten_in_time(a, out):
    s = cuda.shared.array(32, float32)
    t = cuda.threadIdx.x
    for k in range(3):
        s[t] = a[t] + k
        cuda.syncthreads()
        out[t] += s[31 - t]
        cuda.syncthreads()


def test_write_after_read():
    a, out = numbers(32), np.zeros(32, "f4")
    only(launch(overwritten_too_early, 1, 32, (a, out)), "shared-race", marked(overwritten_too_early))
    assert not launch(overwritten_in_time, 1, 32, (a, out)).findings


def everybody_writes(a, out):
    s = cuda.shared.array(4, float32)
    t = cuda.threadIdx.x
    s[t % 4] = a[t]  # <-
    cuda.syncthreads()
    out[t] = s[t % 4]


def everybody_writes_the_same(a, out):
    s = cuda.shared.array(4, float32)
    t = cuda.threadIdx.x
    s[t % 4] = a[t % 4]
    cuda.syncthreads()
    out[t] = s[t % 4]


def test_write_after_write():
    a, out = numbers(32), np.zeros(32, "f4")
    only(launch(everybody_writes, 1, 32, (a, out)), "shared-race", marked(everybody_writes))
    # Different blocks have different shared memories: equal addresses there are no race.
    assert not launch(everybody_writes_the_same, 1, 32, (a, out)).findings


def histogram_without_barrier(a, out):
    s = cuda.shared.array(8, int32)
    t = cuda.threadIdx.x
    if t < 8:
        s[t] = 0
    cuda.atomic.add(s, int(a[t]) % 8, 1)  # <-
    cuda.syncthreads()
    if t < 8:
        out[t] = s[t]


def histogram(a, out):
    s = cuda.shared.array(8, int32)
    t = cuda.threadIdx.x
    if t < 8:
        s[t] = 0
    cuda.syncthreads()
    cuda.atomic.add(s, int(a[t]) % 8, 1)
    cuda.syncthreads()
    if t < 8:
        out[t] = s[t]


def test_atomics_race_with_plain_accesses_only():
    a, out = numbers(64), np.zeros(8, "i4")
    only(launch(histogram_without_barrier, 1, 64, (a, out)), "shared-race", marked(histogram_without_barrier))
    report = launch(histogram, 1, 64, (a, out), strict=True)
    assert out.tolist() == [8] * 8
    assert report.atomics.worst_contention == 8
    assert report.atomics.operations == 64


def warp_sums(a, out):
    s = cuda.shared.array(32, float32)
    t = cuda.threadIdx.x
    s[t] = a[t]
    cuda.syncwarp()
    out[t] = s[31 - t]


def test_a_warp_barrier_orders_a_warp_and_no_more():
    a, out = numbers(32), np.zeros(32, "f4")
    assert not launch(warp_sums, 1, 32, (a, out)).findings


def halves_side_by_side(a, out):
    s = cuda.shared.array(64, np.int16)
    t = cuda.threadIdx.x
    s[t] = int(a[t])
    out[t] = s[t]


def test_neighbouring_small_elements_do_not_race():
    out = np.zeros(64, "f4")
    assert not launch(halves_side_by_side, 1, 64, (numbers(64), out)).findings
    assert out.tolist() == list(range(64))


def reads_unwritten(a, out):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    if t < 32:
        s[t] = a[t]
    cuda.syncthreads()
    out[t] = s[t]  # <-


def reads_written(a, out):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    s[t] = a[t] if t < 32 else float32(0)
    cuda.syncthreads()
    out[t] = s[t]


def test_uninitialised_shared():
    a, out = numbers(64), np.zeros(64, "f4")
    f = only(launch(reads_unwritten, 1, 64, (a, out)), "uninitialised-shared", marked(reads_unwritten))
    assert (f.count, f.threads, f.address) == (32, ((32, 0, 0),), 128)
    assert not launch(reads_written, 1, 64, (a, out)).findings


LOCAL = """.version 8.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 out)
{{
.local .align 8 .b8 depot[64]; .reg .b64 %rd<8>; .reg .b32 %r<4>; .reg .pred %p<2>;
ld.param.u64 %rd1, [out]; mov.u64 %rd2, depot;
.loc 1 7 1
mov.u32 %r1, %tid.x; mul.wide.u32 %rd3, %r1, 4;
and.b32 %r2, %r1, 7; mul.wide.u32 %rd4, %r2, 4; add.s64 %rd4, %rd4, %rd2; add.s64 %rd1, %rd1, %rd3;
.loc 1 8 1
st.local.u32 [%rd4], %r1;
.loc 1 9 1
ld.local.u32 %r3, [%rd4{offset}];
st.global.u32 [%rd1], %r3;
ret;
}}
.file 1 "kernel.py"
"""


def test_uninitialised_local():
    # Numba zeroes local arrays, so only PTX from elsewhere can do this.
    out = np.zeros(32, "i4")
    f = only(launch(PtxKernel(LOCAL.format(offset="+8"), ("pointer",)), 1, 32, (out,)), "uninitialised-local", 9)
    assert (f.count, f.file, f.array) == (32, "kernel.py", "local")
    report = launch(PtxKernel(LOCAL.format(offset=""), ("pointer",)), 1, 32, (out,), strict=True)
    assert out.tolist() == list(range(32))
    assert (report.local_load.requests, report.local_load.bytes) == (1, 128)
    f = only(launch(PtxKernel(LOCAL.format(offset="+64"), ("pointer",)), 1, 32, (out,)), "out-of-bounds", 9)
    assert (f.count, f.threads) == (32, ((0, 0, 0),))


def sums(a, out):
    t = cuda.threadIdx.x
    out[t] = a[t] + a[t + 1]  # <-


def test_uninitialised_global():
    a, out = np.zeros(64, "f4"), np.zeros(32, "f4")
    f = only(launch(sums, 1, 32, (a, out), uninitialised=(a, out)), "uninitialised-global", marked(sums), "a")
    assert f.count == 64
    assert not launch(sums, 1, 32, (a, out), uninitialised=(out,)).findings


# ---------------------------------------------------------------------------------------- global memory


def lost_update(a, out):
    i = cuda.grid(1)
    out[i % 4] += a[i]  # <-


def kept_update(a, out):
    i = cuda.grid(1)
    cuda.atomic.add(out, i % 4, a[i])


def test_missing_atomic():
    a, out = np.ones(256, "f4"), np.zeros(4, "f4")
    f = only(launch(lost_update, 2, 128, (a, out)), "lost-update", marked(lost_update), "out")
    assert len(f.threads) == 2
    out[:] = 0
    assert not launch(kept_update, 2, 128, (a, out)).findings
    assert out.tolist() == [64.0] * 4


def lost_shared_update(out):
    total = cuda.shared.array(1, int32)
    if cuda.threadIdx.x == 0:
        total[0] = 0
    cuda.syncthreads()
    total[0] += 1  # <-
    cuda.syncthreads()
    out[0] = total[0]


def test_missing_atomic_in_shared_memory():
    f = only(
        launch(lost_shared_update, 3, 64, (numbers(1, "i4"),)), "lost-update", marked(lost_shared_update), "total"
    )
    assert "of shared total, which another thread writes too; use cuda.atomic" in f.message
    assert len(f.threads) == 2
    assert f.threads[0] != f.threads[1]


def one_writes_what_all_read(out):
    s = cuda.shared.array(64, float32)
    t = cuda.threadIdx.x
    s[t] = t
    cuda.syncthreads()
    out[t] = s[0]
    if t == 9:
        s[0] = 1.0  # <-


def test_one_of_several_readers_is_named():
    f = only(
        launch(one_writes_what_all_read, 1, 64, (numbers(64),)),
        "shared-race",
        marked(one_writes_what_all_read),
        "s",
    )
    assert f.threads == ((9, 0, 0), (63, 0, 0))


def atomic_and_plain(counts, first):
    i = cuda.grid(1)
    if first and i == 5:
        counts[0] = 3
    cuda.atomic.add(counts, 0, 1)
    if not first and i == 5:
        counts[0] = 3


def reset_before_a_barrier(counts):
    if cuda.threadIdx.x == 0:
        counts[cuda.blockIdx.x] = 0
    cuda.syncthreads()
    cuda.atomic.add(counts, cuda.blockIdx.x, 1)


@pytest.mark.parametrize("blocks", [1, 3, 700])  # 700 blocks of 64 threads are more than one batch
@pytest.mark.parametrize("first", [False, True])
def test_a_plain_write_races_with_atomics(blocks, first):
    report = launch(atomic_and_plain, blocks, 64, (numbers(1, "i4"), first))
    assert {(f.kind, f.array) for f in report.findings} == {("global-race", "counts")}
    assert any("by an atomic" in f.message or "plainly" in f.message for f in report.findings)
    assert launch(reset_before_a_barrier, blocks, 64, (numbers(blocks, "i4"),)).findings == []


def flag_of_two_kinds(flag, last):
    flag[0] = 1 if cuda.blockIdx.x <= last else 2  # <-


@pytest.mark.parametrize("blocks", [2, 256, 257, 700])
def test_raising_a_flag_is_let_off_in_any_grid(blocks):
    assert launch(raise_a_flag, blocks, 64, (numbers(64 * blocks), numbers(1))).findings == []
    assert launch(flag_of_two_kinds, blocks, 64, (numbers(1, "i4"), blocks)).findings == []
    last = blocks - 2
    only(launch(flag_of_two_kinds, blocks, 64, (numbers(1, "i4"), last)), "global-race", marked(flag_of_two_kinds))


def last_one_wins(a, out):
    i = cuda.grid(1)
    out[i // 64] = a[i]  # <-


def one_writes(a, out):
    i = cuda.grid(1)
    if i % 64 == 0:
        out[i // 64] = a[i]


def raise_a_flag(a, out):
    i = cuda.grid(1)
    if a[i] > 3:
        out[0] = 1.0


def test_global_race():
    a, out = numbers(256), np.zeros(4, "f4")
    only(launch(last_one_wins, 2, 128, (a, out)), "global-race", marked(last_one_wins), "out")
    assert not launch(one_writes, 2, 128, (a, out)).findings
    assert not launch(raise_a_flag, 2, 128, (a, out)).findings  # all write the same: harmless
    assert not launch(last_one_wins, 2, 128, (a, out), global_races=False).findings


def two_writes_with_a_barrier(a, out):
    t = cuda.threadIdx.x
    out[t] = a[t]
    cuda.syncthreads()
    out[31 - t] = a[t]


def two_writes_without_a_barrier(a, out):
    t = cuda.threadIdx.x
    out[t] = a[t]
    out[31 - t] = a[t]  # <-


def two_writes_with_a_warp_barrier(a, out):
    t = cuda.threadIdx.x
    out[t] = a[t]
    cuda.syncwarp()
    out[31 - t] = a[t]


def test_a_barrier_orders_global_writes_of_a_block():
    a, out = numbers(32), np.zeros(32, "f4")
    report = launch(two_writes_without_a_barrier, 1, 32, (a, out))
    only(report, "global-race", marked(two_writes_without_a_barrier), "out")
    for twin in (two_writes_with_a_barrier, two_writes_with_a_warp_barrier):
        assert not launch(twin, 1, 32, (numbers(32), np.zeros(32, "f4"))).findings


# ---------------------------------------------------------------------------------------- one block, global memory


def reads_a_neighbours_write(x, out):
    t = cuda.threadIdx.x
    x[t] = t
    out[t] = x[t ^ 40]  # <-


def reads_it_after_a_barrier(x, out):
    t = cuda.threadIdx.x
    x[t] = t
    cuda.syncthreads()
    out[t] = x[t ^ 40]


def shifts_in_place(x, out):
    t = cuda.threadIdx.x
    x[t] = x[(t + 1) % 64]  # <-
    out[t] = 0


def shifts_with_a_barrier(x, out):
    t = cuda.threadIdx.x
    v = x[(t + 1) % 64]
    cuda.syncthreads()
    x[t] = v
    out[t] = 0


def rounds_without_a_second_barrier(x, out):
    t = cuda.threadIdx.x
    for k in range(3):
        v = x[(t + 33) % 64]
        cuda.syncthreads()
        x[t] = v + k  # <-
    out[t] = 0


def rounds(x, out):
    t = cuda.threadIdx.x
    for k in range(3):
        v = x[(t + 33) % 64]
        cuda.syncthreads()
        x[t] = v + k
        cuda.syncthreads()
    out[t] = 0


def first_one_is_read_by_all(x, out):
    t = cuda.threadIdx.x
    if t == 0:
        x[0] = 3
    out[t] = x[t // 64]  # <-


def first_one_is_read_in_time(x, out):
    t = cuda.threadIdx.x
    if t == 0:
        x[0] = 3
    cuda.syncthreads()
    out[t] = x[t // 64]


def all_read_and_the_first_writes(x, out):
    t = cuda.threadIdx.x
    out[t] = x[0]
    if t == 0:
        x[0] = 3  # <-


def the_first_writes_later(x, out):
    t = cuda.threadIdx.x
    out[t] = x[0]
    cuda.syncthreads()
    if t == 0:
        x[0] = 3


def other_warps_go_on(x, out):
    t = cuda.threadIdx.x
    x[t] = t
    cuda.syncwarp()
    out[t] = x[t ^ 32]  # <-


def a_warp_among_itself(x, out):
    t = cuda.threadIdx.x
    x[t] = t
    cuda.syncwarp()
    out[t] = x[t ^ 16]
    cuda.syncwarp()
    x[t ^ 8] = out[t]


@pytest.mark.parametrize("blocks", [1, 300])
@pytest.mark.parametrize(
    ("kernel", "twin"),
    [
        (reads_a_neighbours_write, reads_it_after_a_barrier), (shifts_in_place, shifts_with_a_barrier),
        (first_one_is_read_by_all, first_one_is_read_in_time),
        (all_read_and_the_first_writes, the_first_writes_later), (other_warps_go_on, a_warp_among_itself),
    ],
)  # fmt: skip
def test_a_race_of_one_block_through_global_memory(kernel, twin, blocks):
    def of_the_block(kernel):
        def each(x, out):
            kernel(x[cuda.blockIdx.x], out[cuda.blockIdx.x])

        return each

    kernels = [kernel, twin]
    x, out = numbers(64 * blocks, "i4"), np.zeros(64 * blocks, "i4")
    if blocks > 1:  # every block has its own row
        x, out = x.reshape(blocks, 64), out.reshape(blocks, 64)
        kernels = [of_the_block(cuda.jit(device=True)(k)) for k in kernels]
    report = launch(kernels[0], blocks, 64, (x, out))
    f = only(report, "global-race", marked(kernel), "x")
    assert len(f.threads) == 2
    assert f.threads[0] != f.threads[1]
    assert "the same block" in f.message
    assert not launch(kernels[0], blocks, 64, (x, out), global_races=False).findings
    assert not launch(kernels[1], blocks, 64, (x, out)).findings


def test_a_missing_second_barrier_shows_in_the_next_round():
    x, out = numbers(64, "i4"), np.zeros(64, "i4")
    found = launch(rounds_without_a_second_barrier, 1, 64, (x, out)).findings
    assert {f.kind for f in found} == {"global-race"}
    assert marked(rounds_without_a_second_barrier) - 2 in {f.line for f in found}
    assert not launch(rounds, 1, 64, (x, out)).findings


def waits_for_a_flag(x, flag, out):
    t = cuda.threadIdx.x
    if t == 40:
        x[0] = 7
        cuda.threadfence_block()
        cuda.atomic.exch(flag, 0, 1)
    if t == 0:
        while cuda.atomic.cas(flag, 0, 1, 1) != 1:
            pass
        cuda.threadfence_block()
        out[0] = x[0]


def test_threads_that_order_themselves_by_atomics_are_let_off():
    out = np.zeros(1, "i4")
    assert not launch(waits_for_a_flag, 1, 64, (np.zeros(1, "i4"), np.zeros(1, "i4"), out)).findings
    assert out[0] == 7


# ---------------------------------------------------------------------------------------- divergence


def barrier_in_a_branch(a, out):
    t = cuda.threadIdx.x
    if t < 40:
        cuda.syncthreads()  # <-
    out[t] = a[t]


def barrier_for_all(a, out):
    t = cuda.threadIdx.x
    if t < 40:
        out[t] = 0
    cuda.syncthreads()
    out[t] = a[t]


def two_barriers(a, out):
    t = cuda.threadIdx.x
    if a[t] > 40:
        cuda.syncthreads()  # <-
        out[t] = a[t]
    else:
        out[t] = 1
        cuda.syncthreads()
        out[t] = a[t] + 2


def barrier_after_return(a, out):
    t = cuda.threadIdx.x
    if t >= 50:
        return
    out[t] = a[t]
    cuda.syncthreads()  # <-
    out[t] += 1


def test_divergent_barrier():
    a, out = numbers(64), np.zeros(64, "f4")
    only(launch(barrier_in_a_branch, 1, 64, (a, out)), "divergent-barrier", marked(barrier_in_a_branch))
    only(launch(two_barriers, 1, 64, (a, out)), "divergent-barrier")
    f = only(launch(barrier_after_return, 2, 64, (a, out), global_races=False), "divergent-barrier",
             marked(barrier_after_return))  # fmt: skip
    assert f.threads[1] == (50, 0, 0)
    assert "14 of the block's 64 threads have returned without reaching it" in f.message
    assert not launch(barrier_for_all, 1, 64, (a, out)).findings
    assert not launch(barrier_for_all, 1, 50, (a, out)).findings  # the last warp is partial: no fault


def barrier_that_some_go_around(a, out):
    t = cuda.threadIdx.x
    for k in range(3):
        if k == 1 and t < 40:
            cuda.syncthreads()  # <-
        out[t] += a[t]


def barrier_in_a_loop_that_some_leave(a, out):
    t = cuda.threadIdx.x
    for k in range(3):
        if k == 1 and t >= 40:
            return
        cuda.syncthreads()  # <-
        out[t] += a[t]


def test_a_divergent_barrier_tells_where_the_others_are():
    a, out = numbers(64), np.zeros(64, "f4")
    for kernel, words in (
        (barrier_in_a_branch, "24 of the block's 64 threads go around it"),
        (barrier_that_some_go_around, "24 of the block's 64 threads go around it"),
        (barrier_in_a_loop_that_some_leave, "24 of the block's 64 threads have returned without reaching it"),
        (two_barriers, "wait here, "),
    ):
        (f,) = launch(kernel, 1, 64, (a, out)).findings
        assert f.kind == "divergent-barrier"
        assert words in f.message, f.message


def shuffle_in_a_branch(a, out):
    t = cuda.threadIdx.x
    v = a[t]
    if t < 16:
        v += cuda.shfl_down_sync(0xFFFFFFFF, v, 8)  # <-
    out[t] = v


def shuffle_for_all(a, out):
    t = cuda.threadIdx.x
    v = a[t]
    w = cuda.shfl_down_sync(0xFFFFFFFF, v, 8)
    out[t] = v + w if t < 16 else v


def test_divergent_shuffle():
    a, out = numbers(32), np.zeros(32, "f4")
    f = only(launch(shuffle_in_a_branch, 1, 32, (a, out)), "divergent-warp-operation", marked(shuffle_in_a_branch))
    assert f.threads[1] == (16, 0, 0)
    assert not launch(shuffle_for_all, 1, 32, (a, out)).findings
    assert out.tolist() == [t + t + 8 if t < 16 else t for t in range(32)]


# ---------------------------------------------------------------------------------------- limits


def test_limits_of_the_target():
    a, out = numbers(4096), np.zeros(4096, "f4")
    assert "50,000 bytes" in only(launch(writes_inside, 1, 32, (a, out), shared_bytes=50000), "limit").message
    assert "300" in only(launch(writes_inside, 1, 32, (a, out), registers=300), "limit").message
    assert not launch(writes_inside, 1, 32, (a, out), shared_bytes=48 * 1024, registers=255).findings


# ---------------------------------------------------------------------------------------- reads of other blocks


def neighbour_in_place(x):
    i = cuda.grid(1)
    x[i] = x[(i + 32) % x.shape[0]] + 1.0  # <-


def neighbour_into_another(x, y):
    i = cuda.grid(1)
    y[i] = x[(i + 32) % x.shape[0]] + 1.0


def neighbour_after_a_grid_barrier(x):
    i = cuda.grid(1)
    v = x[(i + 32) % x.shape[0]]
    cuda.cg.this_grid().sync()
    x[i] = v + 1.0


def own_block_in_place(x):
    i = cuda.grid(1)
    v = x[i ^ 1]
    cuda.syncthreads()
    x[i] = v + 1.0


@pytest.mark.parametrize("blocks", [3, 700])  # 700 blocks of 32 threads are more than one batch
def test_a_block_reads_what_another_writes(blocks):
    x = np.zeros(32 * blocks, "f4")
    f = only(launch(neighbour_in_place, blocks, 32, (x,)), "global-race", marked(neighbour_in_place), "x")
    assert f.address % 4 == 0
    assert not launch(neighbour_in_place, blocks, 32, (x,), global_races=False).findings
    assert not launch(neighbour_into_another, blocks, 32, (x, np.zeros_like(x))).findings
    if blocks == 3:
        assert not launch(neighbour_after_a_grid_barrier, blocks, 32, (x,)).findings
    assert not launch(own_block_in_place, blocks, 32, (x,)).findings
    assert not launch(neighbour_in_place, 1, 32, (x[:32],)).findings


def test_two_views_of_one_buffer_race_between_blocks():
    whole = np.zeros(96, "f4")
    found = launch(neighbour_into_another, 3, 32, (whole, whole[:])).findings
    assert [f.kind for f in found] == ["global-race"]


def first_block_sums(x, total):
    if cuda.blockIdx.x == 0 and cuda.threadIdx.x == 0:
        for k in range(total.shape[0]):
            x[0] += total[k]  # <-
    total[cuda.blockIdx.x] = 1.0


def last_block_sums(x, total, tickets):
    if cuda.threadIdx.x == 0:
        total[cuda.blockIdx.x] = 1.0
        cuda.threadfence()
        if cuda.atomic.add(tickets, 0, 1) == cuda.gridDim.x - 1:
            for k in range(total.shape[0]):
                x[0] += total[k]


def summed_by_atomics(x, total):
    if cuda.threadIdx.x == 0:
        cuda.atomic.add(total, 0, 1.0)
        x[cuda.blockIdx.x] = total[1]


def test_results_of_other_blocks_need_an_order():
    f = launch(first_block_sums, 4, 32, (np.zeros(1, "f4"), np.zeros(4, "f4"))).findings
    assert {x.kind for x in f} == {"global-race"}
    assert {x.array for x in f} == {"total"}
    x = np.zeros(1, "f4")
    assert not launch(last_block_sums, 4, 32, (x, np.zeros(4, "f4"), np.zeros(1, "i4"))).findings
    assert x[0] == 4
    assert not launch(summed_by_atomics, 4, 32, (np.zeros(4, "f4"), np.zeros(2, "f4"))).findings


def all_read_first_writes(x, out):
    out[cuda.grid(1)] = x[5]
    if cuda.grid(1) == 1:
        x[5] = 2.0  # <-


def test_the_first_reader_may_be_of_the_block_that_writes():
    x, out = np.zeros(8, "f4"), np.zeros(64, "f4")
    f = only(launch(all_read_first_writes, 2, 32, (x, out)), "global-race", marked(all_read_first_writes), "x")
    assert f.threads == ((1, 0, 0), (0, 0, 0))
    assert "of block (1, 0, 0) reads" in f.message
    f = only(launch(all_read_first_writes, 1, 32, (x, out)), "global-race", marked(all_read_first_writes), "x")
    assert "of the same block reads" in f.message


@pytest.mark.parametrize("reader", [0, 1])
@pytest.mark.parametrize("blocks_between", [0, 600])
def test_the_threads_of_a_race_between_blocks_are_named(reader, blocks_between):
    """Whichever comes first here, the read or the write: the other order is a race just as well."""
    far = 1 + blocks_between

    def kernel(x, out, reader, writer):
        if cuda.blockIdx.x == reader and cuda.threadIdx.x == 3:
            out[0] = x[5]
        if cuda.blockIdx.x == writer and cuda.threadIdx.x == 4:
            x[5] = 2.0

    places = (0, far) if reader == 0 else (far, 0)
    report = launch(kernel, far + 1, 32, (np.zeros(8, "f4"), np.zeros(1, "f4"), *places))
    (f,) = report.findings
    assert (f.kind, f.array, f.address, f.count) == ("global-race", "x", 20, 1)
    assert sorted(f.threads) == [(3, 0, 0), (4, 0, 0)]


def some_wait_for_the_warp(out):
    t = cuda.threadIdx.x
    if t < 2:
        out[t] = 1.0
        cuda.syncwarp()  # <-
        out[t] *= 2.0
    if out.shape[0] > 2:
        cuda.syncthreads()


def test_lanes_that_return_hold_up_no_warp_barrier():
    """As in Numba's own cuda.reduce; lanes that live on and stay away are waited for in vain."""
    out = np.zeros(2, "f4")
    launch(some_wait_for_the_warp, 1, 64, (out,), strict=True)
    assert out.tolist() == [2, 2]
    report = launch(some_wait_for_the_warp, 1, 64, (np.zeros(3, "f4"),))
    only(report, "divergent-warp-operation", marked(some_wait_for_the_warp))
