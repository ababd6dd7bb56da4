"""What fast kernels are made of: 128-bit loads, rings of asynchronous copies, tensor cores, half
precision."""

import numpy as np
import pytest
from llvmlite import ir
from numba import cuda, float32, uint32
from numba.cuda import types
from numba.cuda.extending import intrinsic

from scc_numba.emulator import PtxKernel, launch

F32, I32, I64, VOID = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.VoidType()


def assembly(builder, result, kinds, text, constraints, values, effect=True):
    function = ir.InlineAsm(ir.FunctionType(result, kinds), text, constraints, side_effect=effect)
    return builder.call(function, values)


def pointer(context, builder, kind, array, index):
    base = context.make_array(kind)(context, builder, value=array).data
    return builder.gep(base, [builder.zext(index, I64) if index.type.width < 64 else index])


@intrinsic
def copy16(typing, shared, at, source, start):
    """Copy four floats, asynchronously."""

    def code(context, builder, signature, args):
        s = pointer(context, builder, signature.args[0], args[0], args[1])
        g = pointer(context, builder, signature.args[2], args[2], args[3])
        s32 = builder.ptrtoint(builder.addrspacecast(s, F32.as_pointer(3)), I32)
        assembly(builder, VOID, [I32, I64], "cp.async.cg.shared.global [$0], [$1], 16;", "r,l,~{memory}",
                 [s32, builder.ptrtoint(g, I64)])  # fmt: skip
        return context.get_dummy_value()

    return types.void(shared, at, source, start), code


@intrinsic
def copy4(typing, shared, at, source, start, count):
    """Copy one float, or write zero where count is 0."""

    def code(context, builder, signature, args):
        s = pointer(context, builder, signature.args[0], args[0], args[1])
        g = pointer(context, builder, signature.args[2], args[2], args[3])
        s32 = builder.ptrtoint(builder.addrspacecast(s, F32.as_pointer(3)), I32)
        assembly(builder, VOID, [I32, I64, I32], "cp.async.ca.shared.global [$0], [$1], 4, $2;",
        "r,l,r,~{memory}",
                 [s32, builder.ptrtoint(g, I64), args[4]])  # fmt: skip
        return context.get_dummy_value()

    return types.void(shared, at, source, start, types.uint32), code


def statement(text):
    @intrinsic
    def run(typing):
        def code(context, builder, signature, args):
            assembly(builder, VOID, [], text, "~{memory}", [])
            return context.get_dummy_value()

        return types.void(), code

    return run


commit = statement("cp.async.commit_group;")
wait_all_but_one = statement("cp.async.wait_group 1;")
wait_all = statement("cp.async.wait_group 0;")

STAGES, WIDTH = 3, 128
ROOM = STAGES * WIDTH


def ring(a, out, wait_first, tiles):
    s = cuda.shared.array(ROOM, float32, alignment=16)
    t = uint32(cuda.threadIdx.x)
    for k in range(STAGES - 1):
        copy16(s, uint32(k * WIDTH) + t * uint32(4), a, uint32(k * WIDTH) + t * uint32(4))
        commit()
    total = float32(0)
    for k in range(tiles):
        if wait_first:
            wait_all_but_one()
        cuda.syncthreads()
        if k + STAGES - 1 < tiles:
            stage = uint32((k + STAGES - 1) % STAGES * WIDTH)
            copy16(s, stage + t * uint32(4), a, uint32((k + STAGES - 1) * WIDTH) + t * uint32(4))
        commit()
        for j in range(WIDTH):
            if j % 32 == t:
                total += s[k % STAGES * WIDTH + j]  # read
    out[t] = total


def test_a_ring_of_asynchronous_copies():
    tiles = 7
    a, out = np.random.default_rng(0).standard_normal(tiles * WIDTH).astype("f4"), np.zeros(32, "f4")
    report = launch(ring, 1, 32, (a, out, True, tiles), strict=True)
    assert np.allclose(out, a.reshape(-1, 32).sum(0), atol=1e-5)
    assert report.arrays["a"].load.requests == tiles
    assert report.arrays["a"].load.sectors == tiles * WIDTH * 4 // 32
    assert report.shared_store.requests == tiles
    report = launch(ring, 1, 32, (a, out, False, tiles))
    # The reads, and the copies into stages to which copies are still under way.
    assert {f.kind for f in report.findings} == {"copy-not-waited"}
    assert any("# read" in x.source for x in report.lines if x.findings)


