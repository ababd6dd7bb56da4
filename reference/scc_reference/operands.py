"""What a legal call looks like: shapes and dtypes of the operands, and the errors for the others."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from scc_reference.channels import SlidingChannels


class HasShapeAndDtype(Protocol):
    """What is asked of an operand here: a NumPy array has it, and so does a description of a device array."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of each dim."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of an element."""


def check_forward(
    x: HasShapeAndDtype, weight: HasShapeAndDtype, bias: HasShapeAndDtype | None, channels: SlidingChannels
) -> None:
    """Raise unless x is (N, C, *spatial), weight (K, G), bias None or (K,), all of one floating dtype."""
    _check_channels(channels)
    _check_arrays(x=x, weight=weight, bias=bias)
    _check_maps("x", x, "in_channels", channels.in_channels)
    _check_weight(weight, channels)
    if bias is not None and tuple(bias.shape) != (channels.out_channels,):
        raise ValueError(
            f"bias has shape {tuple(bias.shape)}, expected (out_channels,) = ({channels.out_channels},)"
        )
    _check_dtypes(x=x, weight=weight, bias=bias)


def check_grad_input(grad_output: HasShapeAndDtype, weight: HasShapeAndDtype, channels: SlidingChannels) -> None:
    """Raise unless grad_output is (N, K, *spatial) and weight (K, G), both of one floating dtype."""
    _check_channels(channels)
    _check_arrays(grad_output=grad_output, weight=weight)
    _check_maps("grad_output", grad_output, "out_channels", channels.out_channels)
    _check_weight(weight, channels)
    _check_dtypes(grad_output=grad_output, weight=weight)


def check_grad_weight(grad_output: HasShapeAndDtype, x: HasShapeAndDtype, channels: SlidingChannels) -> None:
    """Raise unless grad_output is (N, K, *spatial) and x (N, C, *spatial), both of one floating dtype."""
    _check_channels(channels)
    _check_arrays(grad_output=grad_output, x=x)
    _check_maps("grad_output", grad_output, "out_channels", channels.out_channels)
    _check_maps("x", x, "in_channels", channels.in_channels)
    expected = (grad_output.shape[0], channels.in_channels, *grad_output.shape[2:])
    if tuple(x.shape) != expected:
        raise ValueError(
            f"x has shape {tuple(x.shape)}, expected {expected} to match grad_output of shape "
            f"{tuple(grad_output.shape)} in batch and pixels"
        )
    _check_dtypes(grad_output=grad_output, x=x)


def check_grad_bias(grad_output: HasShapeAndDtype) -> None:
    """Raise unless grad_output is (N, K, *spatial) of a floating dtype."""
    _check_arrays(grad_output=grad_output)
    if len(grad_output.shape) < 2:
        raise ValueError(f"grad_output has shape {tuple(grad_output.shape)}, expected (N, K, *spatial)")
    _check_dtypes(grad_output=grad_output)


def _check_arrays(**operands: Any) -> None:
    for name, operand in operands.items():
        if operand is None and name == "bias":
            continue
        if isinstance(operand, (np.ma.MaskedArray, np.matrix)):
            raise TypeError(f"{name} is a {type(operand).__name__}, whose arithmetic differs; give a plain array")
        if not (hasattr(operand, "shape") and hasattr(operand, "dtype")):
            raise TypeError(f"{name} must be an array, not {type(operand).__name__}")


def _check_channels(channels: Any) -> None:
    if not isinstance(channels, SlidingChannels):
        raise TypeError(f"channels must be a SlidingChannels, not {type(channels).__name__}")


def _check_maps(name: str, maps: HasShapeAndDtype, dim: str, size: int) -> None:
    shape = tuple(maps.shape)
    letter = "C" if dim == "in_channels" else "K"
    if len(shape) < 2:
        raise ValueError(f"{name} has shape {shape}, expected (N, {letter}, *spatial) with {dim}={size}")
    if shape[1] != size:
        raise ValueError(
            f"{name} has shape {shape}, so {letter}={shape[1]}, but the channels have {dim}={size}: "
            f"expected (N, {size}, *spatial)"
        )


def _check_weight(weight: HasShapeAndDtype, channels: SlidingChannels) -> None:
    expected, shape = (channels.out_channels, channels.group_width), tuple(weight.shape)
    if shape != expected:
        hint = f"; weight.reshape{expected} drops the ones" if shape == (*expected, *[1] * (len(shape) - 2)) else ""
        raise ValueError(f"weight has shape {shape}, expected (out_channels, group_width) = {expected}{hint}")


def _is_floating(dtype: Any) -> bool:
    # NumPy gets bfloat16 from a package, and does not count it among its own.
    return getattr(dtype, "name", None) == "bfloat16" or np.issubdtype(np.dtype(dtype), np.floating)


def _check_dtypes(**operands: HasShapeAndDtype | None) -> None:
    dtypes = {name: operand.dtype for name, operand in operands.items() if operand is not None}
    for name, dtype in dtypes.items():
        if not _is_floating(dtype):
            raise TypeError(f"{name} has dtype {dtype}, expected a floating-point dtype such as float32")
    if len(set(dtypes.values())) > 1:
        listed = ", ".join(f"{name} {dtype}" for name, dtype in dtypes.items())
        raise TypeError(f"the operands must share one dtype, got {listed}")
