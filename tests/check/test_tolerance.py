"""The bound lets every right sum through, and nothing that is wrong over an array."""

import math

import numpy as np
import pytest
from scc_reference import SlidingChannels, scc_forward

from scc_numba.check.tolerance import accumulator, errors_in_bounds, finfo, reference, wider
from scc_numba.device.number import SIXTEEN_BITS, in_numpy, number_type
from scc_numba.kernels import OPS

SIZES = (4, 33, 256, 1024)  # products in a sum


def layer_with_sums_of(n, op, draw, positive=False, dtype="float32"):
    """Channels and operands for which an element of the result is a sum of n products."""
    normal = (lambda shape: np.abs(draw.standard_normal(shape))) if positive else draw.standard_normal
    if op == "forward":
        channels = SlidingChannels(2 * n, 6, 2, 0.5)
        shapes = {"x": (2, 2 * n, 5), "weight": (6, n)}
    elif op == "grad_input":  # groups = 1: every filter covers every channel
        channels = SlidingChannels(6, n, 1, 0.5)
        shapes = {"grad_output": (2, n, 5), "weight": (n, 6)}
    else:
        channels = SlidingChannels(6, 4, 2, 0.34)
        shapes = {"grad_output": (1, 4, n), "x": (1, 6, n)}
    operands = {name: normal(shape).astype(number_type(dtype)) for name, shape in shapes.items()}
    if op == "forward":
        operands["bias"] = None
    return channels, operands


def worst(result, op, operands, channels, zero_mean=True):
    dtype = next(iter(operands.values())).dtype
    return errors_in_bounds(result.astype(dtype), op, operands, channels, zero_mean=zero_mean).max()