def no_barrier(a, out):
    s = cuda.shared.array(32, float32)
    t = uint32(cuda.threadIdx.x)
    copy4(s, t, a, t, uint32(4))
    commit()
    wait_all()
    out[t] = s[uint32(31) - t]


def with_barrier(a, out):
    s = cuda.shared.array(32, float32)
    t = uint32(cuda.threadIdx.x)
    copy4(s, t, a, t if t < uint32(20) else uint32(0), uint32(4) if t < uint32(20) else uint32(0))
    commit()
    wait_all()
    cuda.syncthreads()
    out[t] = s[uint32(31) - t]


def test_waiting_is_for_oneself_only_and_short_copies_fill_with_zeros():
    a, out = np.arange(1, 33, dtype="f4"), np.zeros(32, "f4")
    assert [f.kind for f in launch(no_barrier, 1, 32, (a, out)).findings] == ["shared-race"]
    report = launch(with_barrier, 2, 32, (a, out), strict=True, global_races=False)
    assert out[::-1].tolist() == [t + 1.0 if t < 20 else 0.0 for t in range(32)]
    assert report.arrays["a"].load.lanes == 40  # lanes that copy nothing read nothing


def one_or_nothing(a, out, count):
    s = cuda.shared.array(1, float32)
    copy4(s, uint32(0), a, uint32(0), uint32(count))
    commit()
    wait_all()
    out[0] = s[0]


@pytest.mark.parametrize(("count", "copied"), [(4, 7.0), (0, 0.0)])
def test_a_copy_that_is_the_same_for_all_lanes(count, copied):
    a, out = np.full(1, 7, "f4"), np.full(1, np.nan, "f4")
    launch(one_or_nothing, 1, 1, (a, out, count), strict=True)
    assert out[0] == copied


def latest_group(a, out, which):
    s = cuda.shared.array(64, float32)
    t = uint32(cuda.threadIdx.x)
    copy4(s, t, a, t, uint32(4))
    commit()
    copy4(s, t + uint32(32), a, t + uint32(32), uint32(4))
    commit()
    wait_all_but_one()
    cuda.syncthreads()
    out[t] = s[t + uint32(which)]


def test_a_wait_leaves_the_latest_groups_in_flight():
    a, out = np.arange(64, dtype="f4"), np.zeros(32, "f4")
    launch(latest_group, 1, 32, (a, out, 0), strict=True)
    assert out.tolist() == list(range(32))
    assert [f.kind for f in launch(latest_group, 1, 32, (a, out, 32)).findings] == ["copy-not-waited"]


# ---------------------------------------------------------------------------------------- tensor cores


def product(name, kind, a_count, b_count):
    """An intrinsic for mma.sync with f32 accumulation: (c0..c3, a..., b...) -> (d0..d3)."""
    n = a_count + b_count
    slots = [f"${k}" for k in range(4, 4 + n + 4)]
    text = (
        f"mma.sync.aligned.{name}.row.col.f32.{kind}.{kind}.f32 {{$0,$1,$2,$3}}, "
        f"{{{','.join(slots[:a_count])}}}, "
        f"{{{','.join(slots[a_count:n])}}}, {{{','.join(slots[n:])}}};"
    )

    def build(signature_args):
        def code(context, builder, signature, args):
            struct = ir.LiteralStructType([F32] * 4)
            r = assembly(builder, struct, [I32] * n + [F32] * 4, text,
            ",".join(["=f"] * 4 + ["r"] * n + ["f"] * 4),
                         list(args[4:]) + list(args[:4]))  # fmt: skip
            return context.make_tuple(
                builder, signature.return_type, [builder.extract_value(r, k) for k in range(4)]
            )

        return types.UniTuple(types.float32, 4)(*[types.float32] * 4, *[types.uint32] * n), code

    return build


_tf32 = product("m16n8k8", "tf32", 4, 2)
_bf16 = product("m16n8k16", "bf16", 4, 2)
_f16 = product("m16n8k16", "f16", 4, 2)


