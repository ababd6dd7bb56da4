"""The check of sampled elements agrees with the reference, and finds what is wrong."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scc_numba.check.strategies import sliding_channels
from scc_numba.check.tolerance import as_multiplied, reference
from scc_numba.kernels import OPS, Layer

torch = pytest.importorskip("torch")
from scc_numba.measure.bench.providers import NAMES  # noqa: E402
from scc_numba.measure.bench.samples import to_tf32, worst_error  # noqa: E402


def drawn(op, channels, batch, pixels, seed):
    layer = Layer(channels, batch, pixels, np.dtype(np.float32))
    draw = np.random.default_rng(seed)
    shapes = {"x": layer.input_shape, "weight": layer.weight_shape, "grad_output": layer.output_shape}
    names = [name for name in NAMES[op] if name != "bias"]
    return layer, {name: draw.standard_normal(shapes[name]).astype(np.float32) for name in names}


def exact(op, arrays, channels):
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    return reference(op, wide | ({"bias": None} if op == "forward" else {}), channels)


def error(op, result, layer, arrays, **more):
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    more = {"rounds_to": None, "tf32": False, "seed": 0} | more
    return worst_error(torch.from_numpy(result.astype(np.float32)), op, tensors, layer, **more)


@pytest.mark.parametrize("op", OPS)
@settings(max_examples=60, deadline=None)
@given(
    channels=sliding_channels(),
    batch=st.integers(1, 3),
    pixels=st.sampled_from([1, 4, 9, 49]),
    seed=st.integers(0, 2**16),
)
def test_right_passes_and_wrong_does_not(op, channels, batch, pixels, seed):
    layer, arrays = drawn(op, channels, batch, pixels, seed)
    result = exact(op, arrays, channels)
    assert error(op, result, layer, arrays) <= 1
    covered = channels.dense_mask().any() if op != "grad_input" else channels.dense_mask().any(axis=0).all()
    if covered:
        assert error(op, np.zeros_like(result), layer, arrays) > 1
        assert error(op, result * (1 + 1e-3), layer, arrays) > 1
    assert np.isnan(error(op, np.full_like(result, np.nan), layer, arrays))


@pytest.mark.parametrize("op", OPS)
@settings(max_examples=20, deadline=None)
@given(channels=sliding_channels(), seed=st.integers(0, 2**16))
def test_tf32_is_held_to_rounded_operands_or_to_a_wider_bound(op, channels, seed):
    layer, arrays = drawn(op, channels, 2, 9, seed)
    rounded = exact(op, as_multiplied(arrays, "tf32"), channels)
    assert error(op, rounded, layer, arrays, rounds_to="tf32") <= 1
    assert error(op, rounded, layer, arrays, tf32=True) <= 1
    assert error(op, rounded * 1.5, layer, arrays, tf32=True) > error(op, rounded, layer, arrays, tf32=True)


def test_float32_is_not_tf32():
    from scc_reference import SlidingChannels

    layer, arrays = drawn("forward", SlidingChannels(16, 16, 2, 0.5), 4, 64, 0)
    rounded = exact("forward", as_multiplied(arrays, "tf32"), layer.channels)
    assert error("forward", rounded, layer, arrays) > 1


def test_rounding_is_that_of_the_checker():
    array = np.random.default_rng(0).standard_normal(1000).astype(np.float32)
    np.testing.assert_array_equal(
        to_tf32(torch.from_numpy(array)).numpy(), as_multiplied({"x": array}, "tf32")["x"]
    )


def test_large_reductions_take_fewer_samples(monkeypatch):
    from scc_reference import SlidingChannels

    from scc_numba.measure.bench import samples

    monkeypatch.setattr(samples, "MOST_TERMS", 64)
    layer, arrays = drawn("grad_weight", SlidingChannels(4, 4, 2, 0.5), 2, 9, 0)
    assert error("grad_weight", exact("grad_weight", arrays, layer.channels), layer, arrays) <= 1
