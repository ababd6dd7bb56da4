"""The loops are the definition; the exported functions equal them."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scc_reference
from hypothesis import given, settings
from scc_reference import SlidingChannels, loops, vectorised

from scc_numba.check.strategies import cases
from scc_numba.check.trial import Trial
from scc_numba.kernels import OPS

CHANNELS = SlidingChannels(8, 6, groups=2, overlap=0.5)


@pytest.mark.parametrize("op", OPS)
@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_vectorised_equals_loops(op, case):
    if case.layer.multiply_adds > 6000:
        return  # the loops take a microsecond a product
    trial = Trial(op, getattr(vectorised, f"scc_{op}"), None, case, deterministic=True)
    operands = trial.integers
    expected = getattr(loops, f"scc_{op}")(**operands, channels=case.layer.channels)
    result = getattr(vectorised, f"scc_{op}")(**operands, channels=case.layer.channels)
    assert result.dtype == expected.dtype == case.layer.dtype
    np.testing.assert_array_equal(result, expected)
    assert result.flags.c_contiguous
    assert result.flags.owndata or result.base.flags.owndata


@settings(max_examples=60, deadline=None)
@given(case=cases())
def test_grad_bias_equals_loops(case):
    draw = np.random.default_rng(case.seed)
    grad_output = draw.integers(-3, 4, (*case.layer.output_shape[:2], *case.spatial)).astype(case.layer.dtype)
    result = vectorised.scc_grad_bias(grad_output)
    expected = loops.scc_grad_bias(grad_output)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


def test_loops_by_hand():
    # C = 4, G = 2, S = 1: windows 0 1, 1 2, 2 3, 3 0
    channels = SlidingChannels(4, 4, groups=2, overlap=0.5)
    x = np.array([1.0, 10.0, 100.0, 1000.0]).reshape(1, 4, 1)
    weight = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0]])
    bias = np.array([0.5, 0.0, 0.0, 0.0])
    y = loops.scc_forward(x, weight, bias, channels=channels)
    assert y.ravel().tolist() == [21.5, 430.0, 6500.0, 7008.0]
    grad = loops.scc_grad_input(np.ones((1, 4, 1)), weight, channels=channels)
    assert grad.ravel().tolist() == [1 + 8, 2 + 3, 4 + 5, 6 + 7]
    grad = loops.scc_grad_weight(np.ones((1, 4, 1)), x, channels=channels)
    assert grad.tolist() == [[1, 10], [10, 100], [100, 1000], [1000, 1]]


def test_a_channel_that_no_window_covers_has_gradient_zero():
    channels = SlidingChannels(8, 1, groups=4, overlap=0)
    grad = vectorised.scc_grad_input(np.ones((1, 1, 3)), np.ones((1, 2)), channels=channels)
    assert grad[0, :, 0].tolist() == [1, 1, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize("module", [loops, vectorised])
@pytest.mark.parametrize(
    ("name", "shapes", "words"),
    [
        ("scc_forward", [(2, 7, 3), (6, 4)], r"x has shape \(2, 7, 3\), so C=7, .* in_channels=8"),
        ("scc_forward", [(8,), (6, 4)], r"x has shape \(8,\), expected \(N, C, \*spatial\)"),
        ("scc_forward", [(2, 8, 3), (6, 5)], r"weight has shape \(6, 5\), expected .* \(6, 4\)"),
        ("scc_forward", [(2, 8, 3), (6, 4, 1, 1)], "weight has shape"),
        ("scc_forward", [(2, 8, 3), (6, 4), (5,)], r"bias has shape \(5,\), expected .*\(6,\)"),
        ("scc_grad_input", [(2, 5, 3), (6, 4)], "grad_output has shape .*K=5.* out_channels=6"),
        ("scc_grad_input", [(2, 6, 3), (4, 6)], "weight has shape"),
        ("scc_grad_weight", [(2, 6, 3), (2, 8, 4)], r"x has shape \(2, 8, 4\), expected \(2, 8, 3\)"),
        ("scc_grad_weight", [(2, 6, 3), (1, 8, 3)], r"x has shape \(1, 8, 3\), expected \(2, 8, 3\)"),
        ("scc_grad_weight", [(2, 8, 3), (2, 8, 3)], "grad_output has shape"),
    ],
)
def test_shapes_that_disagree_are_named(module, name, shapes, words):
    with pytest.raises(ValueError, match=words):
        getattr(module, name)(*(np.zeros(shape) for shape in shapes), channels=CHANNELS)


@pytest.mark.parametrize("module", [loops, vectorised])
@pytest.mark.parametrize("dtype", [np.int32, np.complex64, np.bool_])
def test_dtypes_that_are_not_floating_are_refused(module, dtype):
    with pytest.raises(TypeError, match=f"x has dtype {np.dtype(dtype)}"):
        module.scc_forward(np.zeros((2, 8, 3), dtype), np.zeros((6, 4), dtype), channels=CHANNELS)


@pytest.mark.parametrize("module", [loops, vectorised])
def test_mixed_dtypes_are_refused(module):
    with pytest.raises(TypeError, match="share one dtype, got x float32, weight float64"):
        module.scc_forward(np.zeros((2, 8, 3), np.float32), np.zeros((6, 4)), channels=CHANNELS)


@pytest.mark.parametrize("module", [loops, vectorised])
@pytest.mark.parametrize(
    ("x", "said"),
    [
        ([[1.0]], "x must be an array, not list"),
        (None, "x must be an array, not NoneType"),
        (np.ma.zeros((2, 8, 3)), "x is a MaskedArray"),
    ],
)
def test_what_is_no_plain_array_is_refused(module, x, said):
    with pytest.raises(TypeError, match=said):
        module.scc_forward(x, np.zeros((6, 4)), channels=CHANNELS)


def test_a_convolution_weight_gets_a_hint():
    with pytest.raises(ValueError, match=r"weight\.reshape\(6, 4\) drops the ones"):
        scc_reference.scc_forward(np.zeros((2, 8, 3)), np.zeros((6, 4, 1, 1)), channels=CHANNELS)


def test_channels_must_be_channels():
    with pytest.raises(TypeError, match="channels must be a SlidingChannels, not int"):
        scc_reference.scc_forward(np.zeros((2, 8, 3)), np.zeros((6, 4)), channels=8)


def test_grad_bias_refuses_a_vector():
    with pytest.raises(ValueError, match="grad_output has shape"):
        scc_reference.scc_grad_bias(np.zeros(3))


def test_needs_numpy_alone():
    # Everything but numpy and the standard library is made unimportable.
    code = """
import sys
class OnlyNumpy:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top not in ("numpy", "scc_reference"):
            raise ImportError(name + " is not numpy")
sys.meta_path.insert(0, OnlyNumpy())
from scc_reference import *
print(SlidingChannels(8, 4, 2, 0.5).step, scc_forward.__name__)
"""
    folder = Path(scc_reference.__file__).parents[1]
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=folder, env={"PYTHONPATH": str(folder)}
    )
    assert ran.stdout.split() == ["2", "scc_forward"], ran.stderr
