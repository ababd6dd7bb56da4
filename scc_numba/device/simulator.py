"""Numba's simulator: a kernel as plain Python, a thread of the CPU for each of its threads. For pdb.

It interprets the source, so it shows nothing of the compiled kernel: no counts, no races, no integer overflow.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from scc_numba.device.backend import LaunchShape
from scc_numba.device.choice import NUMBA_SIMULATOR_VARIABLE, VARIABLE, NoBackend, choose, numba_simulator_is_on
from scc_numba.device.memory import undefined
from scc_numba.device.pointers import is_array

if TYPE_CHECKING:
    from scc_numba.device.kernel import Kernel
    from scc_numba.device.profile import LaunchRecord

# The options of `numba.cuda.jit` that the simulator knows; the others steer a compiler it does not have.
KNOWN_OPTIONS = ("device", "debug", "fastmath", "opt")


def prepare() -> None:
    """Turn Numba's simulator on if it is the chosen backend and Numba is not loaded yet."""
    if "numba" not in sys.modules and _is_wanted():
        os.environ[NUMBA_SIMULATOR_VARIABLE] = "1"


def _is_wanted() -> bool:
    try:
        return choose().backend == "simulator"
    except ValueError:  # a misspelt name is reported at the first use, where it can be handled
        return False


class Simulator:
    """Runs kernels in Numba's simulator.

    Raises:
        NoBackend: Numba was imported before it could be told; the message says how to start instead.
    """

    name = "simulator"
    target: str | None = None

    def __init__(self) -> None:
        from numba import cuda
        from numba.core import config

        if not (config.ENABLE_CUDASIM and numba_simulator_is_on(os.environ)):
            raise NoBackend(
                "the simulator must be chosen before Numba is imported: start Python with "
                f"{NUMBA_SIMULATOR_VARIABLE}=1 {VARIABLE}=simulator, or import scc_numba before numba"
            )
        _mend_arrays()
        # Unsigned numbers are meant to wrap around.
        warnings.filterwarnings("ignore", message="overflow encountered in scalar")
        self._cuda = cuda
        self._dispatchers: dict[Kernel, Any] = {}

    def launch(
        self, kernel: Kernel, shape: LaunchShape, arguments: tuple[Any, ...], record: LaunchRecord | None
    ) -> None:
        """Interpret the kernel. Nothing is entered in the record: its run time is not a GPU's."""
        if kernel not in self._dispatchers:
            options = {name: value for name, value in kernel.options.items() if name in KNOWN_OPTIONS}
            self._dispatchers[kernel] = self._cuda.jit(**options)(kernel.function)
        if kernel.pointers:  # a flat array is what comes nearest to a pointer
            arguments = tuple(a.reshape(-1) if is_array(a) else np.uint32(a) for a in arguments)
        self._dispatchers[kernel][shape.grid, shape.block, 0, shape.shared_bytes](*arguments)

    def to_device(self, array: np.ndarray[Any, Any]) -> Any:
        """Copy into an array of the simulator's type."""
        return self._cuda.to_device(array)

    def to_host(self, array: Any) -> np.ndarray[Any, Any]:
        """Copy to a new NumPy array."""
        return np.array(array.copy_to_host())

    def device_array(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """A new array, its floats NaN."""
        return self._cuda.to_device(undefined(shape, dtype))

    def synchronize(self) -> None:
        """Do nothing: a launch ends before it returns."""


def _mend_arrays() -> None:
    """Arrays in shared and local memory: one for all threads, and with an alignment where one is asked for.

    Numba's simulator refuses them, and where two threads ask for a shared array at once, each may get its own.
    """
    from numba.cuda.simulator import kernelapi

    dynamic, new = kernelapi.FakeCUDAShared.array, kernelapi.FakeCUDALocal.array

    def shared_array(self: Any, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
        if shape == 0:
            return dynamic(self, shape, dtype)
        caller = sys._getframe(1)  # as Numba's own, one array of the block for each line that asks for one
        line = (caller.f_code.co_filename, caller.f_lineno)
        return self._allocations.setdefault(line, new(self, shape, dtype))

    def local_array(self: Any, shape: Any, dtype: Any, alignment: int | None = None) -> Any:
        return new(self, shape, dtype)

    kernelapi.FakeCUDAShared.array = shared_array
    kernelapi.FakeCUDALocal.array = local_array
