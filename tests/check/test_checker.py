"""What `check` refuses, and how it reports."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import scc_reference

from scc_numba.check import check
from scc_numba.device.number import in_numpy
from scc_numba.kernels import find_rung


def right(x, weight, bias=None, *, channels):
    return scc_reference.scc_forward(x, weight, bias, channels=channels)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "said"),
    [
        ((3, "forward"), {}, TypeError, "run=3 cannot be called"),
        ((None, "forward"), {}, TypeError, "run=None cannot be called"),
        (("f1", "forward"), {}, TypeError, r"find_rung\('f1'\)"),
        ((right, "forwards"), {}, ValueError, "did you mean 'forward'"),
        ((right, "forward"), {"dtypes": []}, ValueError, r"dtypes=\[\] must name"),
        ((right, "forward"), {"dtypes": ["int32"]}, ValueError, "must name one floating-point type"),
        ((right, "forward"), {"max_examples": 0}, ValueError, "max_examples=0"),
        ((right, "forward"), {"max_examples": 1.5}, ValueError, "max_examples=1.5"),
        ((right, "forward"), {"max_examples": "3"}, ValueError, "max_examples='3'"),
        ((find_rung("f0"), "forward"), {"dtypes": ["float16"]}, ValueError, "computes in float32 or float64"),
        ((find_rung("f0"), "grad_input"), {}, ValueError, "rung f0 computes forward"),
    ],
)
def test_bad_arguments_are_named(arguments, options, error, said):
    with pytest.raises(error, match=said):
        check(*arguments, **options)


def test_a_rung_is_drawn_in_all_its_dtypes():
    rung, drawn = find_rung("f5"), set()

    def build(layer, tile=None):
        drawn.add(layer.dtype.name)
        return rung.build(layer, tile)

    assert check(replace(rung, build=build), "forward", max_examples=15).passed
    assert drawn == set(in_numpy(rung.dtypes))


def test_bfloat16_needs_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    with pytest.raises(ValueError, match="pip install ml_dtypes"):
        check(right, "forward", dtypes=["bfloat16"])


@pytest.mark.parametrize("dtypes", ["float32", ["float32"], [np.float32]])
def test_dtypes_by_name_or_type(dtypes):
    assert check(right, "forward", max_examples=5, dtypes=dtypes).passed


def test_the_same_seed_draws_the_same_layers():
    def seen(seed):
        shapes = []

        def run(x, weight, bias=None, *, channels):
            shapes.append(x.shape)
            return right(x, weight, bias, channels=channels)

        check(run, "forward", max_examples=10, seed=seed)
        return shapes

    assert seen(1) == seen(1) != seen(2)


def test_what_raises_is_reported_once_with_its_place():
    def run(x, weight, bias=None, *, channels):
        raise KeyError("oops")

    result = check(run, "forward")
    assert result.failure.property == "returns_an_array"
    assert result.failure.also == ()
    assert result.failure.picture == ""
    assert "KeyError: 'oops' (test_checker.py:" in result.failure.difference
    assert str(result).count("oops") == 1
    assert "after 1 layer;" in str(result)


def test_a_failure_that_comes_and_goes_says_so():
    calls = 0

    def run(x, weight, bias=None, *, channels):
        nonlocal calls
        calls += 1
        y = right(x, weight, bias, channels=channels)
        return y if calls % 97 else y + 1

    result = check(run, "forward", max_examples=60)
    assert not result.passed
    assert not result.failure.always
    assert "comes and goes" in str(result)


def test_the_picture_marks_the_channel_that_is_misread():
    def run(x, weight, bias=None, *, channels):
        index = np.minimum(channels.starts[:, None] + np.arange(channels.group_width), channels.in_channels - 1)
        gathered = x.reshape(*x.shape[:2], -1)[:, index] if x.size else np.zeros((x.shape[0], *index.shape, 0))
        y = np.einsum("nkgp,kg->nkp", gathered, weight).astype(x.dtype)
        y += 0 if bias is None else bias[:, None]
        return y.reshape(x.shape[0], channels.out_channels, *x.shape[2:])

    picture = check(run, "forward", dtypes=["float32"]).failure.picture
    assert "the window wraps" in picture
    assert "^" in picture


def test_infinities_leak_no_warning(recwarn):
    def run(x, weight, bias=None, *, channels):
        return right(x, weight, bias, channels=channels) + np.inf

    assert not check(run, "forward").passed
    assert [str(w.message) for w in recwarn if issubclass(w.category, RuntimeWarning)] == []