@intrinsic
def mma_tf32(typing, c0, c1, c2, c3, a0, a1, a2, a3, b0, b1):
    return _tf32(None)


@intrinsic
def mma_bf16(typing, c0, c1, c2, c3, a0, a1, a2, a3, b0, b1):
    return _bf16(None)


@intrinsic
def mma_f16(typing, c0, c1, c2, c3, a0, a1, a2, a3, b0, b1):
    return _f16(None)


def tile_tf32(a, b, c):  # a: (16, 8) and b: (8, 8) as bits, c: (16, 8)
    g, t = cuda.laneid // 4, cuda.laneid % 4
    d0, d1, d2, d3 = mma_tf32(
        c[g, 2 * t], c[g, 2 * t + 1], c[g + 8, 2 * t], c[g + 8, 2 * t + 1],
        a[g, t], a[g + 8, t], a[g, t + 4], a[g + 8, t + 4], b[t, g], b[t + 4, g],
    )  # fmt: skip
    c[g, 2 * t], c[g, 2 * t + 1], c[g + 8, 2 * t], c[g + 8, 2 * t + 1] = d0, d1, d2, d3


def half_tile(mma):
    def kernel(a, b, c):  # a: (16, 8) pairs along k, b: (8, 8) pairs along k, c: (16, 8)
        g, t = cuda.laneid // 4, cuda.laneid % 4
        d0, d1, d2, d3 = mma(
            c[g, 2 * t], c[g, 2 * t + 1], c[g + 8, 2 * t], c[g + 8, 2 * t + 1],
            a[g, t], a[g + 8, t], a[g, t + 4], a[g + 8, t + 4], b[t, g], b[t + 4, g],
        )  # fmt: skip
        c[g, 2 * t], c[g, 2 * t + 1], c[g + 8, 2 * t], c[g + 8, 2 * t + 1] = d0, d1, d2, d3

    return kernel


def test_tf32_tiles():
    rng = np.random.default_rng(1)
    a, b = (rng.integers(-8, 8, s).astype("f4") for s in ((16, 8), (8, 8)))
    c = rng.integers(-8, 8, (16, 8)).astype("f4")
    want = a @ b + c
    report = launch(tile_tf32, 1, 32, (a.view("u4"), b.view("u4"), c), strict=True)
    assert (c == want).all()
    assert report.flops == 2 * 16 * 8 * 8
    # The thirteen bits that tf32 lacks are ignored.
    a, b = rng.standard_normal((16, 8)).astype("f4"), rng.standard_normal((8, 8)).astype("f4")
    c = np.zeros((16, 8), "f4")
    launch(tile_tf32, 1, 32, (a.view("u4"), b.view("u4"), c), strict=True)
    cut = lambda v: (v.view("u4") & np.uint32(0xFFFFE000)).view("f4").astype("f8")  # noqa: E731
    assert np.abs(c - cut(a) @ cut(b)).max() <= 1e-6


@pytest.mark.parametrize(("mma", "halves"), [
    (mma_bf16, lambda v: (v.view("u4") >> np.uint32(16)).astype("u2")),
    (mma_f16, lambda v: v.astype("f2").view("u2")),
])  # fmt: skip
def test_half_tiles(mma, halves):
    rng = np.random.default_rng(2)
    a, b = (rng.integers(-8, 8, s).astype("f4") for s in ((16, 16), (16, 8)))
    c = rng.integers(-8, 8, (16, 8)).astype("f4")
    want = a @ b + c
    pa = halves(a).reshape(16, 8, 2).astype("u4")
    pb = halves(b).reshape(8, 2, 8).astype("u4")
    launch(half_tile(mma), 1, 32, (pa[..., 0] | pa[..., 1] << 16, pb[:, 0] | pb[:, 1] << 16, c), strict=True)
    assert (c == want).all()


def test_a_partial_warp_cannot_multiply():
    a, b, c = np.zeros((16, 8), "u4"), np.zeros((8, 8), "u4"), np.zeros((16, 8), "f4")

    def partial(a, b, c):
        if cuda.laneid < 31:
            g, t = cuda.laneid // 4, cuda.laneid % 4
            d = mma_tf32(c[g, 0], c[g, 1], c[g, 2], c[g, 3], a[g, t], a[g, t], a[g, t], a[g, t], b[t, g], b[t, g])
            c[g, 4 + t] = d[0]

    assert [f.kind for f in launch(partial, 1, 32, (a, b, c)).findings] == ["divergent-warp-operation"]


