"""What rows come to, on figures that can be checked by hand, and the README's table of them."""

import pytest

from scc_numba.kernels import tile_table
from scc_numba.measure.bench import record as record_module
from scc_numba.measure.bench.record import record, recorded
from scc_numba.measure.bench.results import COLUMNS, Results
from scc_numba.measure.bench.summary import digest, failures, readme_table, summarise

LAYER = {"layer": "L", "in_channels": "256", "out_channels": "256", "groups": "2", "overlap": "1/2"}
MACHINE = {
    "gpu": "NVIDIA H200 (x)",
    "target": "sm_90",
    "driver": "1",
    "torch": "2",
    "cuda": "13",
    "sm_clock_mhz": "7",
}


def row(kind, provider, value, precision="float32", error="0.1", metric="time", **more):
    problem = more.pop("problem", "")
    given = {"kind": kind, "provider": provider, "precision": precision, "metric": metric, "op": "forward"}
    given |= {"value_50": str(value), "error_in_bounds": error, "problem": problem, "tile": "32"}
    return dict.fromkeys(COLUMNS, "") | LAYER | MACHINE | given | more


ROWS = [
    row("roof", "gemm", 90, error=""),
    row("roof", "copy", 50, error=""),
    row("rung", "f0", 400),
    row("rung", "f8", 100),
    row("rung", "f7", 10, error="3.5"),
    row("rung", "f6", "", problem="ValueError: no"),
    row("rung", "f5", 1, metric="time of a tile"),
    row("peer", "one-cycle", 250),
    row("compiled", "one-cycle", 200),
    row("best", "best", 101),
    row("best", "best", 12, metric="time of the host", error=""),
    row("roof", "gemm", 45, precision="tf32", error=""),
    row("rung", "f9", 60, precision="tf32"),
    row("peer", "one-cycle", 90, precision="tf32"),
]


def test_a_line_is_the_fastest_right_rung_against_the_others():
    line, tf32 = summarise(ROWS)
    assert (line.rung, line.time, line.gemm, line.copy) == ("f8", 100, 90, 50)
    assert (line.peer, line.peer_time, line.best_host) == ("compiled one-cycle", 200, 12)
    assert (line.of_gemm, line.of_copy, line.over_peer) == (90, 50, 2)
    assert (tf32.rung, tf32.of_gemm, tf32.over_peer, tf32.peer) == ("f9", 75, 1.5, "one-cycle")
    assert line.wide


def test_where_rounding_is_allowed_a_rung_that_does_not_round_may_be_the_fastest():
    rows = [row("rung", "f8", 5), *ROWS]
    assert [line.rung for line in summarise(rows)] == ["f8", "f8"]


def test_nothing_is_made_up():
    (line,) = summarise([row("peer", "one-cycle", 3)])
    assert (line.time, line.of_gemm, line.of_copy, line.over_peer, line.best_host) == (None,) * 5


def test_failures_are_told():
    assert failures(ROWS) == [
        "f7 (rung) forward float32 on L, tile 32 is wrong: its worst error is 3.5 of its bound",
        "f6 (rung) forward float32 on L, tile 32: ValueError: no",
    ]


def test_the_digest_takes_medians_and_geometric_means():
    other = [{**r, "layer": "M"} for r in ROWS if r["provider"] != "f8"]  # 400 µs: 22.5 %, 0.5×
    narrow = [{**r, "layer": "N", "groups": "8", "overlap": "33/100"} for r in ROWS]
    found = {(one.op, one.precision): one for one in digest(summarise(ROWS + other + narrow))}
    float32 = found["forward", "float32"]
    assert float32.layers == 3
    assert (float32.of_gemm, float32.least_of_gemm) == (pytest.approx(56.25), pytest.approx(22.5))
    assert float32.over_peer == pytest.approx((2 * 0.5 * 2) ** (1 / 3))
    assert float32.least_over_peer == 0.5
    assert found["grad_input", "tf32"].layers == 0
    assert found["grad_input", "tf32"].of_gemm is None


def test_the_readme_says_not_measured_until_something_is():
    table = readme_table([])
    assert len(table.splitlines()) == 8
    assert all(line.count("not measured") == 6 for line in table.splitlines()[2:])
    assert "90 %" in (lines := readme_table(ROWS).splitlines())[2]
    assert "NVIDIA H200 (x), 7 MHz, driver 1, torch 2, CUDA 13" in lines[2]
    assert "not measured" in lines[4]


def test_a_run_is_recorded_under_its_gpu(tmp_path):
    folder, to = tmp_path / "run", tmp_path / "results"
    folder.mkdir()
    to.mkdir()
    table = Results(folder / "bench.csv", MACHINE)
    with pytest.raises(ValueError, match="cut short or empty"):
        record(folder, to)
    table.add(ROWS[3])
    (folder / "tiles.csv").write_text(tile_table.to_csv([]))
    assert [path.name for path in record(folder, to)] == ["bench_NVIDIA-H200-x.csv", "tiles_NVIDIA-H200-x.csv"]
    assert [r["provider"] for r in recorded(to)] == ["f8"]
    (to / "bench_NVIDIA-H200-x.csv").write_text((folder / "bench.csv").read_text()[:-3])
    with pytest.raises(ValueError, match="is cut short"):
        recorded(to)
    assert record_module.RECORDED == tile_table.RECORDED


def test_recorded_runs_are_readable():
    for one in summarise(recorded()):
        assert one.layer
