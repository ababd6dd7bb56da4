"""PyTorch's own convolutions and its autograd give the same numbers as every rung."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scc_numba.check.strategies import cases
from scc_numba.check.tolerance import errors_in_bounds
from scc_numba.check.trial import Trial
from scc_numba.device.number import in_numpy
from scc_numba.kernels import OPS, ladder

torch = pytest.importorskip("torch")
RUNGS = [rung for op in OPS for rung in ladder(op)]


def dense_weight(weight, channels):
    """The weight (K, C, 1) of the dense 1×1 convolution that equals SCC: zero outside the windows."""
    dense = torch.zeros(channels.out_channels, channels.in_channels, dtype=weight.dtype)
    return dense.scatter(1, torch.from_numpy(channels.channel_index.copy()), weight)[:, :, None]


def torch_results(x, weight, bias, grad_output, channels):
    """Forward and both gradients by conv1d with a masked dense weight, and autograd, in float64."""
    x, weight = (torch.from_numpy(a.astype(np.float64)).requires_grad_() for a in (x, weight))
    bias = None if bias is None else torch.from_numpy(bias.astype(np.float64))
    y = torch.nn.functional.conv1d(x, dense_weight(weight, channels), bias)
    y.backward(torch.from_numpy(grad_output.astype(np.float64)))
    return {"forward": y.detach().numpy(), "grad_input": x.grad.numpy(), "grad_weight": weight.grad.numpy()}


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_masked_dense_convolution_and_autograd(rung, data):
    case = data.draw(cases(in_numpy(rung.dtypes)))
    layer = case.layer
    if layer.is_empty:
        return
    draw = np.random.default_rng(case.seed)
    arrays = {
        "x": draw.standard_normal(layer.input_shape).astype(layer.dtype),
        "weight": draw.standard_normal(layer.weight_shape).astype(layer.dtype),
        "grad_output": draw.standard_normal(layer.output_shape).astype(layer.dtype),
        "bias": draw.standard_normal(layer.channels.out_channels).astype(layer.dtype) if case.bias else None,
    }
    trial = Trial(rung.op, rung.run, rung, case, deterministic=False)
    operands = {name: arrays[name] for name in trial.operands(np.zeros)}
    result = rung.run(**operands, channels=layer.channels, tile=trial.tile)
    expected = torch_results(**arrays, channels=layer.channels)[rung.op]
    # torch is one more float64 result: within the bound of the exact one, as the rung is within its own
    ours = errors_in_bounds(result, rung.op, operands, layer.channels, zero_mean=True, rounds_to=rung.rounds_to)
    assert ours.max() <= 1
    wide = {name: None if a is None else a.astype(np.float64) for name, a in operands.items()}
    assert errors_in_bounds(expected, rung.op, wide, layer.channels, zero_mean=True).max() <= 1


@pytest.mark.parametrize("rung", ladder("forward"), ids=lambda rung: rung.name)
@settings(max_examples=8, deadline=None)
@given(groups=st.integers(1, 4), width=st.integers(1, 5), per_group=st.integers(1, 4), seed=st.integers(0, 2**16))
def test_grouped_convolution_at_overlap_zero(rung, groups, width, per_group, seed):
    from scc_reference import SlidingChannels

    C, K = groups * width, groups * per_group
    channels = SlidingChannels(C, K, groups, overlap=0)
    draw = np.random.default_rng(seed)
    x, weight = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((2, C, 3, 3), (K, width)))
    ours = (array.astype(rung.dtypes[0]) for array in (x, weight))
    # our filter k is in group k mod groups, torch's in group ⌊k·groups/K⌋
    order = np.argsort(np.arange(K) % groups, kind="stable")
    y = torch.nn.functional.conv2d(
        torch.from_numpy(x), torch.from_numpy(weight[order][:, :, None, None]), groups=groups
    )
    np.testing.assert_array_equal(rung.run(*ours, channels=channels)[:, order], y.numpy())


@pytest.mark.parametrize("rung", ladder("forward"), ids=lambda rung: rung.name)
@pytest.mark.parametrize("overlap", [0, 0.5, 0.8])
def test_groups_one_is_the_pointwise_convolution_with_rotated_weights(rung, overlap):
    from scc_reference import SlidingChannels

    channels = SlidingChannels(10, 7, groups=1, overlap=overlap)
    draw = np.random.default_rng(0)
    x, weight = (draw.integers(-3, 4, shape).astype(np.float32) for shape in ((2, 10, 3, 3), (7, 10)))
    ours = (array.astype(rung.dtypes[0]) for array in (x, weight))
    rotated = np.stack([np.roll(row, start) for row, start in zip(weight, channels.starts, strict=True)])
    y = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(rotated[:, :, None, None]))
    np.testing.assert_array_equal(rung.run(*ours, channels=channels), y.numpy())
