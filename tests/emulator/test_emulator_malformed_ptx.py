"""Malformed PTX is refused before anything runs, by an error that names line, column and what is wrong."""

import contextlib
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scc_numba.emulator import EmulatorError, PtxError, PtxKernel, launch

TEXT = """.version 8.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 a, .param .u32 n)
{
.reg .b64 %rd<4>;
.reg .b32 %r<4>;
.reg .f32 %f<4>;
.reg .pred %p<2>;
ld.param.u64 %rd1, [a];
ld.param.u32 %r1, [n];
mov.u32 %r2, %tid.x;
setp.ge.u32 %p1, %r2, %r1;
@%p1 bra $end;
mul.wide.u32 %rd2, %r2, 4;
add.s64 %rd3, %rd1, %rd2;
ld.global.f32 %f1, [%rd3];
add.rn.f32 %f2, %f1, %f1;
st.global.f32 [%rd3], %f2;
$end:
ret;
}
"""


def run(text, strict=True):
    a = np.arange(32, dtype="f4")
    launch(PtxKernel(text, ("pointer", "u4")), 1, 32, (a, 20), strict=strict, max_steps=1000)
    return a


def test_the_text_itself_is_right():
    expected = np.arange(32, dtype="f4")
    expected[:20] *= 2
    assert (run(TEXT) == expected).all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[a];", "[b];", "line 10, column 21: .*parameter 'b'.*a, n"),
        ("[n];", "[n+4];", "line 11, column 20: .*byte 4 of parameter 'n', which has 4"),
        ("%rd2, %r2, 4", "%rd2, %r7, 4", r"line 15, column 20: .*%r7 is beyond.*%r<4>.*%r0 to %r3"),
        ("%rd2, %r2, 4", "%rd2, %q2, 4", "line 15, column 20: .*'%q2' is neither a register"),
        ("%rd2, %r2, 4", "%rd9, %r2, 4", "line 15, column 14: .*%rd9 is beyond.*%rd<4>"),
        ("%rd2, %r2, 4", "%rd2, %r3, 4", "line 15, column 20: register %r3 is read, but nothing has written it"),
        ("@%p1 bra", "@%p0 bra", "line 14, column 2: register %p0 is read, but nothing has written it"),
        ("@%p1 bra", "@!%p5 bra", "line 14, column 3: .*%p5 is beyond"),
        ("[%rd3], %f2", "[%rd0], %f2", "line 19, column 16: register %rd0 is read"),
        ("%f2, %f1, %f1", "%f2, %f1", "line 18, column 1: add.rn.f32 takes 3 operands, 2 are given"),
        ("%f2, %f1, %f1", "%f2, %f1, %f1, %f1", "line 18, column 1: add.rn.f32 takes 3 operands, 4 are given"),
        ("mov.u32 %r2, %tid.x", "mov.u32 %r2", "line 12, column 1: mov.u32 takes 2 operands, 1 is given"),
        ("mov.u32 %r2, %tid.x", "mov.u32 %r2, %tid.w", "line 12, column 14: '%tid.w'"),
        ("bra $end", "bra $over", r"line 14, column 10: .*label '\$over'"),
        ("[%rd3], %f2", "[place], %f2", "line 19, column 16: 'place'"),
        ("[%rd3], %f2", "[%rd3], {%f2}", "line 19, column 24: .*1 value in braces"),
        ("ld.global.f32 %f1", "ld.global.v2.f32 %f1", "line 17, column 18: .*moves 2"),
        ("%rd2, %r2, 4", "%rd2, %r2, 4x", "line 15, column 25: .*'4x'"),
        ("%r2, %r1;", "%r2, %p1;", r"line 13, column 23: %p1 is a \.pred"),
        ("%r2, %tid.x;", "%r3, %r2;\nmov.u32 %r2, %tid.x;", "line 12, column 14: register %r2 is read"),
        ("ret;", "call.uni somewhere, (n);", "line 21, column 10: .*somewhere"),
        ("ret;\n}", "ret;\n}\n}", "line 23, column 1: a brace closes that has not opened"),
        (".visible", "} .visible", "line 4, column 1: a brace closes that has not opened"),
        ("mul.wide.u32", "mul.wide.rn.u32", r"line 15, column 1: \.rn does not go with mul of \.u32"),
        ("add.rn.f32", "add.wide.f32", r"line 18, column 1: \.wide does not go with add of \.f32"),
        ("add.s64 %rd3", "add.fast.s64 %rd3", r"line 16, column 1: \.fast does not go with add of \.s64"),
        ("%rd2, %r2, 4", "%rd2, %r2, 4294967296", "line 15, column 25: 4294967296 does not fit mul.wide.u32"),
        ("%rd2, %r2, 4", "%rd2, %r2, -2147483649", "line 15, column 2[56]: -2147483649 does not fit"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_line_and_column(old, new, message):
    assert old in TEXT
    with pytest.raises(PtxError, match="PTX " + message):
        run(TEXT.replace(old, new))


def test_several_statements_on_one_line_keep_their_columns():
    text = TEXT.replace("[a];\nld.param", "[a]; ld.param").replace("[n]", "[m]")
    with pytest.raises(PtxError, match=r"PTX line 10, column 44: .*'m'"):
        run(text)


CALL = """.version 8.0
.target sm_90
.address_size 64
.func (.param .b32 back) twice(.param .b32 value)
{
.reg .b32 %r<3>;
ld.param.u32 %r1, [value];
add.s32 %r2, %r1, %r1;
st.param.b32 [back], %r2;
ret;
}
.visible .entry k(.param .u64 a)
{
.reg .b64 %rd<2>;
.reg .b32 %r<3>;
ld.param.u64 %rd1, [a];
mov.u32 %r1, 21;
{
.param .b32 param0;
st.param.b32 [param0], %r1;
.param .b32 retval0;
call.uni (retval0), twice, (param0);
ld.param.b32 %r2, [retval0];
}
st.global.u32 [%rd1], %r2;
ret;
}
"""


def test_calls_hand_over_what_the_function_takes():
    a = np.zeros(1, "i4")
    launch(PtxKernel(CALL, ("pointer",)), 1, 1, (a,), strict=True)
    assert a[0] == 42
    for old, new, message in (
        ("twice, (param0)", "twice", "line 22, column 1: twice takes 1 argument, 0 are given"),
        ("twice, (param0)", "twice, (param0, param0)", "line 22, column 1: twice takes 1 argument, 2 are given"),
        ("(retval0), twice", "twice", "line 22, column 1: twice gives 1 result, 0 are taken"),
        ("twice, (param0)", "twice, (param9)", "line 22, column 29: .*parameter 'param9'"),
        ("[retval0];", "[retval1];", "line 23, column 20: .*parameter 'retval1'"),
        ("[value]", "[wert]", "line 7, column 20: .*parameter 'wert'"),
        ("[back]", "[front]", "line 9, column 15: .*parameter 'front'"),
    ):
        with pytest.raises(PtxError, match="PTX " + message):
            launch(PtxKernel(CALL.replace(old, new), ("pointer",)), 1, 1, (a,))


def test_registers_that_a_compiler_leaves_open_are_no_mistake():
    # LLVM marks a value that may be anything so, and then reads it.
    text = TEXT.replace("%f2, %f1, %f1", "%f2, %f1, %f0")
    with pytest.raises(PtxError, match="%f0 is read"):
        run(text)
    run(text.replace("ld.global", "// implicit-def: %f0\nld.global"))


def test_a_structure_as_parameter_is_refused():
    text = TEXT.replace(".param .u32 n", ".param .align 8 .b8 n[16]")
    with pytest.raises(EmulatorError, match=r"parameter n is a \.b8\[16\]"):
        run(text)


TOKENS = re.findall(r"%\w+(?:\.\w)?|\$?\w[\w.]*|[\[\]{},;:@!.$+]", TEXT)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_no_change_of_one_word_escapes_as_another_error(data):
    """Whatever one word is replaced by, the kernel runs or the error is the emulator's own."""
    spans = [m.span() for m in re.finditer(r"%\w+(?:\.\w)?|\$?\w[\w.]*|[\[\]{},;:@!.$+]", TEXT)]
    start, end = data.draw(st.sampled_from(spans))
    word = data.draw(st.sampled_from(["", *sorted(set(TOKENS)), "%r99", "_", "-1", "0fZZ", "{%r1, %r2}", "[%f1]"]))
    with contextlib.suppress(EmulatorError):
        run(TEXT[:start] + word + TEXT[end:], strict=False)


UNMARKED = """.version 8.0
.target sm_90
.address_size 64
.visible .entry k(.param .u64 p)
{
.reg .b64 %rd<4>; .reg .b32 %r<4>; .reg .pred %p<2>;
ld.param.u64 %rd1, [p]; mov.u32 %r1, %tid.x;
st.global.u32 [%rd1+4096], %r1;
st.global.u32 [%rd1+8192], %r1;
BODY
ret;
}
"""


def test_ptx_without_python_lines_is_spoken_of_by_its_own():
    kernel = PtxKernel(UNMARKED.replace("BODY", ""), ("pointer",))
    found = launch(kernel, 1, 32, (np.zeros(32, np.int32),)).findings
    first = UNMARKED[: UNMARKED.index("st.global")].count("\n") + 1
    assert [(f.line, f.ptx_line) for f in found] == [(0, first), (0, first + 1)]
    assert str(found[0]).startswith(f"out-of-bounds at PTX line {first}: ")
    assert f"(PTX line {first}, column 1, block" in found[0].message
    stuck = PtxKernel(UNMARKED.replace("BODY", "$L: bra $L;"), ("pointer",))
    with pytest.raises(EmulatorError, match=rf"threads run around PTX line\(s\) \[{first + 2}\]"):
        launch(stuck, 1, 32, (np.zeros(4096, np.int32),), max_steps=9)
    unknown = PtxKernel(UNMARKED.replace("BODY", "mad24.lo.u32 %r1, %r1, %r1, %r1;"), ("pointer",))
    with pytest.raises(EmulatorError, match=rf"\(PTX line {first + 2}, column 1\)"):
        launch(unknown, 1, 32, (np.zeros(4096, np.int32),))
