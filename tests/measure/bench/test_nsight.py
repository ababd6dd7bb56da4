"""The profiler's command lines, with a profiler that only notes them."""

import sys

import pytest

from scc_numba.device import backend, profile
from scc_numba.kernels import find_rung
from scc_numba.measure.bench import nsight
from scc_numba.measure.bench.layers import STANDARD, layer_set


def test_its_layers_are_in_the_standard_set():
    assert set(nsight.LAYERS) <= {layer.name for layer in STANDARD}


def test_it_takes_the_highest_of_each_ladder():
    names = [rung.name for rung in nsight.rungs()]
    assert names[0] == "f8"
    assert len(names) == len(set(names))
    assert {name[0] for name in names} == {"f", "x", "w"}


@pytest.fixture
def ncu(monkeypatch, tmp_path):
    """A script in place of ncu: it writes its arguments to the report."""
    script = tmp_path / "ncu"
    note = "open(a[a.index('--export') + 1], 'w').write(' '.join(a[1:]))"
    script.write_text(f"#!{sys.executable}\nimport sys\na = sys.argv\n{note}\n")
    script.chmod(0o755)
    monkeypatch.setattr(nsight.shutil, "which", lambda name: str(script))
    return tmp_path / "reports"


def test_a_report_for_each_and_none_twice(ncu, capsys):
    assert nsight.main([str(ncu)]) == 0
    made = sorted(path.name for path in ncu.iterdir())
    assert len(made) == len(nsight.rungs()) * len(nsight.LAYERS)
    text = (ncu / f"f8_{nsight.LAYERS[0]}.ncu-rep").read_text()
    assert "--kernel-name regex:forward_hoisted --launch-skip 2 --launch-count 1" in text
    assert text.endswith(f"-m scc_numba.measure.bench.nsight --launch f8 {nsight.LAYERS[0]}")
    capsys.readouterr()
    assert nsight.main([str(ncu)]) == 0
    assert capsys.readouterr().out == ""


def test_it_stops_in_time_and_says_what_failed(ncu, capsys, monkeypatch):
    assert nsight.main([str(ncu), "--seconds", "-1"]) == 0
    assert "the same command goes on" in capsys.readouterr().out
    monkeypatch.setattr(nsight.shutil, "which", lambda name: "/bin/false")
    assert nsight.main([str(ncu)]) == 1
    assert "reports could not be made" in capsys.readouterr().out


def test_without_ncu_it_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(nsight.shutil, "which", lambda name: None)
    assert nsight.main([str(tmp_path / "none")]) == 0
    assert "ncu is not installed" in capsys.readouterr().out


def test_what_it_profiles_launches_the_kernel():
    if backend().name == "simulator":
        pytest.skip("minutes in the simulator")
    from scc_reference import SlidingChannels

    from scc_numba.measure.bench.layers import BenchLayer

    tiny = BenchLayer("ResNet18", "CIFAR", SlidingChannels(8, 8, 2, 0.5), 3, 2)
    with profile() as report:
        nsight.launch(find_rung("f2"), tiny)
    assert [entry.kernel for entry in report.launches] == ["forward_flat_pointers"] * (nsight.WARM_UP + 1)
    assert nsight.LAYERS[0] in {layer.name for layer in layer_set("full")}
