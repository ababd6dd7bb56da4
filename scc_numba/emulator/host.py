"""The host side of Numba-CUDA without a device: arrays, streams, events, devices and contexts.

Device arrays are NumPy arrays with the methods of Numba's; streams run at once, in order; events read the clock
of this machine; what nobody can know without a GPU is an error that says so.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import weakref
from collections import namedtuple
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .errors import ArgumentError, EmulatorError
from .targets import Target

MemoryInfo = namedtuple("MemoryInfo", "free,total")
# Arrays that own memory whose address was asked for.
_roots: weakref.WeakValueDictionary[int, DeviceArray] = weakref.WeakValueDictionary()


class DeviceArray(np.ndarray):
    """An emulated device array: a NumPy array with the copying methods of Numba's.

    Attributes:
        written: per byte, whether anything was stored there; None once that is of no more interest.
    """

    written: Any = None
    __cuda_ndarray__ = False

    def __array_finalize__(self, other: Any) -> None:
        self.written = None

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """For wrappers of other libraries; the address means something to this process alone, and to no GPU."""
        root = _root(self)
        _roots[id(root)] = root
        host = self.__array_interface__
        return {k: host[k] for k in ("shape", "typestr", "data", "descr")} | {
            "strides": self.strides, "version": 3, "stream": None,
        }  # fmt: skip

    def __setitem__(self, key: Any, value: Any) -> None:
        _root(self).written = None  # the host filled it: no more to learn
        super().__setitem__(key, value)

    def copy_to_host(self, ary: Any = None, stream: Any = 0) -> Any:
        """A host copy, or the given array filled with the contents."""
        if ary is None:
            return np.array(self, copy=True, subok=False)
        if ary.shape != self.shape:
            raise ValueError(f"ary has shape {ary.shape}, the device array {self.shape}")
        ary[...] = self
        return ary

    def copy_to_device(self, ary: Any, stream: Any = 0) -> None:
        """Fill from a host or device array of the same shape."""
        if np.shape(ary) != self.shape:
            raise ValueError(f"ary has shape {np.shape(ary)}, the device array {self.shape}")
        self[...] = np.asarray(ary)

    def is_c_contiguous(self) -> bool:
        """Whether rows lie one after the other."""
        return bool(self.flags.c_contiguous)

    def split(self, section: int, stream: Any = 0) -> Iterator[Any]:
        """Pieces of `section` elements of a one-dimensional array."""
        for start in range(0, self.size, section):
            yield self[start : start + section]

    @property
    def alloc_size(self) -> int:
        """Bytes."""
        return self.nbytes

    def bind(self, stream: Any = 0) -> DeviceArray:
        """The same array: streams run in order here."""
        return self


def _root(array: DeviceArray) -> DeviceArray:
    """The array whose memory a view shows."""
    while isinstance(array.base, DeviceArray):
        array = array.base
    return array


def is_cuda_array(obj: Any) -> bool:
    """Like `cuda.is_cuda_array`."""
    return hasattr(obj, "__cuda_array_interface__")


def as_cuda_array(obj: Any, sync: bool = True) -> DeviceArray:
    """Like `cuda.as_cuda_array`: the same memory, if it is that of an emulated array.

    Raises:
        ArgumentError: it is not.
    """
    if isinstance(obj, DeviceArray):
        return obj
    if not is_cuda_array(obj):
        raise TypeError("*obj* doesn't implement the cuda array interface.")
    interface = obj.__cuda_array_interface__
    shape, dtype, address = tuple(interface["shape"]), np.dtype(interface["typestr"]), interface["data"][0]
    for root in list(_roots.values()):
        offset = address - root.ctypes.data
        if 0 <= offset < max(root.nbytes, 1):
            memory = np.ndarray(root.nbytes, np.uint8, buffer=root.base if root.base is not None else root)
            return np.ndarray(shape, dtype, memory, offset, interface.get("strides")).view(DeviceArray)
    raise ArgumentError(
        f"a {type(obj).__name__} with address {address:#x} is in no emulated device array: memory of a real device "
        "cannot be read here; copy it to the host first"
    )


class Stream:
    """Everything has happened by the time it is asked for."""

    handle = 0

    def synchronize(self) -> None:
        """Nothing to wait for."""

    @contextlib.contextmanager
    def auto_synchronize(self) -> Iterator[Stream]:
        """Nothing to wait for at the end either."""
        yield self

    def add_callback(self, callback: Callable[..., Any], arg: Any = None) -> None:
        """Called at once."""
        callback(self, 0, arg)

    def __int__(self) -> int:
        return 0


class Event:
    """A reading of this machine's clock; the difference says nothing about a GPU."""

    def __init__(self, timing: bool = True) -> None:
        self.at = 0.0

    def record(self, stream: Any = 0) -> None:
        """Read the clock."""
        self.at = time.perf_counter()

    def query(self) -> bool:
        """Always over."""
        return True

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def wait(self, stream: Any = 0) -> None:
        """Nothing to wait for."""

    def elapsed_time(self, end: Event) -> float:
        """Milliseconds of this machine between two events."""
        return (end.at - self.at) * 1e3


def _new(shape: Any, dtype: Any = np.float64, order: str = "C", defined: bool = True) -> DeviceArray:
    array = np.zeros(shape, dtype, order=order).view(DeviceArray)  # type: ignore[call-overload]
    if not defined:
        array.written = np.zeros(array.nbytes, np.uint8)
    return array


