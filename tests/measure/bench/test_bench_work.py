"""A run of the benchmark on a device whose times are made up: what is done, kept, chosen, and done again."""

import math

import pytest
from scc_reference import SlidingChannels

torch = pytest.importorskip("torch")
from fake_device import FakeDevice  # noqa: E402

from scc_numba.device import backend  # noqa: E402
from scc_numba.kernels import best, find_rung, tile_table  # noqa: E402
from scc_numba.measure.bench import providers as providers_module  # noqa: E402
from scc_numba.measure.bench import work as work_module  # noqa: E402
from scc_numba.measure.bench.layers import BenchLayer  # noqa: E402
from scc_numba.measure.bench.results import Results, is_time, read  # noqa: E402
from scc_numba.measure.bench.summary import failures, summarise  # noqa: E402
from scc_numba.measure.bench.work import GpuLost, OutOfTime, Run, Unit, plan  # noqa: E402

if backend().name != "emulator":
    pytest.skip("its rungs run on the emulator", allow_module_level=True)
LAYER = BenchLayer("ResNet18", "CIFAR", SlidingChannels(8, 16, 2, 0.5), side=3, batch=2)
UNIT = Unit(LAYER, "forward", "float32", compiled=False)
FEW = {
    "forward": ("f0", "f1", "f2", "f9"),
    "grad_input": ("x0", "x3", "x4"),
    "grad_weight": ("w0", "w4", "w5"),
}


@pytest.fixture(autouse=True)
def few_rungs(monkeypatch):
    """Enough for every case, and soon emulated."""
    monkeypatch.setattr(providers_module, "ladder", lambda op: [find_rung(name) for name in FEW[op]])
    monkeypatch.setattr(providers_module, "SETS", 1)
    monkeypatch.setenv(tile_table.VARIABLE, "")
    yield
    tile_table._tables.cache_clear()


def new_run(folder, device, seconds=None):
    results = Results(folder / "bench.csv", device.machine())
    return Run(results, device, seconds, device.on_task), results


def times(rows):
    return {(row["kind"], row["provider"]): row for row in rows if row["metric"] == "time"}


@pytest.mark.parametrize("op", FEW)
@pytest.mark.parametrize("precision", ["float32", "tf32"])
def test_everybody_is_timed_and_checked(tmp_path, op, precision):
    device = FakeDevice()
    run, results = new_run(tmp_path, device)
    unit = Unit(LAYER, op, precision, compiled=False)
    assert not run.is_done(unit)
    run.work(unit)
    assert run.is_done(unit)
    rows = times(results.rows)
    ours = [name for name in FEW[op] if (find_rung(name).rounds_to or "float32") == precision]
    peers = ["all-windows", "one-cycle", "window-gemms", "strided-windows", "masked-dense"]
    roofs = ["gemm", "copy"] if precision == "float32" else ["gemm"]
    assert set(rows) == {
        *(("rung", name) for name in ours),
        *(("peer", name) for name in peers),
        *(("roof", name) for name in roofs),
        ("best", "best"),
    }
    assert failures(results.rows) == []
    for (kind, _), row in rows.items():
        if kind == "roof":
            assert row["error_in_bounds"] == ""
        else:
            assert 0 <= float(row["error_in_bounds"]) <= 1
        assert [float(row[name]) for name in ("value_20", "value_50", "value_80")] == pytest.approx(
            [940, 1000, 1120]
        )
        assert (row["unit"], row["samples"], row["gpu"]) == ("µs", "3", "Fake GPU")
    hosts = [row for row in results.rows if row["metric"] == "time of the host"]
    assert {row["value_50"] for row in hosts} == {"3"}


def test_best_may_choose_a_rung_that_does_not_round(tmp_path):
    device = FakeDevice()
    device.seconds = {"float32 f2": 1e-4}
    run, results = new_run(tmp_path, device)
    for precision in ("float32", "tf32"):
        run.work(Unit(LAYER, "forward", precision, compiled=False))
    assert best(LAYER.layer, "forward", target="sm_90", allow_tf32=True)[0] is find_rung("f2")
    assert failures(results.rows) == []


