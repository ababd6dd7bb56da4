"""The main job: its verdicts, its figures, its records."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from scc_reference import SlidingChannels

from scc_numba.device import backend
from scc_numba.emulator import launch as emulate
from scc_numba.kernels import OPS, ladder
from scc_numba.measure import climb as module
from scc_numba.measure.climb import COLUMNS, climb, to_csv
from scc_numba.measure.line_view import profile_rung

CHANNELS = SlidingChannels(8, 6, groups=2, overlap=0.5)
NAN = np.full((2, 6, 25), np.nan, np.float32)
MAPS = np.random.default_rng(0).standard_normal((2, 8, 5, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def climbed():
    return climb(MAPS, CHANNELS)


def test_every_rung_is_there_and_right(climbed):
    assert [step.rung for step in climbed.steps] == [rung for op in OPS for rung in ladder(op)]
    assert climbed.right
    assert all(0 < step.error <= 1 for step in climbed.steps)
    assert climbed.outputs.shape == (2, 6, 5, 5)


def test_figures_and_ratios(climbed):
    for op in OPS:
        steps = climbed.of(op)
        if backend().name == "simulator":
            assert all(step.figures == () and step.ratio is None for step in steps)
            continue
        assert steps[0].ratio == 1
        for step in steps:
            assert step.ratio == steps[0].figures[0].value / step.figures[0].value


@pytest.mark.skipif(backend().name != "emulator", reason="another backend is chosen")
def test_counts_of_the_emulator(climbed):
    values = {step.rung.name: {f.name: f.value for f in step.figures} for step in climbed.steps}
    assert values["f0"]["atomic requests"] == 0
    products = 2 * 6 * 25 * 4
    assert products / 32 <= values["x0"]["atomic requests"] <= products / 32 + 6 * 4 * 4  # tails of warps
    assert values["w0"]["atomic updates of one address"] == 2 * 25
    assert values["w1"]["atomic updates of one address"] == 1
    # The same launches one by one. x0's includes the one that sets its result to zero.
    layer = climbed.layer
    zeroed = ladder("grad_input")[0].build(layer).zeroed
    fill = emulate(zeroed.kernel.function, zeroed.grid, zeroed.block, (np.ones(2 * 8 * 25, np.float32),))
    report = profile_rung(ladder("grad_input")[0], layer)
    assert fill.instructions > 0
    assert values["x0"]["PTX instructions of warps"] == report.instructions + fill.instructions
    moved = report.global_load.sectors + report.global_store.sectors + report.atomics.sectors
    assert report.atomics.sectors > 0
    assert values["x0"]["global sectors"] == moved + fill.global_store.sectors
    # y has 300 floats: 9 warps write 4 sectors each, the last writes 12 floats into 2
    report = profile_rung(ladder("forward")[0], layer)
    assert report.global_store.sectors == 9 * 4 + 2
    assert values["f0"]["global sectors"] == report.global_load.sectors + report.global_store.sectors


@pytest.mark.parametrize(("error", "right"), [(0.0, True), (1.0, True), (1.01, False), (np.nan, False)])
def test_right_is_within_the_bound(climbed, error, right):
    assert replace(climbed.steps[0], error=error).right is right


def test_a_result_with_nan_is_wrong(monkeypatch):
    right = ladder("forward")[0]
    nan = replace(right, build=lambda layer, tile=None: lambda *arrays: arrays[-1].copy_to_device(NAN))
    monkeypatch.setattr(module, "ladder", lambda op: (nan,))
    result = climb(MAPS, CHANNELS, ops=["forward"])
    assert np.isnan(result.steps[0].error)
    assert not result.right


def test_one_ladder_alone():
    seen = []
    result = climb(MAPS, CHANNELS, ops=["grad_input"], on_step=seen.append)
    assert [step.rung.op for step in result.steps] == ["grad_input"] * len(ladder("grad_input"))
    assert seen == list(ladder("grad_input"))


def test_a_wrong_rung_is_called_wrong(monkeypatch):
    right = ladder("forward")[0]
    wrong = replace(right, build=lambda layer, tile=None: replace(right.build(layer), scalars=(CHANNELS.step + 1,)))
    monkeypatch.setattr(module, "ladder", lambda op: (right, wrong))
    result = climb(MAPS, CHANNELS, ops=["forward"])
    assert [step.right for step in result.steps] == [True, False]
    assert result.steps[1].error > 1000
    assert not result.right


def test_csv_is_long_and_complete(climbed):
    rows = list(csv.DictReader(io.StringIO(to_csv(climbed))))
    assert tuple(rows[0]) == COLUMNS
    expected = sum(max(1, len(step.figures)) for step in climbed.steps)
    assert len(rows) == expected
    for row in rows:
        assert row["right"] == "True"
        assert float(row["error_in_bounds"]) <= 1
        assert row["backend"] == backend().name
        assert row["overlap"] == "1/2"
    if climbed.steps[0].figures:
        by_rung = {(row["rung"], row["metric"]): float(row["value"]) for row in rows}
        for step in climbed.steps:
            for figure in step.figures:
                assert by_rung[step.rung.name, figure.name] == pytest.approx(figure.value)
