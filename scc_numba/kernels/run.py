"""`Rung.run`: arrays of the host in, an array of the host out, and torch tensors likewise."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scc_reference import SlidingChannels
from scc_reference import operands as legal

from scc_numba.device import backend, device_array, to_device, to_host
from scc_numba.device.number import WORD, number_type
from scc_numba.kernels.rung import Launch, Layer, Op, Rung, Tile
from scc_numba.kernels.torch_launch import TorchLaunch, current_stream


def run(rung: Rung, *operands: Any, channels: SlidingChannels, tile: Tile | None, **named: Any) -> Any:
    """What `Rung.run` documents."""
    bias = bool(named.pop("bias", False)) if rung.op == "grad_weight" else False
    if bias and not rung.with_bias:
        raise TypeError(f"bias=True, but rung {rung.name} does not sum the gradient of the bias")
    arrays = bind(rung.op, *operands, **named)
    if not any(_is_torch(array) for array in arrays.values()):
        return run_numpy(rung, arrays, channels, tile, bias)
    device = _torch_device(arrays)
    layer, shape = plan(rung, describe(arrays), channels)
    check_tile(rung, layer, tile)
    if device.type == "cuda" and backend().name == "gpu":
        return _run_on_torch_gpu(rung, arrays, layer, shape, tile, bias)
    dtype = next(iter(arrays.values())).dtype
    hosts = {name: None if t is None else _to_numpy(t.detach().cpu()) for name, t in arrays.items()}
    results = [_to_torch(result, dtype).to(device) for result in _compute(rung, layer, hosts, tile, bias)]
    return tuple(results) if bias else results[0].reshape(shape)


def bind(op: Op, *operands: Any, **named: Any) -> dict[str, Any]:
    """The operands of an operation by name, given as its reference function takes them.

    Raises:
        TypeError: one is missing, or there is one too many.
    """
    signature = inspect.signature(_SIGNATURES[op])
    try:
        bound = signature.bind(*operands, **named)
    except TypeError as error:
        names = ", ".join(signature.parameters)
        raise TypeError(f"{op} takes ({names}, *, channels): {error}") from None
    bound.apply_defaults()
    return dict(bound.arguments)


def run_numpy(
    rung: Rung, operands: dict[str, Any], channels: SlidingChannels, tile: Tile | None, bias: bool = False
) -> Any:
    """Run on NumPy operands: check, copy to the device, launch, copy back. With `bias`, two results."""
    for name, array in operands.items():
        if not isinstance(array, np.ndarray) and not (name == "bias" and array is None):
            raise TypeError(f"{name} must be a NumPy array or a torch tensor, not {type(array).__name__}")
    layer, shape = plan(rung, operands, channels)
    check_tile(rung, layer, tile)
    results = _compute(rung, layer, operands, tile, bias)
    return tuple(results) if bias else results[0].reshape(shape)


def _compute(
    rung: Rung, layer: Layer, operands: dict[str, Any], tile: Tile | None, bias: bool
) -> list[np.ndarray[Any, Any]]:
    """The results, with flat pixels, of arrays on the host: in the layer's dtype, or its words, and so are they."""
    dtype = number_type(next(iter(operands.values())).dtype)
    shapes = [layer.result_shape(rung.op), *([layer.output_shape[1:2]] if bias else [])]
    if layer.is_empty:  # nothing to launch; a sum over no pixels is zero
        return [np.zeros(size, dtype) for size in shapes]
    launch = _build(rung, layer, tile, bias)
    arrays = [to_device(array) for array in kernel_operands(rung.op, operands, layer)]
    on_device = [device_array(size, dtype) for size in shapes]
    launch(*arrays, *on_device)
    return [to_host(result) for result in on_device]


def _to_numpy(tensor: Any) -> np.ndarray[Any, Any]:
    """The memory of a tensor on the CPU: words for numbers of 16 bits, since NumPy may have no bfloat16."""
    if tensor.dtype.itemsize != WORD.itemsize:
        return np.asarray(tensor.numpy())
    import torch

    return np.asarray(tensor.view(torch.int16).numpy()).view(WORD)


def _to_torch(array: np.ndarray[Any, Any], dtype: Any) -> Any:
    import torch

    return torch.from_numpy(array.view(np.int16) if array.dtype == WORD else array).view(dtype)


def _build(rung: Rung, layer: Layer, tile: Tile | None, bias: bool) -> Launch:
    return rung.build(layer, tile, bias=True) if bias else rung.build(layer, tile)


