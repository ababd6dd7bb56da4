"""Lets unmodified `@cuda.jit` programs run where there is no driver: launches, device arrays, streams and
events.

`activate()` replaces numba-cuda's launch path and the host functions that ask for a driver. Device arrays
are NumPy arrays with the methods of Numba's; streams run at once, in order; events read the clock of this
machine.
"""

from __future__ import annotations

import contextlib
import importlib
import re
import time
import types
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .arena import written_map
from .errors import ArgumentError, EmulatorError
from .launch import launch
from .report import Report
from .targets import find_target

KNOWN_VERSIONS = (
    (0, 20),
    (0, 30),
)  # oldest and newest numba-cuda whose launch path this file was written for


class FindingWarning(UserWarning):
    """A kernel launched by an activated program did something wrong; the report says what."""


class DeviceArray(np.ndarray):
    """An emulated device array: a NumPy array with the copying methods of Numba's.

    Attributes:
        written: per byte, whether anything was stored there; None once that is of no more interest.
    """

    written: Any = None
    __cuda_ndarray__ = False

    def __array_finalize__(self, other: Any) -> None:
        self.written = None

    def __setitem__(self, key: Any, value: Any) -> None:
        root = self
        while isinstance(root.base, DeviceArray):
            root = root.base
        root.written = None  # the host filled it: no more to learn
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


def _device(target: str) -> Any:
    t = find_target(target)
    return types.SimpleNamespace(
        name=b"scc_numba emulator", id=0, compute_capability=t.capability, uuid="emulated", WARP_SIZE=32,
        MAX_THREADS_PER_BLOCK=t.threads, MAX_BLOCK_DIM_X=1024, MAX_BLOCK_DIM_Y=1024, MAX_BLOCK_DIM_Z=64,
        MAX_GRID_DIM_X=2**31 - 1, MAX_GRID_DIM_Y=65535, MAX_GRID_DIM_Z=65535, MULTIPROCESSOR_COUNT=1,
        MAX_SHARED_MEMORY_PER_BLOCK=t.static_shared, supports_float16=True, reset=lambda: None,
    )  # fmt: skip


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


class _Launcher:
    """`kernel[grid, block, stream, shared]`, ready to be called."""

    def __init__(self, dispatcher: Any, grid: Any, block: Any, stream: Any = 0, sharedmem: int = 0) -> None:
        self.dispatcher, self.grid, self.block, self.sharedmem = dispatcher, grid, block, sharedmem
        self.pre_launch_callbacks: list[Any] = []

    def __call__(self, *args: Any) -> None:
        _run(self.dispatcher, self.grid, self.block, args, int(self.sharedmem))


_state: dict[str, Any] = {"target": "sm_90", "reports": None, "strict": False, "saved": None}


def _run(dispatcher: Any, grid: Any, block: Any, args: tuple[Any, ...], shared: int) -> None:
    values = []
    for a in args:
        a = getattr(a, "value", a) if type(a).__name__ in ("In", "Out", "InOut") else a
        if not isinstance(a, (np.ndarray, np.generic, int, float, bool, tuple)):
            a = np.asarray(a)
        values.append(a)
    unwritten = tuple(a for a in values if isinstance(a, DeviceArray) and written_map(a) is not None)
    signatures = getattr(dispatcher, "_scc_signatures", None) or [None]
    error: ArgumentError | None = None
    for signature in signatures:
        try:
            report = launch(
                dispatcher, grid, block, tuple(values), shared_bytes=shared, target=_state["target"],
                strict=_state["strict"], signature=signature, uninitialised=unwritten,
            )  # fmt: skip
            break
        except ArgumentError as e:
            error = e
    else:
        assert error is not None
        raise error
    for f in report.findings:
        warnings.warn(f"{report.kernel}: {f}", FindingWarning, stacklevel=4)
    if _state["reports"] is not None:
        _state["reports"](report)


