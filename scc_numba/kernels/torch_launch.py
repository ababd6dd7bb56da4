"""A rung's launch on torch tensors that lie on a GPU: no copy, and on the stream that torch is using."""

from __future__ import annotations

from typing import Any

from scc_numba.device.profile import is_recording
from scc_numba.kernels.rung import Launch, Layer, Op


class TorchLaunch:
    """A launch of a rung, compiled where its kernels take flat pointers.

    Args:
        launch: what `rung.build` made.
        op: of the rung.
        layer: that it was made for.
    """

    def __init__(self, launch: Launch, op: Op, layer: Layer) -> None:
        self.launch = launch
        self._shapes = layer.shapes(op) + ((layer.channels.out_channels,),) * (launch.results - 1)
        self._prepared = self.launch.prepare([layer.dtype] * len(self._shapes))

    def __call__(self, *tensors: Any, stream: int) -> None:
        """Launch; a GPU has then been told, and nothing was waited for.

        Args:
            tensors: as `Launch` takes them, the result last, all C-contiguous and on the GPU in use; the spatial
                dims need not be flat.
            stream: the handle of the stream, `current_stream(tensor)`.
        """
        if self._prepared is not None and not is_recording():
            self._prepared(*[tensor.data_ptr() for tensor in tensors], stream=stream)
            return
        from numba import cuda

        flat = [_words(tensor.detach()).view(shape) for tensor, shape in zip(tensors, self._shapes, strict=True)]
        arrays = [cuda.as_cuda_array(tensor, sync=False) for tensor in flat]
        self.launch(*arrays, stream=cuda.external_stream(stream) if stream else None)


def _words(tensor: Any) -> Any:
    """The same memory; for bfloat16, which Numba has no arrays of, as words of 16 bits."""
    import torch

    return tensor.view(torch.float16) if tensor.dtype == torch.bfloat16 else tensor


def current_stream(device: int) -> int:
    """The handle of the stream that torch is using on a GPU, given by its number."""
    import torch

    return torch.cuda.current_stream(device).cuda_stream