def exact(op, operands, channels):
    wide = {name: None if array is None else array.astype(np.float64) for name, array in operands.items()}
    return reference(op, wide, channels)


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("dtype", in_numpy(("float32", *SIXTEEN_BITS)))
def test_results_of_float32_sums_pass_and_mistakes_do_not(op, n, positive, dtype):
    channels, operands = layer_with_sums_of(n, op, np.random.default_rng(n), positive, dtype)
    right = exact(op, operands, channels)
    zero_mean = not positive
    summed = {name: None if array is None else array.astype(np.float32) for name, array in operands.items()}
    assert worst(reference(op, summed, channels), op, operands, channels, zero_mean) <= 1
    assert worst(np.zeros_like(right), op, operands, channels, zero_mean) > 1, "zeros"

    linear = [name for name in operands if name != "bias"]
    dropped = dict(operands)
    if op == "grad_weight":  # one of the n positions is forgotten
        dropped["x"] = operands["x"].copy()
        dropped["x"][0, :, n // 2] = 0
    else:  # one of the n channels, or filters, is forgotten
        dropped[linear[0]] = operands[linear[0]].copy()
        dropped[linear[0]][:, n // 2] = 0
    assert worst(exact(op, dropped, channels), op, operands, channels, zero_mean) > 1, "a dropped term"

    exchanged = dict(operands)
    second = operands[linear[1]].copy()
    if op == "forward":
        second[:, [0, 1]] = second[:, [1, 0]]
    elif op == "grad_input":
        second[[0, 1]] = second[[1, 0]]
    else:
        second[0, :, [0, 1]] = second[0, :, [1, 0]]
    exchanged[linear[1]] = second
    assert worst(exact(op, exchanged, channels), op, operands, channels, zero_mean) > 1, "two exchanged numbers"


@pytest.mark.parametrize("n", [1, 2, 7, 64, 1024, 16_384, 131_072])
def test_sequential_float32_sums_stay_well_within(n):
    # The worst order there is: one product after the other, in float32, as a naive kernel does.
    draw = np.random.default_rng(n)
    channels = SlidingChannels(2, 2, 2, 0)
    repeats = 20 if n > 1000 else 200
    worst_seen = 0.0
    for _ in range(repeats):
        operands = {name: draw.standard_normal((1, 2, n)).astype(np.float32) for name in ("grad_output", "x")}
        products = operands["grad_output"][0] * operands["x"][0]
        result = np.add.accumulate(products, axis=1, dtype=np.float32)[:, -1:]
        worst_seen = max(worst_seen, worst(result, "grad_weight", operands, channels))
    assert 0 < worst_seen <= 0.5


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_never_within_the_bound(poison):
    channels, operands = layer_with_sums_of(4, "forward", np.random.default_rng(0))
    result = reference("forward", operands, channels)
    result[0, 0, 0] = poison
    errors = errors_in_bounds(result, "forward", operands, channels, zero_mean=True)
    assert not errors[0, 0, 0] <= 1
    assert np.all(errors.ravel()[1:] <= 1)


def test_a_bias_is_one_more_term():
    channels = SlidingChannels(4, 2, 2, 0)
    x, weight = np.zeros((1, 4, 1), np.float32), np.zeros((2, 2), np.float32)
    operands = {"x": x, "weight": weight, "bias": np.ones(2, np.float32)}
    off_by_an_ulp = np.full((1, 2, 1), 1 + np.finfo(np.float32).eps, np.float32)
    assert worst(off_by_an_ulp, "forward", operands, channels) < 1
    assert worst(np.zeros((1, 2, 1)), "forward", operands, channels) > 1


def test_nothing_summed_must_be_exactly_zero():
    channels = SlidingChannels(8, 1, 4, 0)  # channels 2 to 7 are covered by no filter
    operands = {"grad_output": np.ones((1, 1, 3), np.float32), "weight": np.ones((1, 2), np.float32)}
    right = reference("grad_input", operands, channels)
    assert worst(right, "grad_input", operands, channels) <= 1
    assert worst(right + np.float32(1e-30), "grad_input", operands, channels) == math.inf


def test_float64_is_held_to_wider_arithmetic():
    if np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
        pytest.skip("this platform has no extended precision")
    assert wider(np.dtype(np.float32)) == np.float64
    assert wider(np.dtype(np.float64)) == np.longdouble
    draw = np.random.default_rng(0)
    channels = SlidingChannels(64, 4, 2, 0.5)
    operands = {"x": draw.standard_normal((1, 64, 9)), "weight": draw.standard_normal((4, 32)), "bias": None}
    right = scc_forward(**operands, channels=channels)
    assert errors_in_bounds(right, "forward", operands, channels, zero_mean=True).max() <= 1
    in_float32 = scc_forward(
        operands["x"].astype(np.float32), operands["weight"].astype(np.float32), channels=channels
    )
    assert errors_in_bounds(in_float32.astype(float), "forward", operands, channels, zero_mean=True).max() > 1000


@pytest.mark.parametrize("zero_mean", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_the_bound_is_the_documented_formula(zero_mean, bias):
    channels = SlidingChannels(8, 3, 2, 0.5)
    draw = np.random.default_rng(0)
    x, weight = (draw.standard_normal(shape).astype(np.float32) for shape in ((1, 8, 1), (3, 4)))
    operands = {"x": x, "weight": weight, "bias": np.float32([0.5, -1, 2]) if bias else None}
    right = exact("forward", operands, channels)
    k, u = 1, 2.0**-24
    terms = [float(x[0, (2 * k + j) % 8, 0]) * float(weight[k, j]) for j in range(4)]
    terms += [float(operands["bias"][k])] if bias else []
    size = math.sqrt(sum(t * t for t in terms)) if zero_mean else sum(abs(t) for t in terms)
    bound = 8 * u * math.sqrt(len(terms)) * size + u * abs(sum(terms))
    off = right.astype(np.float64)
    off[0, k, 0] += 1.5 * bound
    # a float64 result, so that it can be off by exactly that; its unit roundoff is not float32's
    errors = errors_in_bounds(off, "forward", operands, channels, zero_mean=zero_mean)
    assert errors[0, k, 0] * 2.0**-53 / u == pytest.approx(1.5, rel=1e-6)


@pytest.mark.parametrize("dtype", in_numpy(SIXTEEN_BITS))
def test_the_accumulator_of_16_bit_results_is_float32(dtype):
    dtype = number_type(dtype)
    assert accumulator(dtype) == np.float32
    assert wider(dtype) == np.float64
    stored = {"float16": 2.0**-11, "bfloat16": 2.0**-8}[dtype.name]
    assert finfo(dtype).eps / 2 == stored
    # One product, 3 · 1 = 3: what is stored may be off by an ulp's half, and by what float32 adds to that.
    channels = SlidingChannels(1, 1, 1, 0)
    operands = {"x": np.full((1, 1, 1), 3, dtype), "weight": np.ones((1, 1), dtype), "bias": None}
    ulp = 4 * stored  # of numbers from 2 to 4
    bound = 8 * 2.0**-24 * 3 + stored * 3
    error = errors_in_bounds(np.full((1, 1, 1), 3 + ulp, dtype), "forward", operands, channels, zero_mean=True)
    assert error[0, 0, 0] == pytest.approx(ulp / bound, rel=1e-6)
    assert error[0, 0, 0] > 1


def test_results_below_the_exponents_of_float16_are_rounded_to_its_grid():
    channels = SlidingChannels(1, 1, 1, 0)
    tiny = float(np.finfo(np.float16).smallest_subnormal)
    x, weight = np.full((1, 1, 1), 3 * tiny, np.float16), np.full((1, 1), 0.49, np.float16)
    operands = {"x": x, "weight": weight, "bias": None}
    assert worst(np.full((1, 1, 1), tiny), "forward", operands, channels) <= 1  # 1.47 of them
    assert worst(np.full((1, 1, 1), 2 * tiny), "forward", operands, channels) > 1
    assert worst(np.zeros((1, 1, 1)), "forward", operands, channels) > 1
    nothing = {**operands, "x": np.zeros((1, 1, 1), np.float16)}
    assert worst(np.full((1, 1, 1), tiny), "forward", nothing, channels) == math.inf
