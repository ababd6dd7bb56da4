"""A GPU for tests on machines without one: what the host side does is real, the kernels run on the emulator.

Its memory is the CPU's, so a torch tensor of the CPU has an address that it can use.
"""

import ctypes

import numpy as np

from scc_numba.device.emulator import DeviceArray, Emulator
from scc_numba.kernels import run_best as module


class Resident(DeviceArray):
    """An array with an address, as on a GPU."""

    @property
    def __cuda_array_interface__(self):
        return self.__array_interface__


def array_at(address, shape, pointer):
    """The array that lies there; its dtype is what the pointer's type points to."""
    dtype = np.dtype(str(pointer.dtype))
    memory = (ctypes.c_char * (int(np.prod(shape)) * dtype.itemsize)).from_address(address)
    return np.frombuffer(memory, dtype).reshape(shape).view(DeviceArray)


class FakeGpu(Emulator):
    """Takes addresses as the real one does.

    Attributes:
        prepared: names of the kernels that were prepared, one for each time.
        streams: handles of the streams of all launches.
        shapes: of the arrays that the next launch gets; a test sets them, an address tells nothing.
    """

    name = "gpu"

    def __init__(self):
        super().__init__()
        self.prepared, self.streams, self.resident = [], [], {}

    def to_device(self, array):
        return self._with_address(super().to_device(array))

    def device_array(self, shape, dtype):
        return self._with_address(super().device_array(shape, dtype))

    def _with_address(self, array):
        here = array.view(Resident)
        self.resident[here.ctypes.data] = here
        return here

    def prepare(self, kernel, shape, signature, fixed):
        self.prepared.append(kernel.name)

        def on_stream(handle):
            def launch(*addresses):
                self.streams.append(handle)
                unknown = [address for address in addresses if address not in self.resident]
                shapes = self.shapes[-len(unknown) :]
                pointers = [kind for a, kind in zip(addresses, signature, strict=False) if a not in self.resident]
                arrays = {a: array_at(a, *about) for a, *about in zip(unknown, shapes, pointers, strict=True)}
                known = {**arrays, **self.resident}
                self.launch(kernel, shape, (*(known[a] for a in addresses), *fixed), None)

            return launch

        return on_stream

    def install(self, monkeypatch):
        """Be the backend, and what torch takes its tensors to lie on."""
        import sys

        from numba import cuda

        from scc_numba.device import kernel, memory

        for place in (kernel, memory, sys.modules[module.__module__], sys.modules["scc_numba.kernels.run"]):
            monkeypatch.setattr(place, "backend", lambda: self)
        best = sys.modules[module.__module__]
        monkeypatch.setattr(best, "_lie_on_gpu", lambda *operands: True)
        monkeypatch.setattr(best, "current_stream", lambda device: 7)
        monkeypatch.setattr(cuda, "external_stream", lambda handle: self.streams.append(handle))
        monkeypatch.setattr(cuda, "as_cuda_array", lambda tensor, sync: tensor.numpy().view(DeviceArray))
        best._READY.clear()
