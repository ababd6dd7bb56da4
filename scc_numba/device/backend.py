"""The one backend of this process, made at first use."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from scc_numba.device.choice import NoBackend, choose

if TYPE_CHECKING:
    from scc_numba.device.kernel import Kernel
    from scc_numba.device.profile import LaunchRecord

Dims = tuple[int, int, int]


class LaunchShape(NamedTuple):
    """What stands in the brackets of a launch, checked.

    Attributes:
        grid: blocks in x, y and z.
        block: threads of a block in x, y and z.
        stream: of the backend; None for its default.
        shared_bytes: dynamic shared memory of a block.
    """

    grid: Dims
    block: Dims
    stream: Any
    shared_bytes: int


class Backend(Protocol):
    """What a place that runs kernels offers. `gpu`, `simulator` and `emulator` beside this file are the three."""

    name: str

    @property
    def target(self) -> str | None:
        """The GPU generation that kernels are compiled for, "sm_90" or the like; None where nothing is compiled."""

    def launch(
        self, kernel: Kernel, shape: LaunchShape, arguments: tuple[Any, ...], record: LaunchRecord | None
    ) -> None:
        """Run the kernel; where `record` is given, enter in it what this backend can measure or count."""

    def to_device(self, array: np.ndarray[Any, Any]) -> Any:
        """A device array with the contents of a C-contiguous array."""

    def to_host(self, array: Any) -> np.ndarray[Any, Any]:
        """A NumPy array with the contents of a device array."""

    def device_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """A device array with undefined contents."""

    def synchronize(self) -> None:
        """Wait until everything launched has ended."""


@cache
def backend() -> Backend:
    """The backend that `choose` names. Its module is imported here, and with it Numba's CUDA target.

    Raises:
        NoBackend: it does not exist, or cannot start here.
    """
    try:
        name = choose().backend
    except ValueError as error:
        raise NoBackend(str(error)) from None
    if name == "gpu":
        from scc_numba.device.gpu import Gpu

        return Gpu()
    if name == "emulator":
        from scc_numba.device.emulator import Emulator

        return Emulator()
    from scc_numba.device.simulator import Simulator

    return Simulator()
