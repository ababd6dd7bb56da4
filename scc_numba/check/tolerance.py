"""How far a right result may be from the exact one: a bound that is derived, and never tuned.

Probabilistic rounding analysis (Higham and Mary, "A new approach to probabilistic rounding error analysis",
SIAM J. Sci. Comput. 41, 2019): the rounding errors of a sum of n products of zero mean behave like a random
walk, so that

    |y − ŷ|  ≤  8 · u · √n · √(Σ w²x²)  +  v · |ŷ|

with u the unit roundoff of the accumulator, v that of the type in which the result is stored, ŷ the result in wider
arithmetic, and one more term for a bias. Results of 16 bits are accumulated in float32: there v is much the larger;
and where float16 runs out of exponents, the last term is half its smallest number instead, if that is more.
For data that is not of zero mean the partial sums grow, and Σ|w||x| stands in place of the root. There is no
free absolute tolerance: an output of zeros fails, and so does anything that is not finite.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scc_reference import SlidingChannels, scc_forward, scc_grad_input, scc_grad_weight

from scc_numba.device.number import has_sixteen_bits
from scc_numba.kernels import Op

Array = np.ndarray[Any, Any]
SAFETY = 8  # how many standard deviations of the random walk


def reference(op: Op, operands: dict[str, Any], channels: SlidingChannels) -> Array:
    """The operation as the reference computes it, in the dtype of the operands.

    Args:
        op: "forward", "grad_input" or "grad_weight".
        operands: x, weight and bias (may be None); grad_output and weight; or grad_output and x.
        channels: the windows.
    """
    functions: dict[Op, Callable[..., Array]] = {
        "forward": scc_forward,
        "grad_input": scc_grad_input,
        "grad_weight": scc_grad_weight,
    }
    return functions[op](**operands, channels=channels)


def wider(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which the reference is computed for results of `dtype`: so much wider that it counts as exact.

    float64 for narrower ones. For float64 itself the platform's extended precision; where it has none (Windows,
    some arm64), float64, and the reference's own error is then part of what the bound must hold.
    """
    if finfo(dtype).nmant < np.finfo(np.float64).nmant:
        return np.dtype(np.float64)
    return np.dtype(np.longdouble)


def accumulator(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype in which sums are accumulated whose results are stored in `dtype`: float32 for those of 16 bits."""
    return np.dtype(np.float32) if has_sixteen_bits(dtype) else dtype


def finfo(dtype: np.dtype[Any]) -> Any:
    """Limits of a floating-point type: NumPy's, or those of ml_dtypes for bfloat16."""
    if dtype.name != "bfloat16":
        return np.finfo(dtype)
    import ml_dtypes

    return ml_dtypes.finfo(dtype)


def errors_in_bounds(
    result: Array,
    op: Op,
    operands: dict[str, Any],
    channels: SlidingChannels,
    *,
    zero_mean: bool,
    rounds_to: str | None = None,
) -> Array:
    """The error of each element in units of its bound: right where it is at most 1.

    Args:
        result: what the kernel returned, of the operands' dtype.
        op: the operation.
        operands: as given to the kernel, by name.
        channels: the windows.
        zero_mean: whether the operands are draws of zero mean; if not, the wider bound for any data holds.
        rounds_to: "tf32" where the kernel rounds its operands to that before it multiplies them; the exact result
            is then that of the rounded operands.

    Returns:
        float64, of the result's shape; NaN or infinite where the result is not finite.
    """
    operands = as_multiplied(operands, rounds_to)
    wide = {name: None if array is None else array.astype(wider(array.dtype)) for name, array in operands.items()}
    exact = reference(op, wide, channels)
    if result.shape != exact.shape:
        raise ValueError(f"result has shape {result.shape}, expected {exact.shape}")
    terms = reduction_length(op, operands, channels)
    bound = bound_of(exact, _magnitude(op, wide, channels, zero_mean), terms, result.dtype)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.abs(result.astype(exact.dtype) - exact)
        in_bounds = np.where(error == 0, 0.0, error / bound)  # 0/0: nothing to sum, and nothing summed
    return np.asarray(in_bounds, dtype=np.float64)


def bound_of(exact: Array, size: Array, terms: Array | int, dtype: np.dtype[Any]) -> Array:
    """How far a result may be from the exact one.

    Args:
        exact: the exact results.
        size: √(Σ w²x²) of each, or Σ|w||x| for data that is not of zero mean.
        terms: how many products each sums, and its bias.
        dtype: of the result, from which that of the accumulator follows.
    """
    unit, stored = finfo(accumulator(dtype)).eps / 2, finfo(dtype)
    least = np.where(size > 0, float(stored.smallest_subnormal) / 2, 0.0)
    rounding = np.maximum(stored.eps / 2 * np.abs(exact), least)
    return np.asarray(SAFETY * unit * np.sqrt(terms) * size + rounding)


def as_multiplied(operands: dict[str, Any], rounds_to: str | None) -> dict[str, Any]:
    """The operands as a kernel multiplies them: those of float32 rounded to tf32, ties away from zero; not a bias.

    Raises:
        ValueError: `rounds_to` is neither None nor "tf32".
    """
    if rounds_to is None:
        return operands
    if rounds_to != "tf32":
        raise ValueError(f"rounds_to={rounds_to!r} is neither None nor 'tf32'")
    return {name: array if name == "bias" else _to_tf32(array) for name, array in operands.items()}


def _to_tf32(array: Array) -> Array:
    if array.dtype != np.float32:
        raise ValueError(f"an operand of {array.dtype} is not rounded to tf32; float32 is")
    bits = np.ascontiguousarray(array).view(np.uint32)
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32).reshape(array.shape)


def reduction_length(op: Op, operands: dict[str, Any], channels: SlidingChannels) -> Array | int:
    """How many products, and a bias, go into an element: a number, or an array that broadcasts to the result."""
    if op == "forward":
        return channels.group_width + (operands["bias"] is not None)
    maps = operands["grad_output"]
    if op == "grad_weight":
        return maps.shape[0] * math.prod(maps.shape[2:])
    covering = channels.dense_mask().sum(axis=0)  # (C,)
    return covering.reshape(1, -1, *[1] * (maps.ndim - 2))


def _magnitude(op: Op, operands: dict[str, Any], channels: SlidingChannels, zero_mean: bool) -> Array:
    # √(Σ w²x²) is the same operation on squares, Σ|w||x| the same on absolute values.
    change = np.square if zero_mean else np.abs
    changed = {name: None if array is None else change(array) for name, array in operands.items()}
    size = reference(op, changed, channels)
    return np.sqrt(size) if zero_mean else size
