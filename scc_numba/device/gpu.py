"""The GPU: numba-cuda's own dispatcher, arrays and streams."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda

from scc_numba.device.backend import LaunchShape

if TYPE_CHECKING:
    from scc_numba.device.kernel import Kernel
    from scc_numba.device.profile import LaunchRecord


class Gpu:
    """Runs kernels on the current CUDA device."""

    name = "gpu"

    def __init__(self) -> None:
        self._dispatchers: dict[Kernel, Any] = {}
        # Small grids are meant: a layer may be small, and the checks use tiny ones.
        warnings.filterwarnings("ignore", message="Grid size")

    def launch(
        self, kernel: Kernel, shape: LaunchShape, arguments: tuple[Any, ...], record: LaunchRecord | None
    ) -> None:
        """Launch on the stream, Numba's default one where it is None."""
        if kernel not in self._dispatchers:
            self._dispatchers[kernel] = cuda.jit(**kernel.options)(kernel.function)
        stream = shape.stream or 0
        configured = self._dispatchers[kernel][shape.grid, shape.block, stream, shape.shared_bytes]
        if record is None:
            configured(*arguments)
            return
        start, end = cuda.event(), cuda.event()
        start.record(stream)
        configured(*arguments)
        end.record(stream)
        end.synchronize()
        record.seconds = cuda.event_elapsed_time(start, end) / 1e3

    def to_device(self, array: np.ndarray[Any, Any]) -> Any:
        """Copy to a new device array."""
        return cuda.to_device(array)

    def to_host(self, array: Any) -> np.ndarray[Any, Any]:
        """Copy to a new NumPy array; waits for the launches before."""
        return np.asarray(array.copy_to_host())

    def device_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Allocate without writing."""
        return cuda.device_array(shape, dtype)

    def synchronize(self) -> None:
        """Wait for the device."""
        cuda.synchronize()
