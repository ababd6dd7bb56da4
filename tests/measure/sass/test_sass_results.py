"""The recorded table of static evidence."""

import pytest

from scc_numba.kernels import OPS, find_rung, ladder
from scc_numba.measure.evidence import SASS_LAYER
from scc_numba.measure.ptx import TARGETS
from scc_numba.measure.sass import missing, rung_facts
from scc_numba.measure.sass.results import COLUMNS, RECORDED, read_csv, to_csv

NEEDS_TOOLS = pytest.mark.skipif(missing() is not None, reason=str(missing()))
RUNGS = [rung for op in OPS for rung in ladder(op)]


def test_every_rung_and_target_is_recorded():
    recorded = {(row["rung"], row["target"]) for row in read_csv()}
    wanted = {(rung.name, target) for rung in RUNGS for target in TARGETS if not rung.supports(SASS_LAYER, target)}
    assert recorded == wanted, "`make sass` records every rung anew"


@NEEDS_TOOLS
@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_what_is_recorded_is_what_is_found(rung, tmp_path):
    recorded = [row for row in read_csv() if (row["rung"], row["target"]) == (rung.name, "sm_90")]
    path = tmp_path / "now.csv"
    path.write_text(to_csv([(rung, SASS_LAYER, rung.tiles(SASS_LAYER)[0], rung_facts(rung, SASS_LAYER))]))
    now = read_csv(path)
    tools = ("ptxas", "nvdisasm", "nvvm", "numba", "numba_cuda")
    if any(recorded[0][name] != now[0][name] for name in tools):
        pytest.skip("recorded with other versions of " + ", ".join(tools))
    assert recorded == now, "`make sass` records every rung anew"


@NEEDS_TOOLS
def test_the_table_tells_all_of_a_rung():
    rung = find_rung("f1")
    found = rung_facts(rung, SASS_LAYER)
    rows = to_csv([(rung, SASS_LAYER, (128,), found)]).splitlines()
    assert rows[1] == ",".join(COLUMNS)
    recorded = read_csv()
    own = [row for row in recorded if row["rung"] == "f1" and row["target"] == "sm_90"]
    figures = {(row["scope"], row["metric"]): float(row["value"]) for row in own}
    assert figures["kernel", "registers of a thread"] == found.resources.registers
    assert figures["kernel", "warps of a multiprocessor"] == found.occupancy.warps
    assert figures["inner k loop", "FFMA instructions"] == found.k_loop.classes["FFMA"]
    assert figures["k-tile loop", "instructions"] == len(found.k_tile_loop.instructions)


def test_another_version_or_a_cut_table_is_refused(tmp_path):
    text = RECORDED.read_text()
    path = tmp_path / "sass.csv"

    def refused(content, match):
        path.write_text(content)
        with pytest.raises(ValueError, match=match):
            read_csv(path)

    refused(text.replace("format 1", "format 2", 1), "is of format 2, this version reads format 1")
    refused(text[:-1], "cut short")
    refused(text[: len(text) // 2], "cut short")
    refused("\n".join(text.splitlines()[:-1]) + "\n", "cut short")
    refused("\n".join(text.splitlines()[1:]) + "\n", "does not start with")
    refused("", "does not start with")
    path.write_text(text)
    assert read_csv(path) == read_csv()
    with pytest.raises(FileNotFoundError):
        read_csv(tmp_path / "absent.csv")