def to_device(obj: Any, stream: Any = 0, copy: bool = True, to: Any = None) -> Any:
    """Like `cuda.to_device`."""
    if to is not None:
        to[...] = np.asarray(obj)
        return to
    if isinstance(obj, DeviceArray):
        return obj
    return np.array(obj, copy=True, order="K").view(DeviceArray)


def device_array(
    shape: Any, dtype: Any = np.float64, strides: Any = None, order: str = "C", stream: Any = 0
) -> DeviceArray:
    """Like `cuda.device_array`: its contents count as not yet written."""
    return _new(shape, dtype, order, defined=False)


def device_array_like(ary: Any, stream: Any = 0) -> DeviceArray:
    """Like `cuda.device_array_like`."""
    order = "F" if ary.flags.f_contiguous and not ary.flags.c_contiguous else "C"
    return _new(ary.shape, ary.dtype, order, defined=False)


class Device:
    """What a program may ask of a device; what the target does not say is an error."""

    id = 0
    name = b"scc_numba emulator"
    uuid = "emulated"
    WARP_SIZE = 32
    MAX_BLOCK_DIM_X, MAX_BLOCK_DIM_Y, MAX_BLOCK_DIM_Z = 1024, 1024, 64
    MAX_GRID_DIM_X, MAX_GRID_DIM_Y, MAX_GRID_DIM_Z = 2**31 - 1, 65535, 65535
    MULTIPROCESSOR_COUNT = 1
    supports_float16 = True

    def __init__(self, target: Target) -> None:
        self.become(target)

    def become(self, target: Target) -> None:
        """Answer for another target from now on."""
        self.compute_capability = target.capability
        self.supports_bfloat16 = target.capability >= (8, 0)
        self.MAX_THREADS_PER_BLOCK = target.threads
        self.MAX_SHARED_MEMORY_PER_BLOCK = target.static_shared

    def __getattr__(self, name: str) -> Any:
        if name.isupper():
            raise EmulatorError(
                f"{name} of the device is not known: there is none, and the emulator does not need it"
            )
        raise AttributeError(name)

    def __enter__(self) -> None:
        """`with cuda.gpus[0]:` changes nothing: there is one."""

    def __exit__(self, *_: object) -> None:
        pass

    def reset(self) -> None:
        """Nothing to reset."""

    def get_primary_context(self) -> Context:
        """The one context."""
        return Context(self)


class Gpus(list[Device]):
    """`cuda.gpus`: a list of one."""

    @property
    def lst(self) -> list[Device]:
        """The devices."""
        return list(self)

    @property
    def current(self) -> Device:
        """The device in use."""
        return self[0]


class Context:
    """`cuda.current_context()`."""

    def __init__(self, device: Device) -> None:
        self.device = device

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def reset(self) -> None:
        """Nothing to reset."""

    def push(self) -> None:
        """There is one context."""

    def pop(self) -> None:
        """There is one context."""

    def get_memory_info(self) -> MemoryInfo:
        """Free and total bytes of this machine's memory, where emulated arrays live.

        Raises:
            EmulatorError: the system does not say.
        """
        return MemoryInfo(*_memory())


def _memory() -> tuple[int, int]:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_AVPHYS_PAGES"), page * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        pass
    if sys.platform == "win32":
        import ctypes

        fields = [(n, ctypes.c_ulong) for n in ("length", "load")] + [
            (f"f{k}", ctypes.c_ulonglong) for k in range(7)
        ]
        status = type("MemoryStatus", (ctypes.Structure,), {"_fields_": fields})()
        status.length = ctypes.sizeof(status)
        if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):
            return status.f1, status.f0
    raise EmulatorError("the memory that is free is not known: this system does not tell")


def host_functions(target: Target) -> dict[str, Any]:
    """What stands in for each name of `numba.cuda` that would ask for a driver."""
    device = Device(target)
    nothing = lambda *a, **k: None  # noqa: E731
    none_to_enter = lambda *a, **k: contextlib.nullcontext()  # noqa: E731
    return {
        "to_device": to_device, "device_array": device_array, "device_array_like": device_array_like,
        "managed_array": lambda shape, dtype=np.float64, **k: _new(shape, dtype),
        "pinned_array": lambda shape, dtype=np.float64, **k: np.zeros(shape, dtype),
        "mapped_array": lambda shape, dtype=np.float64, **k: _new(shape, dtype),
        "pinned_array_like": np.zeros_like, "mapped_array_like": lambda a, **k: _new(a.shape, a.dtype),
        "stream": Stream, "default_stream": Stream, "legacy_default_stream": Stream,
        "per_thread_default_stream": Stream, "external_stream": lambda ptr: Stream(), "event": Event,
        "event_elapsed_time": lambda start, end: start.elapsed_time(end), "synchronize": nothing,
        "close": nothing, "profile_start": nothing, "profile_stop": nothing, "profiling": none_to_enter,
        "is_available": lambda: True, "get_current_device": lambda: device, "select_device": lambda n: device,
        "list_devices": lambda: Gpus([device]), "gpus": Gpus([device]), "detect": lambda: True,
        "current_context": lambda *a: Context(device), "require_context": lambda function: function,
        "defer_cleanup": contextlib.nullcontext, "pinned": none_to_enter,
        "is_cuda_array": is_cuda_array, "as_cuda_array": as_cuda_array, "cudadrv_available": True,
    }  # fmt: skip
