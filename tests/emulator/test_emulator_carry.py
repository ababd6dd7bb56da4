"""The carry flag: it outlives dead results, branches and barriers; and sines of large arguments, which need it."""

import math

import numpy as np
import pytest
from numba import cuda

from scc_numba.emulator import EmulatorError, PtxError, PtxKernel, launch

ONES, TOP = 0xFFFFFFFF, 0xFFFFFFF1


def run(body, lanes=1):
    """What a body leaves in %r9 of each lane; %r1 and %r2 hold ONES and TOP, %r3 the lane's number."""
    text = f"""
.version 8.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 p)
{{
.reg .b64 %rd<9>; .reg .b32 %r<12>; .reg .pred %p<4>;
ld.param.u64 %rd1, [p]; mov.u32 %r3, %tid.x; mul.wide.u32 %rd2, %r3, 4; add.s64 %rd3, %rd1, %rd2;
mov.u32 %r1, {ONES}; mov.u32 %r2, {TOP}; mov.u32 %r9, 77;
{body}
st.global.u32 [%rd3], %r9; ret;
}}
"""
    out = np.zeros(lanes, np.uint32)
    launch(PtxKernel(text, ("pointer",)), 1, lanes, (out,), strict=True)
    return out.tolist()


@pytest.mark.parametrize(
    ("body", "carry"),
    [
        ("add.cc.u32 %r4, %r1, %r2; addc.u32 %r9, 0, 0;", 1),
        ("sub.cc.u32 %r4, %r2, %r1; subc.u32 %r4, 5, 0; sub.u32 %r9, 5, %r4;", 1),
        ("mad.lo.cc.u32 %r4, %r1, %r2, %r2; madc.hi.u32 %r9, 0, 0, 0;", (ONES * TOP % 2**32 + TOP) >> 32),
        ("mad.hi.cc.u32 %r4, %r1, %r2, %r2; madc.lo.u32 %r9, 0, 0, 0;", ((ONES * TOP >> 32) + TOP) >> 32),
        ("add.cc.u32 %r4, %r1, %r2; add.cc.u32 %r5, 1, 1; addc.u32 %r9, 0, 0;", 0),
        ("add.cc.u32 %r4, %r1, %r2; addc.cc.u32 %r5, 1, 1; addc.u32 %r9, 0, 0;", 0),
        ("add.cc.u32 %r4, 1, 1; add.cc.u32 %r5, %r1, %r2; addc.u32 %r9, 0, 0;", 1),
        ("add.cc.u32 %r4, %r1, %r2; bra $X; $X: addc.u32 %r9, 0, 0;", 1),
        ("add.cc.u32 %r4, %r1, %r2; bar.sync 0; addc.u32 %r9, 0, 0;", 1),
        ("add.cc.u32 %r4, %r1, %r2; mov.u32 %r6, 3; $L: sub.u32 %r6, %r6, 1; setp.ne.u32 %p1, %r6, 0; "
         "@%p1 bra $L; addc.u32 %r9, 0, 0;", 1),
    ],
)  # fmt: skip
def test_a_carry_outlives_a_dead_result_and_its_block(body, carry):
    assert run(body) == [carry]


def test_each_lane_has_its_own_carry():
    guarded = "add.cc.u32 %r4, 1, 1; setp.gt.u32 %p1, %r3, 3; @%p1 add.cc.u32 %r4, %r1, %r2; addc.u32 %r9, 0, 0;"
    assert run(guarded, 8) == [0] * 4 + [1] * 4
    apart = (
        "add.cc.u32 %r4, 1, 1; setp.gt.u32 %p1, %r3, 3; @%p1 bra $A; bra $E; "
        "$A: add.cc.u32 %r4, %r1, %r2; $E: bar.sync 0; addc.u32 %r9, 0, 0;"
    )
    assert run(apart, 8) == [0] * 4 + [1] * 4


def test_a_carry_from_nowhere_is_refused():
    with pytest.raises(PtxError, match=r"PTX line 10, column 1: the carry is read, but no instruction with \.cc"):
        run("addc.u32 %r9, 0, 0;")


def test_an_unbound_name_in_generated_code_is_an_error_of_the_emulators(monkeypatch):
    from scc_numba.emulator import frontend
    from scc_numba.emulator.codegen import EMITTERS

    monkeypatch.setitem(EMITTERS, "sad", lambda w, i: w.assign(i.args[0], "no_such_name", "u4"))
    monkeypatch.setattr(frontend, "_texts", {})
    with pytest.raises(EmulatorError, match=r"PTX line \d+.*no_such_name"):
        run("sad.u32 %r9, %r1, %r2, %r3;")


def sine(out, x):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = math.sin(x[i])


def cosine(out, x):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = math.cos(x[i])


def tangent(out, x):
    i = cuda.grid(1)
    if i < x.size:
        out[i] = math.tan(x[i])


# The largest errors, in units of the last place, that CUDA's manual states for these functions.
BOUNDS = {
    ("float32", sine): 2, ("float32", cosine): 2, ("float32", tangent): 4,
    ("float64", sine): 2, ("float64", cosine): 2, ("float64", tangent): 2,
}  # fmt: skip


@pytest.mark.parametrize("target", ["sm_75", "sm_90"])
@pytest.mark.parametrize(("kind", "kernel"), list(BOUNDS))
def test_trigonometry_over_the_whole_range(kind, kernel, target):
    random = np.random.default_rng(7)
    top = 127 if kind == "float32" else 1023
    x = np.ldexp(random.uniform(1, 2, 3000), random.integers(-20, top + 1, 3000))
    x = np.concatenate([x, -x[:500], [105616.0, 105615.0, 1e5, 2e5, 1e6, 0.0, -0.0, np.finfo(kind).max]])
    x = x.astype(kind)
    out = np.zeros_like(x)
    launch(kernel, -(-len(x) // 128), 128, (out, x), target=target, strict=True)
    exact = {sine: math.sin, cosine: math.cos, tangent: math.tan}[kernel]
    want = np.array([exact(float(v)) for v in x])
    last_place = np.spacing(np.abs(want).astype(kind)).astype(float)
    # The reference's own error, half a place of float64, comes on top where that is the type compared.
    slack = 1 if kind == "float64" else 0.5
    assert (np.abs(out.astype(float) - want) / last_place).max() <= BOUNDS[kind, kernel] + slack
