"""Each rung's prediction holds for it, and does not yet hold for the rung below."""

import pytest

from scc_numba.kernels import OPS, ladder
from scc_numba.measure.evidence import METRICS, figure

PAIRS = [
    pytest.param(below, rung, id=rung.name)
    for op in OPS
    for below, rung in zip(ladder(op), ladder(op)[1:], strict=False)
    if rung.prediction is not None
]


@pytest.mark.parametrize(("below", "rung"), PAIRS)
def test_prediction(below, rung):
    prediction = rung.prediction
    assert figure(rung, prediction.metric) <= prediction.at_most < figure(below, prediction.metric)


@pytest.mark.parametrize(("below", "rung"), PAIRS)
def test_the_words_give_the_figures(below, rung):
    before, _, after = rung.prediction.words.rpartition(": ")[2].partition(" → ")
    number = lambda text: float(text) if "/" not in text else int(text.split("/")[0]) / int(text.split("/")[1])  # noqa: E731
    assert figure(below, rung.prediction.metric) == number(before)
    assert figure(rung, rung.prediction.metric) == number(after)


def test_metrics_have_descriptions():
    assert all(metric.__doc__ for metric in METRICS.values())
