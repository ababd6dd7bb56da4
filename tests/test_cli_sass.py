"""`scc-numba sass`, as a person types it."""

import pytest
from typer.testing import CliRunner

from scc_numba.cli import app
from scc_numba.measure.sass import missing, tools
from scc_numba.measure.sass.results import read_csv

NEEDS_TOOLS = pytest.mark.skipif(missing() is not None, reason=str(missing()))


def sass(*words):
    return CliRunner().invoke(app, ["sass", *words], env={"COLUMNS": "120"})


def test_help_has_examples():
    ran = sass("--help")
    assert ran.exit_code == 0
    assert "Examples" in ran.stdout
    assert "scc-numba sass --rung f1 --show" in ran.stdout


@NEEDS_TOOLS
def test_a_table_of_a_ladder(tmp_path):
    ran = sass("--op", "grad_weight", "--target", "sm_80", "--csv", str(tmp_path / "new" / "sass.csv"))
    assert ran.exit_code == 0, ran.output
    for word in ("w0", "w1", "sm_80", "regs", "spill", "warps", "ptxas", "nvdisasm"):
        assert word in ran.stdout
    rows = read_csv(tmp_path / "new" / "sass.csv")
    assert {row["op"] for row in rows} == {"grad_weight"}
    assert {row["target"] for row in rows} == {"sm_80"}


@NEEDS_TOOLS
def test_the_loop_of_one_rung():
    ran = sass("--rung", "f1", "--show")
    assert ran.exit_code == 0, ran.output
    assert "FFMA R" in ran.stdout
    assert "f1_three_d_grid.py:" in ran.stdout
    assert "integer" in ran.stdout


@NEEDS_TOOLS
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--target", "sm_91"], "did you mean 'sm_90'"),
        (["--rung", "g1"], "rung='g1' is not a rung"),
        (["--rung", "f1", "--op", "grad_input"], "which --op leaves out"),
        (["--show"], "name it with --rung"),
        (["--tile", "128"], "name it with --rung"),
        (["--rung", "f1", "--tile", "31"], "not offered by rung f1"),
        (["--layer", "1,2"], "expected the 7 of"),
    ],
)
def test_mistakes_are_said_in_one_line(words, message):
    ran = sass(*words)
    assert ran.exit_code == 2
    assert message in " ".join(ran.stderr.split())
    assert "Traceback" not in ran.output


def test_without_the_tools_it_says_what_to_install(monkeypatch):
    def absent(wheel):
        raise tools.PackageNotFoundError(wheel)

    tools.find_tool.cache_clear()
    monkeypatch.setattr(tools, "distribution", absent)
    ran = sass("--rung", "f1")
    tools.find_tool.cache_clear()
    assert ran.exit_code == 2
    assert "pip install 'scc_numba[sass]'" in " ".join(ran.stderr.split())
