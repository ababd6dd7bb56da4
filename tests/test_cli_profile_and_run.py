"""`scc-numba profile` and `scc-numba run`."""

import json
import re

import pytest
from test_cli import scc_numba

LAYER = "1,8,6,4,4,2,0.5"

MAKER = """
import numpy as np
from numba import cuda
from scc_numba.device import jit
from scc_numba.kernels import Launch

@jit
def copy(x, y):
    i = cuda.grid(1)
    y[i] = x[i]

def make():
    return Launch(copy, (2, 1, 1), (64, 1, 1)), [np.ones(128, np.float32), np.zeros(128, np.float32)]

def too_short():
    return Launch(copy, (2, 1, 1), (64, 1, 1)), [np.ones(128, np.float32), np.zeros(100, np.float32)]

def nothing():
    return 7
"""

EAGER = """
import numpy as np
from numba import cuda
from scc_numba.kernels import Launch

@cuda.jit("void(CPointer(float32), CPointer(float32), int32)")
def add(x, y, n):
    i = cuda.grid(1)
    y[i] = x[i] + n

def make():
    return Launch(add, (2, 1, 1), (64, 1, 1), scalars=(3,)), [np.ones(128, np.float32), np.zeros(128, np.float32)]
"""

PROGRAM = """
import sys
import numpy as np
from numba import cuda

@cuda.jit
def reverse(x, y):
    i = cuda.grid(1)
    if i < x.size + {extra}:
        y[x.size - 1 - i] = x[i]

x = cuda.to_device(np.arange(100, dtype=np.float32))
y = cuda.device_array_like(x)
reverse[4, 32](x, y)
print("last", y.copy_to_host()[-1], "arguments", sys.argv[1:], __name__)
"""


@pytest.fixture
def maker(tmp_path):
    path = tmp_path / "maker.py"
    path.write_text(MAKER)
    return path


def test_a_rung_line_by_line(tmp_path):
    page, data = tmp_path / "lines.html", tmp_path / "lines.json"
    ran = scc_numba("profile", "f1", "--layer", LAYER, "--html", str(page), "--json", str(data))
    assert ran.returncode == 0, ran.stderr
    assert "forward_three_d_grid" in ran.stdout
    assert "total += x[n, c, p] * weight[k, j]" in ran.stdout
    counts = json.loads(data.read_text())
    assert counts["kernel"] == "forward_three_d_grid"
    assert counts["flops"] == 2 * 16 * 6 * 4
    html = page.read_text(encoding="utf-8")
    assert "total += x[n, c, p] * weight[k, j]" in html
    assert re.findall(r"(?:src|href)=", html) == []


def test_two_rungs_side_by_side(tmp_path):
    data = tmp_path / "both.json"
    ran = scc_numba("profile", "x1", "--compare", "x0", "--layer", LAYER, "--tile", "32", "--json", str(data))
    assert ran.returncode == 0, ran.stderr
    assert "atomic operations" in ran.stdout
    one, zero = json.loads(data.read_text())
    assert one["atomics"]["operations"] == 0
    assert zero["atomics"]["operations"] == 16 * 6 * 4
    assert one["block"] == [32, 1, 1]


def test_a_launch_of_ones_own(maker):
    ran = scc_numba("profile", f"{maker}:make")
    assert ran.returncode == 0, ran.stderr
    assert "y[i] = x[i]" in ran.stdout


def test_a_kernel_with_a_signature_of_its_own(tmp_path):
    path = tmp_path / "eager.py"
    path.write_text(EAGER)
    ran = scc_numba("profile", f"{path}:make", "--json", str(tmp_path / "eager.json"))
    assert ran.returncode == 0, ran.stderr
    assert "y[i] = x[i] + n" in ran.stdout
    counts = json.loads((tmp_path / "eager.json").read_text())
    assert counts["global_load"]["bytes"] == 4 * 128  # float32, as its signature says


