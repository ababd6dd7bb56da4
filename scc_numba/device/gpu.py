"""The GPU: numba-cuda's own dispatcher, arrays and streams."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numba import cuda

from scc_numba.device import direct
from scc_numba.device.backend import LaunchShape
from scc_numba.device.choice import VARIABLE, NoBackend, driver
from scc_numba.device.number import as_words
from scc_numba.device.pointers import addresses

if TYPE_CHECKING:
    from scc_numba.device.kernel import Kernel
    from scc_numba.device.profile import LaunchRecord


HOLD_STEPS = 200  # of a microsecond or more each: longer than the host takes to queue a launch


@cuda.jit
def hold_back(steps):
    """Keep the GPU busy, so that what is queued meanwhile runs without gaps."""
    for _ in range(steps):
        cuda.nanosleep(1000)


class Gpu:
    """Runs kernels on the current CUDA device.

    Raises:
        NoBackend: there is no GPU, or its driver does not work.
    """

    name = "gpu"

    def __init__(self) -> None:
        problem = driver().problem
        if problem is not None:
            raise NoBackend(f"the gpu backend was asked for, but {problem}; unset {VARIABLE} to use what there is")
        major, minor = cuda.get_current_device().compute_capability[:2]
        self.target = f"sm_{major}{minor}"
        self._dispatchers: dict[tuple[Kernel, Any], Any] = {}
        # Small grids are meant: a layer may be small, and the checks use tiny ones.
        warnings.filterwarnings("ignore", message="Grid size")

    def launch(
        self, kernel: Kernel, shape: LaunchShape, arguments: tuple[Any, ...], record: LaunchRecord | None
    ) -> None:
        """Launch on the stream, Numba's default one where it is None."""
        dispatcher = self._dispatcher(kernel, kernel.signature(arguments))
        stream = shape.stream or 0
        configuration = (shape.grid, shape.block, stream, shape.shared_bytes)
        if kernel.pointers:
            arguments = addresses(arguments)
        if record is None:
            dispatcher[configuration](*arguments)
            return
        # Compile first, and let the GPU wait until everything is queued: else the time between the two events
        # would hold the compiler's work, and that of the host in calling the kernel.
        compiled = dispatcher if kernel.pointers else dispatcher.specialize(*arguments)
        launch = compiled[configuration]
        start, end = cuda.event(), cuda.event()
        hold_back[1, 1, stream](HOLD_STEPS)
        start.record(stream)
        launch(*arguments)
        end.record(stream)
        end.synchronize()
        record.seconds = cuda.event_elapsed_time(start, end) / 1e3

    def prepare(
        self, kernel: Kernel, shape: LaunchShape, signature: tuple[Any, ...], fixed: tuple[Any, ...]
    ) -> Callable[[int], Callable[..., None]]:
        """Compile a pointer kernel for these types now; the answer gives its launch on a stream, by its handle.

        Args:
            kernel: the kernel.
            shape: its grid and block.
            signature: types of its arguments.
            fixed: the last arguments, the same for each launch; the others are addresses.
        """
        dispatcher = self._dispatcher(kernel, signature)
        fixed, directly = addresses(fixed), direct.works()

        def on_stream(handle: int) -> Callable[..., None]:
            stream = cuda.external_stream(handle) if handle else 0
            configuration = (shape.grid, shape.block, stream, shape.shared_bytes)
            if directly:
                return direct.direct_launch(dispatcher, configuration, signature, fixed)
            configured = dispatcher[configuration]
            return lambda *given: configured(*given, *fixed)

        return on_stream

    def _dispatcher(self, kernel: Kernel, signature: tuple[Any, ...] | None) -> Any:
        if (kernel, signature) not in self._dispatchers:
            given = () if signature is None else (signature,)
            self._dispatchers[kernel, signature] = cuda.jit(*given, **kernel.options)(kernel.function)
        return self._dispatchers[kernel, signature]

    def to_device(self, array: np.ndarray[Any, Any]) -> Any:
        """Copy to a new device array."""
        device = cuda.to_device(as_words(array))  # of bfloat16, numba-cuda could not read the memory
        return device if device.dtype == array.dtype else device.view(array.dtype)

    def to_host(self, array: Any) -> np.ndarray[Any, Any]:
        """Copy to a new NumPy array; waits for the launches before."""
        return np.asarray(as_words(array).copy_to_host()).view(array.dtype)

    def device_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """Allocate without writing."""
        return cuda.device_array(shape, dtype)

    def synchronize(self) -> None:
        """Wait for the device."""
        cuda.synchronize()
