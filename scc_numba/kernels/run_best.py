"""`run_best`: compute with the best rung there is, and from torch tensors on a GPU with next to no overhead.

All that depends on no more than shapes – is the call legal, which rung and tile, the compiled kernel, its tables on
the GPU – is found at the first call with these shapes and kept. What a later call costs is a look for it, the
allocation of the result and Numba's launch; nothing is copied, and nothing is waited for.
"""

from __future__ import annotations

from typing import Any

from scc_reference import SlidingChannels

from scc_numba.device import backend
from scc_numba.kernels.run import bind, describe, layer_of
from scc_numba.kernels.rung import Layer, Op, Rung, Tile
from scc_numba.kernels.torch_launch import TorchLaunch, current_stream

MOST_KEPT = 1024


def run_best(
    op: Op, first: Any, second: Any, bias: Any = None, /, *, channels: SlidingChannels, allow_tf32: bool = False
) -> Any:
    """Compute with the rung and tile that `best` chooses.

        run_best("forward", x, weight, bias, channels=channels)        -> (N, K, *spatial)
        run_best("grad_input", grad_output, weight, channels=channels) -> (N, C, *spatial)
        run_best("grad_weight", grad_output, x, channels=channels)     -> (K, G)

    Args:
        op: the operation.
        first: its first operand, as `Rung.run` takes it.
        second: its second.
        bias: a third, which "forward" may have.
        channels: the windows.
        allow_tf32: whether the operands may be rounded to tf32, for the tensor cores.

    Returns:
        As `Rung.run`: a NumPy array, or a torch tensor on the device where the operands are.

    Raises:
        ValueError, TypeError: operands that do not fit.
    """
    if not _lie_on_gpu(first, second, bias):
        return _as_rungs_run(op, first, second, bias, channels, allow_tf32)
    stream = current_stream(first.get_device())  # part of the key: a launch's workspace serves one stream
    key = (op, channels, allow_tf32, stream, _about(first), _about(second), bias is None or _about(bias))
    ready = _READY.get(key)
    if ready is None:
        if len(_READY) >= MOST_KEPT:
            _READY.clear()
        ready = _READY[key] = _Ready(op, first, second, bias, channels, allow_tf32)
    return ready(first, second, bias, stream)


class _Ready:
    """The best launch for operands of certain shapes, on one GPU."""

    def __init__(
        self, op: Op, first: Any, second: Any, bias: Any, channels: SlidingChannels, allow_tf32: bool
    ) -> None:
        layer, self._shape, rung, tile = _choose(op, first, second, bias, channels, allow_tf32)
        self._launch = None if layer.is_empty else TorchLaunch(rung.build(layer, tile), op, layer)
        self._no_bias = first.new_zeros(channels.out_channels) if op == "forward" else None

    def __call__(self, first: Any, second: Any, bias: Any, stream: int) -> Any:
        if self._launch is None:
            return first.new_zeros(self._shape)  # nothing to launch; a sum over no pixels is zero
        tensors = (
            [first, second] if self._no_bias is None else [first, second, self._no_bias if bias is None else bias]
        )
        tensors = [tensor if tensor.is_contiguous() else tensor.contiguous() for tensor in tensors]
        result = first.new_empty(self._shape)
        self._launch(*tensors, result, stream=stream)
        return result


_READY: dict[tuple[Any, ...], _Ready] = {}


def _lie_on_gpu(*operands: Any) -> bool:
    """Whether all are torch tensors on the GPU that torch is using, and kernels run there."""
    if not getattr(operands[0], "is_cuda", False) or backend().name != "gpu":
        return False
    import torch

    here = torch.cuda.current_device()
    return all(operand is None or (operand.is_cuda and operand.get_device() == here) for operand in operands)


def _about(tensor: Any) -> tuple[Any, ...]:
    return tensor.shape, tensor.dtype, tensor.get_device()


def _choose(
    op: Op, first: Any, second: Any, bias: Any, channels: SlidingChannels, allow_tf32: bool
) -> tuple[Layer, tuple[int, ...], Rung, Tile]:
    from scc_numba.kernels import best  # the ladders, which lie above this file

    operands = (first, second) if bias is None else (first, second, bias)
    layer, shape = layer_of(op, describe(bind(op, *operands)), channels)
    return layer, shape, *best(layer, op, allow_tf32=allow_tf32)


def _as_rungs_run(op: Op, first: Any, second: Any, bias: Any, channels: SlidingChannels, allow_tf32: bool) -> Any:
    _, _, rung, tile = _choose(op, first, second, bias, channels, allow_tf32)
    operands = (first, second) if bias is None else (first, second, bias)
    return rung.run(*operands, channels=channels, tile=tile)
