"""Findings and counts inside device functions stand at the device function's own line."""

import importlib.util
import inspect
import textwrap

import numpy as np
import pytest
from numba import cuda, types

from scc_numba.emulator import launch


def marked(dispatcher, mark="<-"):
    lines, start = inspect.getsourcelines(dispatcher.py_func)
    (found,) = [start + k for k, line in enumerate(lines) if "# " + mark in line]
    return found


@cuda.jit(device=True)
def neighbour(a, i):
    return a[i + 1]  # <-


@cuda.jit(device=True)
def doubled(a, i):
    two = 2.0
    return two * neighbour(a, i)


@cuda.jit(device=True, lineinfo=True)
def with_lines(a, i):
    return a[i + 1]  # <-


def caller(function):
    def kernel(a, out):
        i = cuda.grid(1)
        if i < out.shape[0]:
            out[i] = function(a, i)

    return kernel


@pytest.mark.parametrize("compiled_before", [False, True])
def test_a_finding_is_at_the_device_functions_line(compiled_before):
    kernel = caller(doubled)
    if compiled_before:  # without line numbers, as for a GPU; that version must not be used, nor be lost
        from scc_numba.emulator.compiler import pretend_device
        from scc_numba.emulator.targets import find_target

        with pretend_device(find_target("sm_90")):
            cuda.compile_ptx(kernel, (types.float64[::1], types.float64[::1]), cc=(9, 0))
    before = dict(neighbour.overloads), dict(neighbour.targetoptions)
    assert bool(before[0]) >= compiled_before
    out = np.zeros(32)
    report = launch(kernel, 1, 32, (np.ones(32), out))
    (f,) = report.findings
    assert (f.kind, f.line, f.array) == ("out-of-bounds", marked(neighbour), "a")
    assert out.tolist() == [2.0] * 31 + [0.0]
    lines = {line.line: line for line in report.lines}
    assert lines[marked(neighbour)].global_load.requests == 1
    assert lines[marked(neighbour) + 6].flops == 32
    assert (dict(neighbour.overloads), dict(neighbour.targetoptions)) == before
    assert not launch(kernel, 1, 32, (np.ones(33), out)).findings


def test_lineinfo_of_ones_own_gives_the_same():
    a, out = np.ones(32), np.zeros(32)
    (f,) = launch(caller(with_lines), 1, 32, (a, out)).findings
    assert f.line == marked(with_lines)


def test_a_device_function_with_signatures(monkeypatch):
    from scc_numba.emulator.compiler import pretend_device
    from scc_numba.emulator.targets import find_target

    with pretend_device(find_target("sm_90")):

        @cuda.jit("float64(float64[::1], int64)", device=True)
        def ahead(a, i):
            return a[i + 1]  # <-

    out = np.zeros(32)
    (f,) = launch(caller(ahead), 1, 32, (np.ones(32), out)).findings
    assert f.line == marked(ahead)
    assert out.tolist() == [1.0] * 31 + [0.0]


def test_a_device_function_of_another_file(tmp_path):
    path = tmp_path / "helpers.py"
    path.write_text(
        textwrap.dedent("""
            from numba import cuda

            @cuda.jit(device=True)
            def far(a, i):
                return a[i + 1]
        """)
    )
    spec = importlib.util.spec_from_file_location("helpers", path)
    helpers = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(helpers)
    (f,) = launch(caller(helpers.far), 1, 32, (np.ones(32), np.zeros(32))).findings
    assert (f.line, f.file) == (6, str(path))


def test_the_same_line_of_two_files_is_two_findings(tmp_path):
    functions = []
    for name in ("one", "two"):
        path = tmp_path / f"{name}.py"
        path.write_text(f"from numba import cuda\n@cuda.jit(device=True)\ndef {name}(a, i):\n    return a[i + 1]\n")
        spec = importlib.util.spec_from_file_location(name, path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        functions.append(getattr(module, name))
    one, two = functions

    def both(a, out):
        i = cuda.grid(1)
        out[i] = one(a, i) + two(a, i + 1)

    found = launch(both, 1, 32, (np.ones(32), np.zeros(32))).findings
    assert {f.file for f in found} == {str(tmp_path / "one.py"), str(tmp_path / "two.py")}


# ---------------------------------------------------------------------------------------- exceptions


@cuda.jit(device=True)
def refuses(v, n):
    if v == n:
        raise ValueError("no such value")  # <-
    if v == n + 1:
        raise IndexError("nor this")
    return v + 1


@cuda.jit(device=True)
def passes_on(v, n):
    if v == 77:
        raise KeyError("seventy-seven")  # <-
    return refuses(v, n) + 1


def raising(x, n):
    i = cuda.grid(1)
    if i == 50:
        raise RuntimeError("fifty")
    x[i] = passes_on(x[i], n)


@pytest.mark.parametrize(
    ("value", "n", "what", "line"),
    [
        (5, 5, "raises ValueError: no such value in device function refuses", marked(refuses)),
        (6, 5, "raises IndexError: nor this in device function refuses", marked(refuses) + 2),
        (77, 5, "raises KeyError: seventy-seven in device function passes_on", marked(passes_on)),
    ],
)
def test_an_exception_names_the_device_function_and_its_line(value, n, what, line):
    x = np.zeros(32, np.int64)
    x[7] = value
    report = launch(raising, 1, 32, (x, n), options={"debug": True})
    (f,) = report.findings
    assert what in f.message
    assert (f.kind, f.line, f.threads, f.count) == ("trap", line, ((7, 0, 0),), 1)
    x[7] = 1
    assert not launch(raising, 1, 32, (x, n), options={"debug": True}).findings


def test_exceptions_of_kernel_and_device_function_are_told_apart():
    x = np.arange(64)
    found = launch(raising, 1, 64, (x, 5), options={"debug": True}).findings
    assert sorted(f.message.split(" (")[0] for f in found) == [
        "raises IndexError: nor this in device function refuses",
        "raises RuntimeError: fifty",
        "raises ValueError: no such value in device function refuses",
    ]
