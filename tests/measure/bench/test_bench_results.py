"""The table of results: whole rows whatever happens, and nothing mixed that does not belong together."""

import pytest

from scc_numba.measure.bench import results as module
from scc_numba.measure.bench.results import COLUMNS, Results, fingerprint, read

MACHINE = {"gpu": "A GPU", "target": "sm_90"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "bench.csv"
    table = Results(path, MACHINE)
    table.add({"provider": "f0", "metric": "time", "value_50": 1.5, "problem": ""})
    table.add({"provider": "f1", "metric": "time", "problem": 'a "quoted", long\nproblem'})
    return path


def test_rows_are_read_as_they_were_written(path):
    table = read(path)
    assert table.code == fingerprint()
    assert table.torn == ""
    assert [row["provider"] for row in table.rows] == ["f0", "f1"]
    assert table.rows[0]["value_50"] == "1.5"
    assert table.rows[1]["problem"] == 'a "quoted", long problem'
    assert {row["gpu"] for row in table.rows} == {"A GPU"}
    assert Results(path, MACHINE).rows == table.rows
    with pytest.raises(ValueError, match=r"columns \['colour'\] are none"):
        Results(path, MACHINE).add({"colour": "red"})


@pytest.mark.parametrize("cut", range(1, 60, 7))
def test_a_row_that_was_cut_short_is_dropped(path, cut):
    whole = path.read_text()
    path.write_text(whole[:-cut])
    table = Results(path, MACHINE)
    assert [row["provider"] for row in table.rows] == ["f0"]
    assert table.notes == ["the last row of 'bench.csv' was cut short; it is dropped, and measured again"]
    table.add({"provider": "f1"})
    assert [row["provider"] for row in read(path).rows] == ["f0", "f1"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda text: text.replace("format 1", "format 7"),
            "is of format 7, this version knows format 1: name",
        ),
        (lambda text: text.replace(fingerprint(), "0123abc"), "holds times of other code .0123abc, now"),
        (lambda text: text.replace("A GPU", "Another"), "holds times of another GPU, Another"),
        (lambda text: "provider,op\nf0,forward\n", "does not start with '# scc-numba bench"),
        (lambda text: "", "does not start with"),
        (lambda text: text[:60], "is cut short before its first row"),
        (lambda text: text.replace("f0,", "f0"), rf"line 3: {len(COLUMNS) - 1} cells, not {len(COLUMNS)}"),
    ],
)
def test_what_cannot_be_continued_is_refused_and_left_as_it_is(path, change, message):
    path.write_text(change(path.read_text()))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        Results(path, MACHINE)
    assert path.read_bytes() == before


def test_the_fingerprint_is_that_of_the_kernels(monkeypatch, tmp_path):
    for room in ("kernels", "device", "nn"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "a.py").write_text(room)
    monkeypatch.setattr(module.scc_numba, "__file__", str(tmp_path / "__init__.py"))
    found = set()
    for text in ("one", "two"):
        (tmp_path / "kernels" / "a.py").write_text(text)
        fingerprint.cache_clear()
        found.add(fingerprint())
    fingerprint.cache_clear()
    assert len(found) == 2
