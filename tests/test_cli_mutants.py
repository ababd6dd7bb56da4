"""`scc-numba mutants`: what it prints, its exit codes, and what Ctrl-C leaves."""

import csv

import pytest
from typer.testing import CliRunner

from scc_numba.check.mutation import Verdict, mutants_of
from scc_numba.cli import app
from scc_numba.cli import mutants as command


def run(*arguments):
    return CliRunner().invoke(app, ["mutants", *map(str, arguments)])


def verdicts(states, then=None):
    """A campaign that finds these states, one a mutant, and then raises."""

    def campaign(mutants, **settings):
        yield mutants[0].rung
        for mutant, state in zip(mutants, states, strict=False):
            yield Verdict(mutant, state, "exact_on_integers", "somewhere", "all of it", False, 1.0)
        if then is not None:
            raise then

    return campaign


def test_enough_are_killed(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "run_mutants", verdicts(["killed"] * 39 + ["survived", "stillborn"]))
    result = run("f0", "--sample", 41, "--report", tmp_path / "report.txt", "--csv", tmp_path / "all.csv")
    assert result.exit_code == 0, result.output
    assert "97.5" in result.output
    assert "asks for a test" in result.output
    assert (tmp_path / "report.txt").read_text() in result.output
    rows = list(csv.DictReader((tmp_path / "all.csv").open()))
    assert [row["state"] for row in rows] == ["killed"] * 39 + ["survived", "stillborn"]
    assert [int(row["line_number"]) for row in rows] == sorted(int(row["line_number"]) for row in rows)


def test_too_many_survive(monkeypatch):
    monkeypatch.setattr(command, "run_mutants", verdicts(["killed", "survived"]))
    assert run("f0", "--sample", 2).exit_code == 1


def test_ctrl_c_keeps_what_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(command, "run_mutants", verdicts(["killed", "survived", "killed"], then=KeyboardInterrupt))
    file = tmp_path / "all.csv"
    result = run("f0", "--csv", file)
    assert result.exit_code == 130
    assert f"interrupted after 3 of {len(mutants_of('f0'))} mutants" in result.output
    assert len(list(csv.DictReader(file.open()))) == 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["f99"], "rung='f99' is not a rung"), (["f0", "--sample", "0"], "equal to 1")],
)
def test_bad_words(arguments, said):
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.output
