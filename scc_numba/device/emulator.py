"""The emulator: the kernel's own PTX, run on the CPU, counted and searched for mistakes."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scc_numba.device.backend import LaunchShape
from scc_numba.device.memory import undefined

if TYPE_CHECKING:
    from scc_numba.device.kernel import Kernel
    from scc_numba.device.profile import LaunchRecord


@dataclass
class Allocation:
    """Whether anything was ever written to an allocation: reading one that nothing was written to is a finding."""

    written: bool = True


TARGET_VARIABLE = "SCC_NUMBA_TARGET"


class DeviceArray(np.ndarray[Any, Any]):
    """Memory of the emulated device: a NumPy array that is copied to and from like numba-cuda's device arrays.

    Attributes:
        allocation: what all views of one allocation share.
    """

    allocation: Allocation

    def __array_finalize__(self, source: Any) -> None:
        self.allocation = getattr(source, "allocation", None) or Allocation()

    def copy_to_host(self) -> np.ndarray[Any, Any]:
        """A new NumPy array with these contents."""
        return np.array(self, copy=True, subok=False)

    def copy_to_device(self, array: np.ndarray[Any, Any]) -> None:
        """Overwrite the contents."""
        self[...] = array
        self.allocation.written = True


class Emulator:
    """Runs kernels in `scc_numba.emulator`, for the GPU that SCC_NUMBA_TARGET names (sm_90 unless set).

    Attributes:
        most_steps: how long a kernel may run, in basic blocks, before the emulator takes it for endless.
    """

    name = "emulator"

    def __init__(self) -> None:
        from scc_numba.emulator.launch import DEFAULT_STEPS

        self.target = os.environ.get(TARGET_VARIABLE, "sm_90")
        self.most_steps = DEFAULT_STEPS

    def launch(
        self, kernel: Kernel, shape: LaunchShape, arguments: tuple[Any, ...], record: LaunchRecord | None
    ) -> None:
        """Emulate; raise on any finding (a race, an access out of bounds, …); count where a record is wanted."""
        from scc_numba.emulator import launch

        arrays = [argument for argument in arguments if isinstance(argument, DeviceArray)]
        report = launch(
            kernel.function,
            shape.grid,
            shape.block,
            arguments,
            shared_bytes=shape.shared_bytes,
            target=self.target,
            checks=True,
            counters=record is not None,
            strict=True,
            signature=kernel.signature(arguments),
            options=kernel.options,
            uninitialised=[array for array in arrays if not array.allocation.written],
            max_steps=self.most_steps,
        )
        for array in arrays:
            array.allocation.written = True
        if record is not None:
            record.counts = report

    def to_device(self, array: np.ndarray[Any, Any]) -> DeviceArray:
        """Copy."""
        return array.copy().view(DeviceArray)

    def to_host(self, array: Any) -> np.ndarray[Any, Any]:
        """Copy."""
        return np.array(array, copy=True, subok=False)

    def device_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> DeviceArray:
        """A new array, its floats NaN, that counts as never written."""
        array = undefined(shape, dtype).view(DeviceArray)
        array.allocation = Allocation(written=False)
        return array

    def synchronize(self) -> None:
        """Do nothing: a launch ends before it returns."""
