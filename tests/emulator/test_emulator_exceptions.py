"""Exceptions that kernels raise, PYTEST_DONT_REWRITE: a kernel's `assert` must reach Numba as it is."""

import inspect

import numpy as np
import pytest
from numba import cuda

from scc_numba.emulator import KernelFault, PtxKernel, launch


def marked(kernel):
    """The line of a kernel that carries the mark."""
    lines, start = inspect.getsourcelines(kernel)
    (found,) = [start + k for k, line in enumerate(lines) if "# <-" in line]
    return found


def refuses(x, n):
    i = cuda.grid(1)
    if i >= n:
        raise IndexError("too far")  # <-
    x[i] += 1


def asserts(x, n):
    i = cuda.grid(1)
    assert x[i] < n  # <-
    x[i] += 1


def divides(x, n):
    i = cuda.grid(1)
    x[i] = 100 // (n - i)  # <-


@cuda.jit(device=True)
def checked(v, n):
    if v == n:
        raise ValueError("no such value")  # <-
    return v + 1


def calls(x, n):
    i = cuda.grid(1)
    x[i] = checked(x[i], n)


@pytest.mark.parametrize(
    ("kernel", "n", "what", "thread", "harmless"),
    [
        (refuses, 60, "IndexError: too far", (60, 0, 0), 64),
        (asserts, 63, "AssertionError", (63, 0, 0), 64),
        (divides, 40, "ZeroDivisionError: ", (40, 0, 0), 64),
        (calls, 5, "ValueError: no such value in device function checked", (5, 0, 0), 64),
    ],
)
def test_a_raised_exception(kernel, n, what, thread, harmless):
    x = np.arange(64)
    report = launch(cuda.jit(debug=True, opt=False)(kernel), 1, 64, (x, n))
    (f,) = report.findings
    assert (f.kind, f.line) == ("trap", marked(checked.py_func if kernel is calls else kernel)), str(f)
    assert what in f.message
    assert f.threads == (thread,)
    assert f.count == (4 if kernel is refuses else 1)
    # The thread that raised went no further, the others did.
    want = {refuses: np.arange(64) + (np.arange(64) < n), asserts: np.arange(64) + (np.arange(64) < n)}.get(kernel)
    if want is not None:
        assert x.tolist() == want.tolist()
    twin = launch(kernel, 1, 64, (np.arange(64), harmless), options={"debug": True})
    assert not twin.findings, [str(f) for f in twin.findings]
    # Without debug=True Numba's compiler leaves no trace of the exception, on a GPU as here.
    assert not launch(kernel, 1, 64, (np.arange(64), n)).findings


def test_an_exception_without_checks_is_an_error():
    with pytest.raises(KernelFault, match=rf"IndexError: too far.*line {marked(refuses)}"):
        launch(refuses, 1, 64, (np.arange(64), 60), options={"debug": True}, checks=False)


POINTERS = """.version 9.4
.target sm_90, debug
.address_size 64
.visible .entry k(.param .u64 .ptr .align 1 a, .param .u64 .ptr .global .align 16 b, .param .u64 .ptr c)
{
.reg .b64 %rd<8>;
ld.param.b64 %rd1, [a]; ld.param.b64 %rd2, [b]; ld.param.b64 %rd3, [c];
ld.global.b64 %rd4, [%rd1]; ld.global.b64 %rd5, [%rd2]; add.s64 %rd6, %rd4, %rd5; st.global.b64 [%rd3], %rd6;
ret;
}
"""


def test_pointer_parameters_with_their_alignment():
    """As the compiler declares them with debug=True and for its newest targets."""
    out = np.zeros(1, np.int64)
    launch(PtxKernel(POINTERS, ("pointer",) * 3), 1, 1, (np.array([3]), np.array([4]), out), strict=True)
    assert out[0] == 7
