"""`scc-numba model`, as a person types it."""

import pytest
from typer.testing import CliRunner

from scc_numba.cli import app
from scc_numba.cli import model as command
from scc_numba.measure import work

SMALL = "2,16,16,8,8,2,0.5"


def model(*words):
    return CliRunner().invoke(app, ["model", *words], env={"COLUMNS": "120"})


def test_help_has_examples():
    ran = model("--help")
    assert ran.exit_code == 0
    assert "Examples" in ran.stdout
    assert "Nothing in it was measured" in " ".join(ran.stdout.split())


def test_a_ladder():
    ran = model("--op", "forward", "--layer", SMALL, "--gpu", "a100")
    assert ran.exit_code == 0, ran.output
    for word in ("a model", "nothing here was measured", "A100", "5,120 bytes a clock", "f0", "f1", "waves", "µs"):
        assert word in ran.stdout
    assert "w0" not in ran.stdout


@pytest.mark.parametrize(("ending", "start"), [(".svg", b"<svg"), (".png", b"\x89PNG")])
def test_a_roofline(tmp_path, ending, start):
    path = tmp_path / "new" / f"roof{ending}"
    ran = model("--rung", "f0", "--rung", "x1", "--layer", SMALL, "--plot", str(path))
    assert ran.exit_code == 0, ran.output
    assert path.read_bytes().startswith(start)
    if ending == ".svg":
        text = path.read_text()
        for word in ("Model, not measured", "H200", "Forward", "Input gradient", "f0", "x1", "FP32 67 TFLOP/s"):
            assert word in text


def test_counts_of_a_large_batch_are_said_to_be_extended(monkeypatch):
    monkeypatch.setattr(work, "COUNTED_WHOLE", 1000)
    ran = model("--rung", "f1", "--layer", "32,16,16,16,16,2,0.5")
    assert ran.exit_code == 0, ran.output
    assert "counts of 1 and 2 images, extended to 32" in ran.stdout


def test_without_the_tools_it_says_what_is_not_known(monkeypatch):
    for module in (work, command):
        monkeypatch.setattr(module, "missing", lambda: "ptxas is not installed: pip install 'scc_numba[sass]'")
    ran = model("--rung", "f1", "--layer", SMALL)
    assert ran.exit_code == 0, ran.output
    assert "issue and waves are not known: ptxas is not installed" in ran.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--gpu", "H20"], "did you mean 'H200'"),
        (["--rung", "g1"], "rung='g1' is not a rung"),
        (["--plot", "roof.jpg"], "must end in .svg or .png"),
        (["--layer", "0,8,8,2,2,2,0.5"], "N=0 must be at least 1"),
        (["--tile", "128"], "name it with --rung"),
    ],
)
def test_mistakes_are_said_in_one_line(words, message):
    ran = model(*words)
    assert ran.exit_code == 2
    assert message in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.output