def test_what_is_done_is_not_done_again(tmp_path):
    run, _ = new_run(tmp_path, FakeDevice())
    run.work(UNIT)
    again = FakeDevice()
    run, results = new_run(tmp_path, again)
    before = (tmp_path / "bench.csv").read_bytes()
    assert run.is_done(UNIT)
    run.work(UNIT)
    assert not again.timed
    assert (tmp_path / "bench.csv").read_bytes() == before
    assert read(tmp_path / "bench.csv").rows == results.rows


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), OutOfTime(), "time", "torn"])
def test_it_goes_on_where_it_stopped(tmp_path, stop, monkeypatch):
    device = FakeDevice()
    if stop == "time":
        clock = iter([0.0, *range(1, 1000)])
        monkeypatch.setattr(work_module.time, "monotonic", lambda: next(clock))
        run, _ = new_run(tmp_path, device, seconds=5.5)
        stop = OutOfTime()
    else:
        run, _ = new_run(tmp_path, device)

    def on_task(text):
        device.on_task(text)
        if text.endswith("one-cycle"):
            raise stop if isinstance(stop, BaseException) else KeyboardInterrupt

    run._on_task = on_task
    with pytest.raises(type(stop) if isinstance(stop, BaseException) else KeyboardInterrupt):
        run.work(UNIT)
    path = tmp_path / "bench.csv"
    done = len(read(path).rows)
    assert done > 3
    if stop == "torn":
        path.write_text(path.read_text()[:-20])
        done -= 1
    device = FakeDevice()
    run, results = new_run(tmp_path, device)
    assert [note for note in results.notes if "cut short" in note] == (results.notes if stop == "torn" else [])
    assert len(results.rows) == done
    run.work(UNIT)
    assert run.is_done(UNIT)
    keys = [(row["provider"], row["kind"], row["metric"], row["tile"]) for row in read(path).rows]
    assert len(keys) == len(set(keys))


def test_tiles_are_searched_near_the_front_and_the_winners_kept(tmp_path):
    device = FakeDevice()
    device.seconds = {"float32 f0": 5e-3, "float32 f1": 1.2e-3, "float32 f2": 1e-3, "float32 f2 64": 4e-4}
    run, results = new_run(tmp_path, device)
    run.work(UNIT)
    tried = {(row["provider"], row["tile"]) for row in results.rows if row["metric"] == "time of a tile"}
    offered = {
        name: [str(threads) for (threads,) in find_rung(name).tiles(LAYER.layer)] for name in FEW["forward"][:3]
    }
    assert tried == {("f0", offered["f0"][0]), *((name, tile) for name in ("f1", "f2") for tile in offered[name])}
    assert offered["f2"][0] != "64"
    assert times(results.rows)["rung", "f2"]["tile"] == "64"
    found = {entry.rung: entry for entry in tile_table.read_csv(tmp_path / "tiles.csv")}
    assert found["f2"].microseconds == pytest.approx(400)
    assert best(LAYER.layer, "forward", target="sm_90") == (find_rung("f2"), (64,))


def test_a_wrong_result_is_said_and_never_chosen(tmp_path):
    device = FakeDevice()
    right = device.launcher

    def launcher(rung, layer, tile):
        launch = right(rung, layer, tile)

        def run(*tensors):
            launch(*tensors)
            if rung.name == "f2":
                tensors[-1].mul_(1.001)

        return run

    device.launcher = launcher
    device.seconds = {"float32 f2": 1e-6}
    run, results = new_run(tmp_path, device)
    run.work(UNIT)
    (row,) = [row for row in results.rows if row["provider"] == "f2" and row["metric"] == "time"]
    assert float(row["error_in_bounds"]) > 1
    assert not is_time(row)
    assert any(
        text.startswith("f2 (rung) forward float32") and "is wrong" in text for text in failures(results.rows)
    )
    assert "f2" not in {entry.rung for entry in tile_table.read_csv(tmp_path / "tiles.csv")}
    assert summarise(results.rows)[0].rung == "f0"