def test_findings_are_shown_and_exit_with_1(maker):
    ran = scc_numba("profile", f"{maker}:too_short")
    assert ran.returncode == 1
    assert "out-of-bounds" in ran.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["f1", "--tile", "7"], "tile=(7,) is not offered by rung f1"),
        (["f1", "--tile", "big"], "tile='big' is not made of whole numbers"),
        (["f1", "--target", "sm_1"], "sm_1"),
        (["f99"], "rung='f99' is not a rung"),
        (["{maker}:nothing"], "expected a tuple (Launch, list of arrays)"),
        (["f1", "--html", "{maker}/below/a.html"], "cannot write to folder"),
    ],
)
def test_bad_input_is_one_clear_line(maker, words, said):
    ran = scc_numba("profile", *(word.format(maker=maker) for word in words))
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_run_an_unmodified_program(tmp_path):
    path = tmp_path / "reverse.py"
    path.write_text(PROGRAM.format(extra=0))
    ran = scc_numba("run", str(path), "--epochs", "3")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == "last 0.0 arguments ['--epochs', '3'] __main__"


def test_run_shows_findings(tmp_path):
    path = tmp_path / "reverse.py"
    path.write_text(PROGRAM.format(extra=1))
    ran = scc_numba("run", str(path))
    assert ran.returncode == 0
    assert "out-of-bounds" in ran.stderr
    assert scc_numba("run", "--strict", str(path)).returncode != 0


def test_a_warning_names_the_line_of_the_program(tmp_path):
    path = tmp_path / "reverse.py"
    path.write_text(PROGRAM.format(extra=1))
    ran = scc_numba("run", str(path))
    line = 1 + PROGRAM.split("\n").index("reverse[4, 32](x, y)")
    assert f"{path}:{line}: FindingWarning: reverse: out-of-bounds" in ran.stderr
    assert "runpy" not in ran.stderr


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f():\n    return 1 / 0\n\nf()\n", "ZeroDivisionError: division by zero"),
        ("x = (1,\n", "SyntaxError: '(' was never closed"),
        (
            "from numba import cuda\n\n@cuda.jit\ndef k(x):\n    x[0] = 1\n\nk[1, 32]([1, 2])\n",
            "argument 0 is a list",
        ),
    ],
)
def test_the_traceback_begins_in_the_program(tmp_path, text, said):
    path = tmp_path / "wrong.py"
    path.write_text(text)
    ran = scc_numba("run", str(path))
    assert ran.returncode == 1
    lines = ran.stderr.splitlines()
    assert said in lines[-1]
    files = [line.strip() for line in lines if line.strip().startswith("File ")]
    assert files[0].startswith(f'File "{path}", line ')
    assert not [f for f in files if "typer" in f or "runpy" in f or "cli" in f]


def test_a_program_ends_as_it_likes(tmp_path):
    path = tmp_path / "ends.py"
    path.write_text("import sys\nsys.exit(7)\n")
    ran = scc_numba("run", str(path))
    assert (ran.returncode, ran.stderr) == (7, "")


def test_run_without_a_file():
    ran = scc_numba("run", "nothing.py")
    assert ran.returncode == 2
    assert "'nothing.py' is not a file" in ran.stderr


def test_run_keeps_strict_and_steps_where_the_program_activates_too(tmp_path):
    path = tmp_path / "program.py"
    path.write_text(
        "import numpy as np\nfrom numba import cuda\nfrom scc_numba.emulator import activate\nactivate()\n"
        "@cuda.jit\ndef over(x, n):\n    for k in range(n):\n        x[cuda.grid(1) + k] += 1\n"
        "over[1, 32](np.zeros(32), 2)\nprint('went on')\n"
    )
    ran = scc_numba("run", str(path))
    assert (ran.returncode, ran.stdout) == (0, "went on\n")
    ran = scc_numba("run", "--strict", str(path))
    assert ran.returncode != 0
    assert "FindingsError" in ran.stderr
    ran = scc_numba("run", "--max-steps", "2", str(path))
    assert ran.returncode != 0
    assert "no end after 2 steps" in ran.stderr
