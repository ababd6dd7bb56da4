"""README.md holds what the commands print, for the rungs there are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import scc_numba
from scc_numba.kernels import OPS, ladder
from scc_numba.measure.bench.record import recorded
from scc_numba.measure.bench.summary import readme_table
from scc_numba.measure.readme import fill, ladder_table, main

README = (Path(scc_numba.__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def between(name):
    return README.split(f"<!-- {name} -->")[1].split(f"<!-- /{name} -->")[0]


def test_the_table_names_every_rung_and_its_file():
    table = between("ladder table")
    for op in OPS:
        for rung in ladder(op):
            file = f"scc_numba/kernels/{op}/{Path(rung.kernel_file).name}"
            assert f"[{rung.name}]({file}) | {rung.title} | yes |" in table


def test_the_commands_show_output():
    assert "$ make ladder\n" in between("make ladder")
    assert re.search(r"^\d+ passed", between("make test"), re.MULTILINE)
    assert "failed" not in between("make test")
    assert "should read j" in between("scc-numba check tests/check/my_kernel.py:run --op forward")


def test_the_times_are_those_of_the_recorded_runs():
    assert between("times").strip() == readme_table(recorded())


def test_a_folder_of_runs_fills_the_table_of_times(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("<!-- times -->\nold\n<!-- /times -->\n")
    main(str(readme), f"times={tmp_path}")
    assert readme.read_text() == f"<!-- times -->\n{readme_table([])}\n<!-- /times -->\n"


def test_every_file_it_links_to_is_there():
    root = Path(scc_numba.__file__).parents[1]
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?://|#)([^)#]+)", prose)
    assert links
    assert [link for link in links if not (root / link).exists()] == []


def test_fill():
    assert fill("a\n<!-- x -->\nold\n<!-- /x -->\nb", "x", "new") == "a\n<!-- x -->\nnew\n<!-- /x -->\nb"
    with pytest.raises(ValueError, match="found 0"):
        fill("nothing", "x", "new")


def test_a_wrong_rung_is_not_hidden():
    rows = [
        {
            "rung": rung.name,
            "metric": "m",
            "value": "4",
            "right": str(rung.name != "x1"),
            "times_fewer_than_bottom": "1",
        }
        for op in OPS
        for rung in ladder(op)
    ]
    table = ladder_table(rows)
    assert table.count("**no**") == 1
    assert table.count("| yes |") == len(rows) - 1


def test_its_python_runs():
    snippets = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(snippets) >= 2
    for i, code in enumerate(snippets):
        ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert ran.returncode == 0, f"snippet {i}: {ran.stderr}"