# ---------------------------------------------------------------------------------------- half precision,
# warps


def halves_kernel(a, b, out):
    i = cuda.grid(1)
    out[i] = a[i] * b[i] + a[i] - b[i] / a[i]


def test_float16_arithmetic():
    rng = np.random.default_rng(3)
    a, b = (rng.uniform(0.5, 4, 64).astype("f2") for _ in range(2))
    out = np.zeros(64, "f2")
    launch(halves_kernel, 2, 32, (a, b, out), strict=True)
    assert (out == a * b + a - b / a).all()


def bfloats(a, b, out, wide):
    i = cuda.grid(1)
    out[i] = a[i] * b[i] + a[i] - b[i]
    wide[i] = float32(a[i]) * float32(b[i])


def test_bfloat16_arithmetic():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    rng = np.random.default_rng(4)
    a, b = (rng.standard_normal(64).astype(ml_dtypes.bfloat16) for _ in range(2))
    out, wide = np.zeros(64, ml_dtypes.bfloat16), np.zeros(64, "f4")
    launch(bfloats, 2, 32, (a, b, out, wide), strict=True)
    assert (out == a * b + a - b).all()
    assert (wide == a.astype("f4") * b.astype("f4")).all()


def warp_total(a, out):
    i = cuda.grid(1)
    v = a[i]
    for k in (16, 8, 4, 2, 1):
        v += cuda.shfl_xor_sync(0xFFFFFFFF, v, k)
    same = cuda.match_any_sync(0xFFFFFFFF, int(a[i]))
    _, agree = cuda.match_all_sync(0xFFFFFFFF, int(a[i]))
    out[i, 0] = v
    out[i, 1] = cuda.popc(same)
    out[i, 2] = cuda.all_sync(0xFFFFFFFF, a[i] >= 0) + 2 * cuda.any_sync(0xFFFFFFFF, a[i] > 6)
    out[i, 3] = agree
    out[i, 4] = cuda.ffs(cuda.activemask()) + cuda.clz(cuda.lanemask_lt())


def test_warp_operations():
    a = np.array([k % 8 for k in range(32)] + [5] * 32, "f4")
    out = np.zeros((64, 5))
    launch(warp_total, 1, 64, (a, out), strict=True)
    assert out[:, 0].tolist() == [112.0] * 32 + [160.0] * 32
    assert out[:, 1].tolist() == [4.0] * 32 + [32.0] * 32
    assert out[:, 2].tolist() == [3.0] * 32 + [1.0] * 32
    assert out[:, 3].tolist() == [0.0] * 32 + [1.0] * 32
    assert out[:, 4].tolist() == [1.0 + 32 - k for k in range(32)] * 2


SEGMENTS = """.version 8.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 out)
{
.reg .b64 %rd<4>; .reg .b32 %r<8>; .reg .pred %p<2>;
ld.param.u64 %rd1, [out]; mov.u32 %r1, %tid.x; mul.wide.u32 %rd2, %r1, 8; add.s64 %rd3, %rd1, %rd2;
shfl.sync.MODE.b32 %r2|%p1, %r1, 5, CONTROL, 0xffffffff;
selp.b32 %r3, 1, 0, %p1;
st.global.v2.u32 [%rd3], {%r2, %r3};
ret;
}
"""


@pytest.mark.parametrize("width", [4, 8, 16, 32])
@pytest.mark.parametrize("mode", ["up", "down", "bfly", "idx"])
def test_shuffles_within_segments(mode, width):
    out = np.zeros((32, 2), "i4")
    control = (32 - width) << 8 | (0 if mode == "up" else 31)
    text = SEGMENTS.replace("MODE", mode).replace("CONTROL", str(control))
    launch(PtxKernel(text, ("pointer",)), 1, 32, (out,), strict=True)
    for lane in range(32):
        start = lane - lane % width
        source = {"up": lane - 5, "down": lane + 5, "bfly": lane ^ 5, "idx": start + 5 % width}[mode]
        inside = source >= start if mode == "up" else source < start + width
        assert out[lane].tolist() == [source if inside else lane, inside], lane
