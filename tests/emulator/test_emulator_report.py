"""Reports can be read, kept and drawn; unmodified programs run; the benchmark's kernels are right."""

import io
import json
import os
import re
import runpy
import subprocess
import sys
import textwrap
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from numba import cuda, float32

from scc_numba.emulator import KINDS, bench, launch
from scc_numba.emulator.show import compare, summary

matplotlib.use("agg")


def transpose(a, b):
    s = cuda.shared.array((32, 32), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    for k in range(0, 32, 8):
        s[y + k, x] = a[y + k, x]
    cuda.syncthreads()
    for k in range(0, 32, 8):
        b[y + k, x] = s[x, y + k]
    if x == 31:
        b[y, x + 1000] = 1.0


@pytest.fixture(scope="module")
def report():
    a = np.arange(1024, dtype="f4").reshape(32, 32)
    return launch(transpose, 1, (32, 8), (a, np.zeros_like(a)))


def line_of(report, text):
    (line,) = [x.line for x in report.lines if text in x.source]
    return line


def test_show_prints_source_counts_and_findings(report):
    out = io.StringIO()
    report.show(out)
    text = out.getvalue()
    assert "b[y + k, x] = s[x, y + k]" in text
    (row,) = [r for r in text.splitlines() if "s[x, y + k]" in r]
    assert row.split()[-2:] == ["32", "1024"]  # requests and wavefronts of shared memory
    assert "out-of-bounds: " in text
    out = io.StringIO()
    compare(report, report, out)
    assert "shared wavefronts" in out.getvalue()


def padded(a, b):
    s = cuda.shared.array((32, 33), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    for k in range(0, 32, 8):
        s[y + k, x] = a[y + k, x]
    cuda.syncthreads()
    for k in range(0, 32, 8):
        b[y + k, x] = s[x, y + k]


def test_the_words_say_what_is_counted_and_what_is_the_base(report):
    assert f"{report.instructions:,} PTX instructions issued (each counted once a warp)" in summary(report)[1]
    a = np.zeros((32, 32), "f4")
    out = io.StringIO()
    compare(report, launch(padded, 1, (32, 8), (a, np.zeros_like(a))), out)
    lines = out.getvalue().splitlines()
    assert lines[0].split() == ["count", "transpose", "(base)", "padded", "of", "the", "base"]
    (row,) = [r for r in lines if "shared wavefronts" in r]
    assert row.split()[2:] == ["1,056", "64", "0.0606×"]  # the base is on the left, the share is of it


def test_html_and_json(report):
    page = report._repr_html_()
    assert page.count("<tr>") > 8
    assert "class='bar'" in page
    assert "out-of-bounds" in page
    assert "<script" not in page
    data = json.loads(json.dumps(report.to_json()))
    assert data["shared_load"]["wavefronts"] == 1024
    assert data["arrays"]["a"]["load"]["sectors"] == 128
    assert data["findings"][0]["array"] == "b"
    assert sum(x["instructions"] for x in data["lines"]) == data["instructions"]


def test_plots(report):
    import matplotlib.pyplot as plt

    line = line_of(report, "s[x, y + k]")
    places = [report.samples(line)[k].space for k in range(len(report.samples(line)))]
    ax = report.plot_access(line, 1, places.index("shared"))
    assert "32 wavefronts" in ax.get_title()
    assert ax.get_xlabel() == "bank"
    assert len(set(ax.collections[0].get_offsets()[:, 0].tolist())) == 1  # one bank serves all lanes
    ax = report.plot_access(line_of(report, "= a[y + k, x]"), 7)
    for axis in (ax.xaxis, ax.yaxis):
        assert all(float(place).is_integer() for place in axis.get_ticklocs())
    assert "4 sectors" in ax.get_title()
    ax = report.plot_lines("shared_wavefronts", top=3)
    assert ax.patches[0].get_width() == 1024
    for wrong in ({"line": 1}, {"line": line, "warp": 99}, {"line": line, "access": 50}):
        with pytest.raises(ValueError, match=next(reversed(wrong))):
            report.plot_access(**wrong)
    with pytest.raises(ValueError, match="count="):
        report.plot_lines("time")
    plt.close("all")


@pytest.mark.parametrize("name", bench.KERNELS)
def test_the_benchmark_measures_kernels_that_are_right(name):
    shape = (1, 16, 32)
    C = shape[1]
    G = C // 4
    grid, block, args, result = bench.case(name, shape)
    launch(bench.kernels()[name], grid, block, args, strict=True)
    x, w = args[0].astype("f8"), args[1].astype("f8")
    channel = (np.arange(C)[:, None] + np.arange(G)) % C
    if name in ("naive", "tiled"):
        want = np.einsum("nkgp,kg->nkp", x[:, channel], w)
    elif name == "atomic dW":
        want = np.einsum("nkgp,nkp->kg", x[:, channel], w)
    else:
        want = x.reshape(len(args[1]), -1).sum(1)
    assert np.abs(args[result] - want).max() < 1e-4


def test_the_benchmark_times_a_command_with_empty_caches(tmp_path, capsys):
    script = tmp_path / "program.py"
    script.write_text(
        "import os, pathlib, sys\n"
        "mark = pathlib.Path(os.environ['SCC_NUMBA_CACHE_DIR'])\n"
        "print(mark, mark.exists(), file=open(sys.argv[1], 'a'))\n"
        "mark.mkdir(exist_ok=True)\n"
    )
    seen = tmp_path / "seen"
    bench.main(["--command", f"python {script} {seen}", "--repeats", "1"])
    (cold, warm) = seen.read_text().splitlines()
    assert cold.split()[0] == warm.split()[0] != os.environ.get("SCC_NUMBA_CACHE_DIR")
    assert (cold.split()[1], warm.split()[1]) == ("False", "True")
    assert "with empty caches" in capsys.readouterr().out
    with pytest.raises(RuntimeError, match="no_such_module"):
        bench.time_command(["python", "-m", "no_such_module"])


def test_the_readme_tells_the_truth(tmp_path):
    readme = Path(bench.__file__).with_name("README.md").read_text()
    code = re.search(r"```python\n(.*?)```", readme, re.S)[1]
    script = tmp_path / "example.py"  # a file, so that the report can show its source
    script.write_text(code)
    namespace = runpy.run_path(str(script))
    report = namespace["report"]
    assert report.global_load.sectors == int(re.search(r"global_load.sectors +# (\d+)", code)[1])
    assert report.findings[0].kind == "out-of-bounds"
    for kind in KINDS:
        assert f"`{kind}`" in readme


PROGRAM = """
import sys, warnings
import numpy as np
from scc_numba.emulator import activate
assert activate(), "no GPU works here, so the emulator must take over"
assert activate()  # twice is once

from numba import cuda, float32
from numba.cuda.random import create_xoroshiro128p_states, xoroshiro128p_uniform_float32
from numba.cuda import jit

@cuda.jit
def add(a, b, c):
    i = cuda.grid(1)
    if i < c.size:
        c[i] = a[i] + b[i]

a, b = cuda.to_device(np.arange(100.0)), cuda.to_device(np.ones(100))
c = cuda.device_array_like(a)
stream = cuda.stream()
start, end = cuda.event(), cuda.event()
start.record(stream)
add[4, 32, stream](a, b, c)
end.record(stream)
cuda.synchronize()
assert (c.copy_to_host() == np.arange(100.0) + 1).all()
assert cuda.event_elapsed_time(start, end) > 0
add.forall(100)(a, b, c[:50])

@cuda.jit("void(float32[:], float32)")
def scale(x, k):
    i = cuda.grid(1)
    if i < x.shape[0]:
        x[i] *= k

x = np.ones(10, np.float32)
scale[1, 32](x, 3)
assert (x == 3).all()

@cuda.jit
def monte_carlo(states, out, n):
    i = cuda.grid(1)
    inside = 0
    for _ in range(n):
        x = xoroshiro128p_uniform_float32(states, i)
        y = xoroshiro128p_uniform_float32(states, i)
        if x * x + y * y <= 1:
            inside += 1
    out[i] = 4.0 * inside / n

states, out = create_xoroshiro128p_states(256, seed=1), np.zeros(256, np.float32)
monte_carlo[4, 64](states, out, 100)
assert abs(out.mean() - np.pi) < 0.05

@jit
def life(old, new):
    y, x = cuda.grid(2)
    h, w = old.shape
    if y < h and x < w:
        n = 0
        for dy in range(-1, 2):
            for dx in range(-1, 2):
                if dy != 0 or dx != 0:
                    n += old[(y + dy) % h, (x + dx) % w]
        new[y, x] = 1 if n == 3 or (n == 2 and old[y, x]) else 0

board = np.zeros((10, 12), np.int32)
board[1, 2] = board[2, 3] = board[3, 1] = board[3, 2] = board[3, 3] = 1
old, new = cuda.to_device(board), cuda.device_array_like(board)
for _ in range(4):
    life[(1, 1), (16, 16)](old, new)
    old, new = new, old
assert (old.copy_to_host() == np.roll(board, (1, 1), (0, 1))).all()

TPB = 8

@cuda.jit
def matmul(A, B, C):
    sA = cuda.shared.array((TPB, TPB), float32)
    sB = cuda.shared.array((TPB, TPB), float32)
    x, y = cuda.grid(2)
    tx, ty = cuda.threadIdx.x, cuda.threadIdx.y
    tmp = float32(0.0)
    for i in range(cuda.gridDim.x):
        sA[ty, tx] = 0
        sB[ty, tx] = 0
        if y < A.shape[0] and (tx + i * TPB) < A.shape[1]:
            sA[ty, tx] = A[y, tx + i * TPB]
        if x < B.shape[1] and (ty + i * TPB) < B.shape[0]:
            sB[ty, tx] = B[ty + i * TPB, x]
        cuda.syncthreads()
        for j in range(TPB):
            tmp += sA[ty, j] * sB[j, tx]
        cuda.syncthreads()
    if y < C.shape[0] and x < C.shape[1]:
        C[y, x] = tmp

A, B = np.random.rand(20, 13).astype(np.float32), np.random.rand(13, 17).astype(np.float32)
C = cuda.device_array((20, 17), np.float32)
matmul[(3, 3), (TPB, TPB)](A, B, C)
assert np.allclose(C.copy_to_host(), A @ B)

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    fresh = cuda.device_array(100)
    add[4, 32](fresh, b, c)
assert any("uninitialised-global" in str(w.message) for w in caught), caught
assert cuda.is_available()
print("all well")
"""


EXAMPLES = """
import numpy as np
from scc_numba.emulator import activate
reports = []
assert activate(on_report=reports.append), "no GPU works here, so the emulator must take over"

from numba import cuda, int32, void

# Numba's documentation: reduction with cuda.reduce
@cuda.reduce
def sum_reduce(a, b):
    return a + b

A = np.arange(1234, dtype=np.float64) + 1
assert sum_reduce(A) == A.sum()
max_kernel = cuda.reduce(lambda a, b: max(a, b))
assert max_kernel(A, init=5000.0) == 5000.0
assert sum_reduce(A[:0], init=3.0) == 3.0
res = cuda.device_array(1)
assert sum_reduce(cuda.to_device(A), res=res) is None
assert res.copy_to_host()[0] == A.sum()

# shared-memory reduction
a = cuda.to_device(np.arange(1024))
nelem = len(a)

@cuda.jit
def array_sum(data):
    tid = cuda.threadIdx.x
    size = len(data)
    if tid < size:
        i = cuda.grid(1)
        shr = cuda.shared.array(nelem, int32)
        shr[tid] = data[i]
        cuda.syncthreads()
        s = 1
        while s < cuda.blockDim.x:
            if tid % (2 * s) == 0:
                shr[tid] += shr[tid + s]
            s *= 2
            cuda.syncthreads()
        if tid == 0:
            data[tid] = shr[tid]

array_sum[1, nelem](a)
assert a[0] == sum(np.arange(1024)), a[0]

# cooperative groups
sig = void(int32[:, ::1])

@cuda.jit(sig)
def sequential_rows(M):
    col = cuda.grid(1)
    g = cuda.cg.this_grid()
    rows = M.shape[0]
    cols = M.shape[1]
    for row in range(1, rows):
        opposite = cols - col - 1
        M[row, col] = M[row - 1, opposite] + 1
        g.sync()

B = np.zeros((32, 64), dtype=np.int32)
blockdim = 32
griddim = B.shape[1] // blockdim
sequential_rows[griddim, blockdim](B)
assert (B == np.arange(32)[:, None]).all()

# heat equation session
@cuda.jit
def solve_heat_equation(buf_0, buf_1, timesteps, k):
    i = cuda.grid(1)
    if i >= len(buf_0):
        return
    grid = cuda.cg.this_grid()
    for step in range(timesteps):
        if (step % 2) == 0:
            data = buf_0
            next_data = buf_1
        else:
            data = buf_1
            next_data = buf_0
        curr_temp = data[i]
        if i == 0:
            next_temp = curr_temp + k * (data[i + 1] - (2 * curr_temp))
        elif i == len(data) - 1:
            next_temp = curr_temp + k * (data[i - 1] - (2 * curr_temp))
        else:
            next_temp = curr_temp + k * (data[i - 1] - (2 * curr_temp) + data[i + 1])
        next_data[i] = next_temp
        grid.sync()

size = 101
data = np.zeros(size)
data[50] = 10000
buf_0 = cuda.to_device(data)
buf_1 = cuda.device_array_like(buf_0)
niter = 40
solve_heat_equation.forall(len(data))(buf_0, buf_1, niter, 0.25)
want = data.copy()
for _ in range(niter):
    p = np.pad(want, 1)
    want = want + 0.25 * (p[:-2] - 2 * want + p[2:])
assert np.allclose(buf_0.copy_to_host(), want)

# streams and events
stream = cuda.stream()
with stream.auto_synchronize():
    d = cuda.to_device(np.arange(64.0), stream=stream)
    pinned = cuda.pinned_array(64)
    @cuda.jit
    def double(x):
        i = cuda.grid(1)
        if i < x.size:
            x[i] *= 2
    begin, finish = cuda.event(), cuda.event()
    begin.record(stream=stream)
    double[2, 32, stream](d)
    finish.record(stream=stream)
    finish.synchronize()
    finish.wait(stream)
    assert begin.query()
    d.copy_to_host(pinned, stream=stream)
assert (pinned == 2 * np.arange(64)).all()
assert begin.elapsed_time(finish) >= 0

# histogram, and a device function called through a ufunc-like loop
@cuda.jit
def histogram(x, xmin, xmax, histogram_out):
    nbins = histogram_out.shape[0]
    bin_width = (xmax - xmin) / nbins
    start = cuda.grid(1)
    stride = cuda.gridsize(1)
    for i in range(start, x.shape[0], stride):
        bin_number = int32((x[i] - xmin) / bin_width)
        if bin_number >= 0 and bin_number < histogram_out.shape[0]:
            cuda.atomic.add(histogram_out, bin_number, 1)

x = np.random.default_rng(0).normal(size=2000).astype(np.float32)
h = cuda.to_device(np.zeros(10, np.int32))
histogram[4, 32](x, np.float32(-4), np.float32(4), h)
assert h.copy_to_host().sum() == ((x >= -4) & (x < 4)).sum()
# Some threads of the heat equation return before its grid barrier, in the documentation too; all else is well.
found = {(r.kernel, f.kind) for r in reports for f in r.findings}
assert found == {("solve_heat_equation", "divergent-barrier")}, found
print("all well")
"""


@pytest.mark.parametrize(("program", "quiet"), [(PROGRAM, True), (EXAMPLES, False)])
def test_unmodified_programs_run(tmp_path, program, quiet):
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(program))
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, *(["-W", "error::scc_numba.emulator.FindingWarning"] if quiet else []), str(script)],
        env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True,
    )  # fmt: skip
    if "no GPU works here" in done.stderr:
        pytest.skip("a GPU works here: nothing to take over")
    assert done.stdout.strip().endswith("all well"), done.stderr
