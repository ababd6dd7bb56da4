"""Each rung's prediction holds for it, and does not yet hold for the rung below."""

import math

import pytest

from scc_numba.kernels import OPS, Prediction, ladder
from scc_numba.measure.evidence import METRICS, SASS_METRICS, figure
from scc_numba.measure.sass import missing

NEEDS_TOOLS = pytest.mark.skipif(missing() is not None, reason=str(missing()))
PAIRS = [
    pytest.param(below, rung, id=rung.name, marks=[NEEDS_TOOLS] if rung.prediction.metric in SASS_METRICS else [])
    for op in OPS
    for below, rung in zip(ladder(op), ladder(op)[1:], strict=False)
    if rung.prediction is not None
]


@pytest.mark.parametrize(("below", "rung"), PAIRS)
def test_prediction(below, rung):
    prediction = rung.prediction
    assert prediction.holds(figure(rung, prediction.metric))
    assert not prediction.holds(figure(below, prediction.metric))


@pytest.mark.parametrize(("below", "rung"), PAIRS)
def test_the_words_give_the_figures(below, rung):
    before, _, after = rung.prediction.words.rpartition(": ")[2].partition(" → ")
    assert says(before, figure(below, rung.prediction.metric))
    assert says(after, figure(rung, rung.prediction.metric))


def says(text, value):
    """Whether the text gives the value: "1/32" exactly, "7.1" and "87 %" to their digits, "none" for infinity."""
    text = text.removesuffix("%").strip().replace(",", "")
    if text == "none":
        return math.isinf(value)
    if "/" in text:
        over, _, under = text.partition("/")
        return value == int(over) / int(under)
    return f"{value:.{len(text.partition('.')[2])}f}" == text


def test_what_words_say():
    assert says("1/32", 1 / 32)
    assert says("7.1", 7.08)
    assert not says("7.1", 7.16)
    assert says("87 %", 87.2)
    assert says("1,024", 1024)
    assert not says("2", 18)
    assert says("none", math.inf)
    assert not says("none", 4.5)


def test_predictions_fall_or_rise():
    assert Prediction("divisions", "", at_most=2).holds(2)
    assert not Prediction("divisions", "", at_most=2).holds(3)
    assert Prediction("share", "", at_least=90).holds(90)
    assert not Prediction("share", "", at_least=90).holds(89)
    for both_or_none in ({}, {"at_most": 1, "at_least": 1}):
        with pytest.raises(ValueError, match="exactly one of the two"):
            Prediction("share", "", **both_or_none)


def test_metrics_have_descriptions():
    assert all(metric.__doc__ for metric in METRICS.values())