def _run_on_torch_gpu(
    rung: Rung, operands: dict[str, Any], layer: Layer, shape: tuple[int, ...], tile: Tile | None, bias: bool
) -> Any:
    first = next(iter(operands.values()))
    shapes = [shape, *([layer.output_shape[1:2]] if bias else [])]
    if layer.is_empty:
        results = [first.new_zeros(size) for size in shapes]
    else:
        if rung.op == "forward" and operands["bias"] is None:
            operands = {**operands, "bias": first.new_zeros(layer.channels.out_channels)}
        results = [first.new_empty(size) for size in shapes]
        contiguous = [tensor.contiguous() for tensor in operands.values()]
        launch = TorchLaunch(_build(rung, layer, tile, bias), rung.op, layer)
        launch(*contiguous, *results, stream=current_stream(first.get_device()))
    return tuple(results) if bias else results[0]


def describe(operands: dict[str, Any]) -> dict[str, Any]:
    """Shapes and dtypes of operands, in NumPy's terms where they are torch tensors."""
    return {name: _Described(name, a) if _is_torch(a) else a for name, a in operands.items()}


class _Described:
    """Shape and dtype of a torch tensor, in NumPy's terms."""

    def __init__(self, name: str, tensor: Any) -> None:
        self.shape = tuple(tensor.shape)
        word = str(tensor.dtype).removeprefix("torch.")
        try:
            self.dtype = number_type(word)
        except TypeError:
            raise TypeError(f"{name} has dtype {word}, which the kernels do not take; use float32") from None


def _is_torch(array: Any) -> bool:
    return type(array).__module__.partition(".")[0] == "torch"


def _torch_device(operands: dict[str, Any]) -> Any:
    devices = {}
    for name, operand in operands.items():
        if operand is None:
            continue
        if not _is_torch(operand):
            raise TypeError(f"{name} is a {type(operand).__name__}, but the other operands are torch tensors")
        devices[name] = operand.device
    if len(set(devices.values())) > 1:
        listed = ", ".join(f"{name} on {device}" for name, device in devices.items())
        raise ValueError(f"the operands must lie on one device, got {listed}")
    return next(iter(devices.values()))


def check_tile(rung: Rung, layer: Layer, tile: Tile | None) -> None:
    """Raise unless the tile is None or one that the rung offers for the layer."""
    if tile is not None and tile not in rung.tiles(layer):
        raise ValueError(
            f"tile={tile!r} is not offered by rung {rung.name} for this layer; "
            f"({', '.join(rung.tile_names)}) can be {', '.join(map(str, rung.tiles(layer)))}"
        )


def plan(rung: Rung, operands: dict[str, Any], channels: SlidingChannels) -> tuple[Layer, tuple[int, ...]]:
    """Check the operands; return the layer, and the shape of the result with its spatial dims.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not fit, or that the rung does not support.
    """
    layer, shape = layer_of(rung.op, operands, channels)
    reason = rung.supports(layer, backend().target)
    if reason is not None:
        raise TypeError(reason)
    return layer, shape


def layer_of(op: Op, operands: dict[str, Any], channels: SlidingChannels) -> tuple[Layer, tuple[int, ...]]:
    """Check the operands; return the layer, and the shape of the result with its spatial dims.

    Raises:
        ValueError, TypeError: shapes or dtypes that do not fit.
    """
    if op == "forward":
        maps = operands["x"]
        legal.check_forward(operands["x"], operands["weight"], operands["bias"], channels)
        shape = (maps.shape[0], channels.out_channels, *maps.shape[2:])
    elif op == "grad_input":
        maps = operands["grad_output"]
        legal.check_grad_input(maps, operands["weight"], channels)
        shape = (maps.shape[0], channels.in_channels, *maps.shape[2:])
    else:
        maps = operands["grad_output"]
        legal.check_grad_weight(maps, operands["x"], channels)
        shape = (channels.out_channels, channels.group_width)
    return Layer(channels, maps.shape[0], math.prod(maps.shape[2:]), maps.dtype), shape


def kernel_operands(op: Op, operands: dict[str, Any], layer: Layer) -> list[Any]:
    """The operands in the shapes that kernels take: spatial dims flat, an absent bias as zeros."""
    if op == "forward":
        bias = operands["bias"]
        if bias is None:
            bias = np.zeros(layer.channels.out_channels, number_type(operands["x"].dtype))
        return [operands["x"].reshape(layer.input_shape), operands["weight"], bias]
    if op == "grad_input":
        return [operands["grad_output"].reshape(layer.output_shape), operands["weight"]]
    return [operands["grad_output"].reshape(layer.output_shape), operands["x"].reshape(layer.input_shape)]


# Each ladder's operands, by the names and in the order that `scc_reference` gives them.
_SIGNATURES: dict[Op, Callable[..., None]] = {
    "forward": lambda x, weight, bias=None: None,
    "grad_input": lambda grad_output, weight: None,
    "grad_weight": lambda grad_output, x: None,
}
