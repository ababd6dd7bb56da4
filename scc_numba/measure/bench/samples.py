"""Whether what was timed is right: some elements of the result, drawn at random, against their exact values.

A full reference of a large layer takes longer than all its timing. A few hundred elements, each summed in float64
where the operands lie, find a kernel that is wrong in more than a fiftieth of its result all but surely.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from scc_numba.check.tolerance import SAFETY, bound_of
from scc_numba.kernels import Layer, Op

if TYPE_CHECKING:
    from torch import Tensor

SAMPLES = 256
MOST_TERMS = 2**24  # products of all samples, so that they fit into little memory
TF32_UNIT = 2.0**-10  # of an operand that is cut off to tf32; half of that if it is rounded


def worst_error(
    result: Tensor,
    op: Op,
    operands: dict[str, Tensor],
    layer: Layer,
    *,
    rounds_to: str | None,
    tf32: bool,
    seed: int,
) -> float:
    """The largest error of the sampled elements, in units of its bound: right where it is at most 1.

    Args:
        result: in the shape that kernels give it, as are the operands.
        op: the operation.
        operands: x, weight and grad_output, those that the operation takes; draws of zero mean.
        layer: the layer.
        rounds_to: "tf32" where the operands are rounded to that, to nearest, before they are multiplied; the exact
            result is then that of the rounded operands.
        tf32: whether the operands may be rounded in some way to tf32, as cuBLAS and cuDNN do; the bound then holds
            what that costs.
        seed: of the choice of elements.

    Returns:
        NaN where something is not finite.
    """
    draw = np.random.default_rng(seed)
    lengths = {"forward": layer.channels.group_width, "grad_input": layer.channels.out_channels}
    terms = lengths.get(op, layer.batch * layer.pixels)
    number = max(8, min(SAMPLES, MOST_TERMS // terms))
    places = tuple(draw.integers(0, size, number) for size in result.shape)
    if rounds_to == "tf32":
        operands = {name: to_tf32(tensor) for name, tensor in operands.items()}
    a, b = _factors(op, operands, layer, places)  # (number, terms), float64
    exact, size = ((a * b).sum(1).cpu().numpy(), (a * b).square().sum(1).sqrt().cpu().numpy())
    counted = (b != 0).sum(1).clamp(min=1).cpu().numpy() if op == "grad_input" else terms
    bound = bound_of(exact, size, counted, np.dtype(np.float32))
    if tf32:
        bound = bound + SAFETY * 2 * TF32_UNIT * size
    index = tuple(_index(place, result) for place in places)
    error = np.abs(result[index].double().cpu().numpy() - exact)
    with np.errstate(invalid="ignore", divide="ignore"):
        in_bounds = np.where(error == 0, 0.0, error / bound)
    return float(in_bounds.max()) if np.isfinite(in_bounds).all() else math.nan


def _factors(op: Op, operands: dict[str, Tensor], layer: Layer, places: tuple[Any, ...]) -> tuple[Tensor, Tensor]:
    """The factors of all products behind each element."""
    channels = layer.channels
    if op == "forward":
        x, weight = operands["x"], operands["weight"]
        n, k, p = (_index(place, x) for place in places)
        return x[n[:, None], _index(channels.channel_index[places[1]], x), p[:, None]].double(), weight[k].double()
    grad_output = operands["grad_output"]
    if op == "grad_input":
        n, _, p = (_index(place, grad_output) for place in places)
        offsets = (places[1][:, None] - channels.starts) % channels.in_channels  # (number, K)
        inside = _index(offsets < channels.group_width, grad_output)
        j = _index(np.minimum(offsets, channels.group_width - 1), grad_output)
        weight = operands["weight"].gather(1, j.T).T * inside  # (number, K)
        return grad_output[n, :, p].double(), weight.double()
    x = operands["x"]
    k, c = _index(places[0], x), _index(channels.channel_index[places], x)
    return grad_output[:, k].transpose(0, 1).flatten(1).double(), x[:, c].transpose(0, 1).flatten(1).double()


def to_tf32(tensor: Tensor) -> Tensor:
    """float32 rounded to tf32 as `cvt.rna` does: to nearest, ties away from zero."""
    import torch

    bits = tensor.contiguous().view(torch.int32)
    return ((bits + (1 << 12)) & -(1 << 13)).view(torch.float32)


def _index(indices: np.ndarray[Any, Any], like: Tensor) -> Tensor:
    import torch

    return torch.as_tensor(np.array(indices), device=like.device)
