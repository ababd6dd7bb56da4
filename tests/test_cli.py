"""The command, as a person types it."""

import csv
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from scc_numba.cli import app, frame
from scc_numba.cli.arguments import load_object, parse_layer
from scc_numba.device import backend
from scc_numba.kernels import OPS, ladder
from scc_numba.measure.climb import Climb

SMALL = "1,8,6,4,4,2,0.5"
NAMES = [rung.name for op in OPS for rung in ladder(op)]


def scc_numba(*words, timeout=300, **environment):
    return subprocess.run(
        [sys.executable, "-m", "scc_numba", *words],
        capture_output=True,
        text=True,
        timeout=timeout,
        env={**os.environ, "COLUMNS": "120", **environment},
    )


def test_help_has_examples():
    for words in (["--help"], ["ladder", "--help"], ["check", "--help"], ["doctor", "--help"]):
        ran = scc_numba(*words)
        assert ran.returncode == 0, ran.stderr
        if len(words) == 2 and words[0] != "doctor":
            assert "Examples" in ran.stdout
            assert f"scc-numba {words[0]}" in ran.stdout


def test_doctor():
    ran = scc_numba("doctor")
    assert ran.returncode == 0, ran.stderr
    for word in ("Python", "numba", "numba-cuda", "CUDA driver", "GPU", "backend", backend().name):
        assert word in ran.stdout


def test_doctor_reports_a_misspelt_backend():
    ran = scc_numba("doctor", SCC_NUMBA_DEVICE="gpo")
    assert ran.returncode == 2
    assert "did you mean 'gpu'" in ran.stdout + ran.stderr


@pytest.fixture(scope="module")
def reported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report") / "new"
    ran = scc_numba("ladder", "--layer", SMALL, "--report", str(folder))
    return ran, folder


def test_ladder(reported):
    ran, folder = reported
    assert ran.returncode == 0, ran.stderr
    for name in NAMES:
        assert re.search(rf"^{name} .*right", ran.stdout, re.MULTILINE), ran.stdout
    assert backend().name in ran.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["index.html", "ladder.csv"]


def test_the_page_is_self_contained(reported):
    page = (reported[1] / "index.html").read_text(encoding="utf-8")
    outside = re.findall(r"(?:src|href)=\"(?!data:|#)([^\"]*)\"", page)
    assert outside == []
    assert page.count("data:image/png;base64,") == 3
    assert page.count("<svg") >= 1
    assert page.count('class="right"') == len(NAMES)
    assert "<script" not in page


def test_the_csv_is_readable(reported):
    with open(reported[1] / "ladder.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["rung"] for row in rows} == set(NAMES)


def test_ladder_on_a_picture_of_ones_own(tmp_path):
    path = tmp_path / "mine.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (30, 30, 3)).astype(np.uint8)).save(path)
    ran = scc_numba("ladder", "--layer", SMALL, "--image", str(path), "--op", "forward", "--dtype", "float64")
    assert ran.returncode == 0, ran.stderr
    assert "mine.png" in ran.stdout
    assert "float64" in ran.stdout
    assert "x0" not in ran.stdout


def test_ladder_in_the_simulator_counts_nothing():
    ran = scc_numba("ladder", "--layer", "1,4,3,2,2,2,0.5", SCC_NUMBA_DEVICE="simulator")
    assert ran.returncode == 0, ran.stderr
    assert len(re.findall(r"^[fxw]\d .* right +[\d.]+$", ran.stdout, re.MULTILINE)) == len(NAMES), ran.stdout
    assert "nothing to count" in ran.stdout
    assert "ratio" not in ran.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--layer", "1,8,6,4,4,3,0.5"], "groups=3 does not divide in_channels=8"),
        (["--layer", "1,8,6,4,4,2,1"], "overlap=1.0 is outside"),
        (["--layer", "1,8,6,4,4,2,nan"], "overlap=nan is outside"),
        (["--layer", "1,8,6,4,4,2,0.99999999"], "reads as 1"),
        (["--layer", "1,8,6"], "has 3 parts, expected the 7"),
        (["--layer", "1,8,x,4,4,2,0.5"], "K='x' is not a whole number"),
        (["--layer", "1,8,6,4,4,2,half"], "overlap='half' is not a number"),
        (["--layer", "0,8,6,4,4,2,0.5"], "N=0 must be at least 1"),
        (["--layer", "1,8,6,0,4,2,0.5"], "H=0 must be at least 1"),
        (["--layer", "1,8,6,4000,4,2,0.5"], "a patch needs 4000×4"),
        (["--op", "forwrad"], "did you mean 'forward'?"),
        (["--dtype", "int8"], "dtype='int8' is not one of float32, float64"),
        (["--image", "no-such-file.png"], "image='no-such-file.png' is not a file"),
        (["--image", __file__], "is not an image"),
        (["--layer", "1,8,6,4,4,2,1/0"], "overlap='1/0' is not a number"),
    ],
)
def test_bad_input_is_one_clear_line(words, said):
    ran = scc_numba("ladder", *words)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert len(ran.stderr.strip().splitlines()) == 1
    assert "Traceback" not in ran.stderr
    assert ran.stdout == ""


def test_a_report_that_cannot_be_written_is_said_before_the_work(tmp_path):
    (tmp_path / "file").write_text("")
    started = time.monotonic()
    ran = scc_numba("ladder", "--layer", "64,512,512,16,16,2,0.5", "--report", str(tmp_path / "file"))
    assert ran.returncode == 2
    assert "cannot write to folder" in ran.stderr
    assert "nothing was started" in ran.stderr
    assert time.monotonic() - started < 60  # the layer itself would take many minutes


