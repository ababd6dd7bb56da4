"""`scc-numba bench` on bad input, with no GPU, and interrupted."""

import os
import re
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from scc_numba.cli import app
from scc_numba.cli import bench as module
from scc_numba.device import backend
from scc_numba.measure.bench.results import Results

GPU = backend().name == "gpu"
MACHINE = {"gpu": "A GPU", "target": "sm_90", "driver": "1", "torch": "2", "cuda": "13"}
no_gpu = pytest.mark.skipif(GPU, reason="there is a GPU")


def bench(*arguments):
    result = CliRunner().invoke(app, ["bench", *map(str, arguments)])
    return result.exit_code, " ".join((result.stdout + result.stderr).split())


@no_gpu
def test_with_no_gpu_it_says_so_offers_the_model_and_measures_nothing(tmp_path):
    code, said = bench("--device", "gpu", "--output", tmp_path)
    assert code == 2
    assert re.search(r"measured on a GPU only, and there is none to use here: .*`scc-numba model`", said)
    assert list(tmp_path.iterdir()) == []
    assert "µs" not in said


def test_an_unknown_set_of_layers(tmp_path):
    code, said = bench("--output", tmp_path, "--layers", "mobilnet")
    assert (code, "layers='mobilnet' is not a set of layers: did you mean 'mobilenet'?" in said) == (2, True)


def test_another_device(tmp_path):
    code, said = bench("--output", tmp_path, "--device", "emulator")
    assert (code, "device='emulator': times are measured on 'gpu' only" in said) == (2, True)


def test_an_unknown_operation(tmp_path):
    code, said = bench("--output", tmp_path, "--op", "forwrad")
    assert (code, "did you mean 'forward'" in said) == (2, True)


def test_a_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    code, said = bench("--output", tmp_path / "file")
    assert (code, "it is a file; nothing was started" in said) == (2, True)
    if os.geteuid():
        (tmp_path / "locked").mkdir(mode=0o500)
        code, said = bench("--output", tmp_path / "locked")
        assert (code, "cannot write to folder" in said) == (2, True)


def test_the_summary_of_a_folder(tmp_path):
    code, said = bench("--output", tmp_path, "--summary")
    assert (code, "bench.csv" in said) == (2, True)
    table = Results(tmp_path / "bench.csv", MACHINE)
    about = {"op": "forward", "precision": "float32", "layer": "L", "metric": "time"}
    about |= {"in_channels": 256, "out_channels": 256, "groups": 2, "overlap": "1/2"}
    table.add({**about, "kind": "roof", "provider": "gemm", "value_50": 80})
    table.add({**about, "kind": "rung", "provider": "f8", "value_50": 100, "error_in_bounds": 0.1, "tile": "1x2"})
    code, said = bench("--output", tmp_path, "--summary")
    assert code == 0
    assert "measured on A GPU" in said
    assert "L forward float32 f8 1x2 100 80.0 %" in said
    (tmp_path / "bench.csv").write_text("# scc-numba bench, format 99, code 0\n")
    code, said = bench("--output", tmp_path, "--summary")
    assert (code, "is of format 99, this version knows format 1" in said) == (2, True)


@pytest.fixture
def fake(monkeypatch):
    """A device on which every unit is done at once, unless `event` is to be raised."""
    made = SimpleNamespace(machine=lambda: MACHINE, event=None)

    class FakeRun:
        def __init__(self, results, device, seconds, on_task):
            self.results, self.done = results, set()

        def work(self, unit):
            if made.event is not None and len(self.done) == 5:
                raise made.event
            self.results.add(
                {"layer": unit.layer.name, "op": unit.op, "precision": unit.precision, "kind": "peer"}
                | {"in_channels": 8, "out_channels": 8, "groups": 2, "overlap": "1/2"}
                | {"metric": "time", "provider": "one-cycle", "value_50": 3}
            )
            self.done.add(unit)

        def is_done(self, unit):
            return unit in self.done

    monkeypatch.setattr(module, "GpuDevice", lambda: made)
    monkeypatch.setattr(module, "Run", FakeRun)
    return made


def test_a_whole_run(fake, tmp_path):
    code, said = bench("--output", tmp_path, "--layers", "one", "--op", "forward")
    assert (code, "complete: 4 units" in said) == (0, True)
    assert {path.name for path in tmp_path.iterdir()} == {"bench.csv", "cublas.svg", "peers.svg"}


@pytest.mark.parametrize(
    ("event", "exit_code", "message"),
    [
        (module.OutOfTime(), 0, "of 288 units are left: the same command goes on"),
        (KeyboardInterrupt(), 130, "interrupted; the results so far are kept"),
        (module.GpuLost("the GPU stopped working at f3"), 1, "the GPU stopped working at f3"),
    ],
)
def test_a_run_that_stops_keeps_its_results(fake, tmp_path, event, exit_code, message):
    fake.event = event
    code, said = bench("--output", tmp_path)
    assert code == exit_code
    assert message in said
    assert "283 of 288 units are left" in said
    assert len((tmp_path / "bench.csv").read_text().splitlines()) == 2 + 5


def test_results_of_another_gpu_are_not_continued(fake, tmp_path):
    Results(tmp_path / "bench.csv", {"gpu": "An older GPU"}).add({"provider": "f0"})
    code, said = bench("--output", tmp_path)
    assert (code, "holds times of another GPU, An older GPU: name another folder with --output" in said) == (
        2,
        True,
    )