def _for_all(self: Any, *args: Any) -> None:
    if self.ntasks:
        threads = self.thread_per_block or 128
        blocks = -(-self.ntasks // threads)
        _run(self.dispatcher, blocks, threads, args, int(self.sharedmem or 0))


def _version() -> tuple[int, int]:
    from importlib import metadata

    m = re.match(r"(\d+)\.(\d+)", metadata.version("numba-cuda"))
    return (int(m[1]), int(m[2])) if m else (0, 0)


def activate(
    target: str = "sm_90",
    *,
    strict: bool = False,
    on_report: Callable[[Report], None] | None = None,
    force: bool = False,
) -> bool:
    """From now on `kernel[grid, block](...)` of `@cuda.jit` kernels runs here, if there is no GPU that works.

    Call it before the program makes device arrays, and before kernels with signatures are decorated.

    Args:
        target: what to compile for.
        strict: raise on any finding; otherwise each is a `FindingWarning`.
        on_report: called with the report of every launch.
        force: also where a GPU works.

    Returns:
        Whether the emulator took over.

    Raises:
        EmulatorError: a numba-cuda whose launch path this version does not know.
    """
    from .compiler import numba_cuda

    find_target(target)
    cuda = numba_cuda()
    if _state["saved"] is None and not force and cuda.is_available():
        return False
    _state.update(target=target, strict=strict, reports=on_report)
    if _state["saved"] is not None:
        return True
    version = _version()
    dispatcher_module = importlib.import_module("numba.cuda.dispatcher")
    dispatcher = getattr(dispatcher_module, "CUDADispatcher", None)
    needed = ("configure", "__getitem__", "compile", "call", "py_func")
    if dispatcher is None or not all(hasattr(dispatcher, n) for n in needed[:4]):
        raise EmulatorError(f"numba-cuda {version} launches kernels in a way that this emulator does not know")
    if not KNOWN_VERSIONS[0] <= version <= KNOWN_VERSIONS[1]:
        warnings.warn(
            f"numba-cuda {version[0]}.{version[1]} is outside {KNOWN_VERSIONS}, for which activate() was written",
            stacklevel=2,
        )
    _state["saved"] = []

    def replace(owner: Any, name: str, value: Any) -> None:
        _state["saved"].append((owner, name, owner.__dict__.get(name, _ABSENT)))
        setattr(owner, name, value)

    replace(
        dispatcher,
        "configure",
        lambda self, g, b, stream=0, sharedmem=0: _Launcher(self, g, b, stream, sharedmem),
    )
    replace(dispatcher, "__getitem__", lambda self, key: _Launcher(self, *key))
    replace(dispatcher, "compile", _remember_signature)
    replace(dispatcher, "disable_compile", lambda self, val=True: None)
    if hasattr(dispatcher_module, "ForAll"):
        replace(dispatcher_module.ForAll, "__call__", _for_all)
    device = _device(target)
    for name in ("dispatcher", "compiler", "api", "codegen"):
        try:
            module = importlib.import_module(f"numba.cuda.{name}")
        except ImportError:
            continue
        if hasattr(module, "get_current_device"):
            replace(module, "get_current_device", lambda: device)
    nothing = lambda *a, **k: None  # noqa: E731
    host = {
        "to_device": to_device, "device_array": device_array, "device_array_like": device_array_like,
        "managed_array": lambda shape, dtype=np.float64, **k: _new(shape, dtype),
        "pinned_array": lambda shape, dtype=np.float64, **k: np.zeros(shape, dtype),
        "mapped_array": lambda shape, dtype=np.float64, **k: _new(shape, dtype),
        "pinned_array_like": np.zeros_like, "mapped_array_like": lambda a, **k: _new(a.shape, a.dtype),
        "stream": Stream, "default_stream": Stream, "legacy_default_stream": Stream,
        "per_thread_default_stream": Stream, "external_stream": lambda ptr: Stream(), "event": Event,
        "event_elapsed_time": lambda start, end: start.elapsed_time(end), "synchronize": nothing,
        "close": nothing,
        "is_available": lambda: True, "get_current_device": lambda: device, "select_device": lambda n: device,
        "list_devices": lambda: [device], "gpus": [device], "detect": lambda: True,
        "current_context": lambda *a: types.SimpleNamespace(
            device=device, synchronize=nothing, reset=nothing, get_memory_info=lambda: (2**31, 2**31)
        ),
        "defer_cleanup": contextlib.nullcontext, "pinned": lambda *a: contextlib.nullcontext(),
        "is_cuda_array": lambda x: isinstance(x, DeviceArray), "as_cuda_array": lambda x, **k: to_device(x),
        "cudadrv_available": True,
    }  # fmt: skip
    api = importlib.import_module("numba.cuda.api")
    for name, value in host.items():
        for module in (cuda, api):
            if hasattr(module, name):
                replace(module, name, value)
    return True


_ABSENT = object()


def _remember_signature(self: Any, signature: Any) -> Any:
    """An eager signature: kept for the launches, compiled at the first."""
    self.__dict__.setdefault("_scc_signatures", []).append(tuple(signature))
    return self


def deactivate() -> None:
    """Undo `activate()`: for tests."""
    for owner, name, value in reversed(_state["saved"] or []):
        if value is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, value)
    _state["saved"] = None