def test_ctrl_c_ends_cleanly(tmp_path):
    folder = tmp_path / "report"
    words = ["ladder", "--layer", "8,256,256,16,16,2,0.5", "--report", str(folder)]
    process = subprocess.Popen(
        [sys.executable, "-m", "scc_numba", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored if we run in the background
    )
    while not folder.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    # CPython ends itself by the signal where it hit an exec() of an import; a shell shows 130 for both
    assert process.returncode in (130, -signal.SIGINT)
    assert "interrupted" in stderr
    assert "Traceback" not in stderr
    assert list(folder.iterdir()) == []


GOOD = """
from scc_reference import scc_forward, scc_grad_input
from scc_numba.kernels import find_rung

def right(x, weight, bias=None, *, channels):
    return scc_forward(x, weight, bias, channels=channels)

def wrong(x, weight, bias=None, *, channels):
    y = scc_forward(x, weight, channels=channels)
    return y

RUNG = find_rung("x1")
number = 3
"""


@pytest.fixture
def kernel_file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(GOOD)
    return path


def test_check_a_right_function(kernel_file):
    ran = scc_numba("check", f"{kernel_file}:right", "--op", "forward", "--examples", "30")
    assert ran.returncode == 0, ran.stderr
    assert "right: forward holds all" in ran.stdout


def test_check_a_wrong_function_exits_with_1_and_explains(kernel_file):
    ran = scc_numba("check", f"{kernel_file}:wrong", "--op", "forward")
    assert ran.returncode == 1
    for word in ("wrong", "exact_on_integers", "layer ", "filter k=", "channel c", "should read j"):
        assert word in ran.stdout


def test_check_a_rung_by_file_and_by_name(kernel_file):
    assert scc_numba("check", f"{kernel_file}:RUNG", "--examples", "5").returncode == 0
    ran = scc_numba("check", "x1", "--examples", "5", "--dtype", "float32")
    assert ran.returncode == 0
    assert "grad_input holds" in ran.stdout


@pytest.mark.parametrize(
    ("what", "options", "said"),
    [
        ("f11", [], "did you mean 'f1'?"),
        ("{file}:right", [], "--op is needed"),
        ("{file}:rigth", ["--op", "forward"], "did you mean 'right'?"),
        ("{file}:number", ["--op", "forward"], "is a int, not a function"),
        ("{file}:right", ["--op", "forwards"], "did you mean 'forward'?"),
        ("{file}:RUNG", ["--op", "forward"], "rung x1 computes grad_input"),
        ("nothing.py:run", ["--op", "forward"], "'nothing.py' is not a file"),
        ("{file}", ["--op", "forward"], "names a file; expected FILE.py:FUNCTION"),
    ],
)
def test_check_refuses_what_it_cannot_run(kernel_file, what, options, said):
    ran = scc_numba("check", what.format(file=kernel_file), *options)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


def test_a_file_that_does_not_import_says_why(tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import no_such_module\n")
    ran = scc_numba("check", f"{path}:run", "--op", "forward")
    assert ran.returncode == 2
    assert "No module named 'no_such_module'" in ran.stderr


def test_parse_layer():
    batch, height, width, channels = parse_layer(" 2, 12,10,5,7 ,3,0.25")
    assert (batch, height, width) == (2, 5, 7)
    assert (channels.in_channels, channels.out_channels, channels.groups, channels.step) == (12, 10, 3, 3)


def test_load_object_finds_neighbours(tmp_path):
    (tmp_path / "neighbour_of_mine.py").write_text("VALUE = 7\n")
    path = tmp_path / "with_neighbour.py"
    path.write_text("from neighbour_of_mine import VALUE\ndef run():\n    return VALUE\n")
    try:
        assert load_object(f"{path}:run")() == 7
    finally:
        sys.path.remove(str(Path(tmp_path).resolve()))


def test_ctrl_c_is_heard_even_where_python_drops_it():
    @frame.for_people
    def command():
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
        except KeyboardInterrupt:
            pass  # as in a destructor, where Python prints it and goes on
        frame.stop_if_interrupted()

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == 130


def test_a_wrong_rung_ends_the_ladder_with_1(monkeypatch):
    monkeypatch.setattr(Climb, "right", False)
    result = CliRunner().invoke(app, ["ladder", "--layer", SMALL, "--op", "forward"])
    assert result.exit_code == 1


@pytest.mark.parametrize(
    "words", [["ladder"], ["check", "f1"], ["check", "tests/check/my_kernel.py:run", "--op", "forward"]]
)
@pytest.mark.parametrize(
    ("name", "said"), [("gpo", "did you mean 'gpu'"), ("gpu", "the gpu backend was asked for, but")]
)
def test_a_backend_that_cannot_start_is_nobodys_wrong_kernel(words, name, said):
    if name == "gpu" and backend().name == "gpu":
        pytest.skip("a GPU is here")
    ran = scc_numba(*words, SCC_NUMBA_DEVICE=name)
    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("where", ["at import", "when called"])
def test_a_file_that_exits_is_not_taken_for_right(tmp_path, where):
    path = tmp_path / "leaves.py"
    if where == "at import":
        path.write_text("import sys\nsys.exit(0)\n")
    else:
        path.write_text("import sys\ndef run(*operands, **named):\n    sys.exit(0)\n")
    ran = scc_numba("check", f"{path}:run", "--op", "forward")
    assert ran.returncode == (2 if where == "at import" else 1)
    assert "SystemExit" in ran.stdout + ran.stderr


def test_fractions_are_understood():
    assert parse_layer("1,9,6,4,4,1,1/3")[3].step == 6