def test_a_kernel_that_writes_nothing_is_wrong(tmp_path):
    device = FakeDevice()
    device.launcher = lambda rung, layer, tile: lambda *tensors: None
    run, results = new_run(tmp_path, device)
    run.work(UNIT)
    row = times(results.rows)["rung", "f2"]
    assert math.isnan(float(row["error_in_bounds"]))
    assert not is_time(row)


def test_an_error_is_entered_and_the_run_goes_on(tmp_path):
    device = FakeDevice()
    device.events = {
        "masked-dense": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate\nmore"),
        "float32 f0": ValueError("one\n\ntwo"),
    }
    run, results = new_run(tmp_path, device)
    run.work(UNIT)
    assert run.is_done(UNIT)
    row = times(results.rows)["peer", "masked-dense"]
    assert (row["problem"], row["value_50"], row["samples"]) == ("OutOfMemoryError: out of memory", "", "0")
    assert [r["problem"] for r in results.rows if r["provider"] == "f0" and r["problem"]] == ["ValueError: one"]
    assert all(row["value_50"] for row in times(results.rows).values() if row["provider"] != "masked-dense")


def test_a_lost_gpu_stops_the_run_which_then_goes_on_after_it(tmp_path):
    device = FakeDevice()
    lost = RuntimeError("an illegal memory access was encountered")
    lost.breaks = True
    device.events = {"window-gemms": lost}
    run, _ = new_run(tmp_path, device)
    with pytest.raises(GpuLost, match=r"stopped working at window-gemms .* illegal memory access"):
        run.work(UNIT)
    run, results = new_run(tmp_path, FakeDevice())
    run.work(UNIT)
    assert "illegal" in times(results.rows)["peer", "window-gemms"]["problem"]
    assert is_time(times(results.rows)["peer", "masked-dense"])


def test_the_two_fastest_peers_are_compiled(tmp_path, monkeypatch):
    from scc_numba.nn import peers

    monkeypatch.setattr(peers, "compiled", lambda peer: peer)
    device = FakeDevice()
    device.seconds = {"masked-dense": 1e-4, "one-cycle": 2e-4}
    run, results = new_run(tmp_path, device)
    for unit in plan([LAYER], ["forward"]):
        run.work(unit)
        assert run.is_done(unit)
    named = {(row["provider"], row["precision"]) for row in results.rows if row["kind"] == "compiled"}
    assert named == {(name, p) for name in ("masked-dense", "one-cycle") for p in ("float32", "tf32")}


def test_the_plan_leaves_torch_compile_for_last():
    units = plan([LAYER, LAYER], ["forward", "grad_input"])
    assert len(units) == 16
    assert [unit.compiled for unit in units] == [False] * 8 + [True] * 8
    assert not any(unit.compiled for unit in plan([LAYER], compiled=False))


def test_precision_is_set_and_put_back():
    from scc_numba.measure.bench.providers import Provider, precision_of

    backends = torch.backends
    for precision in ("float32", "tf32"):
        before = backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32
        with precision_of(Provider("roof", "gemm", "forward", precision)):
            assert backends.cuda.matmul.allow_tf32 is (precision == "tf32")
            assert backends.cudnn.allow_tf32 is (precision == "tf32")
        assert before == (backends.cuda.matmul.allow_tf32, backends.cudnn.allow_tf32)


def test_operands_rotate_and_large_ones_are_fewer(monkeypatch):
    monkeypatch.setattr(providers_module, "SETS", 3)
    operands = providers_module.Operands(LAYER, FakeDevice())
    assert len(operands.sets) == 3
    assert not torch.equal(operands.sets[0]["x"], operands.sets[1]["x"])
    monkeypatch.setattr(providers_module, "MOST_BYTES", 1)
    assert len(providers_module.Operands(LAYER, FakeDevice()).sets) == 1
