"""Lets unmodified `@cuda.jit` programs run where there is no driver.

`activate()` replaces numba-cuda's launch path, and the host functions that ask for a driver by those of `host`.
"""

from __future__ import annotations

import builtins
import importlib
import re
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from .arena import written_map
from .compiler import numba_cuda
from .errors import ArgumentError, EmulatorError, KernelFault
from .frontend import load, load_types
from .host import DeviceArray, as_cuda_array, host_functions, is_cuda_array
from .launch import findings_error, launch, step_limit
from .overload import Overload
from .report import Report
from .signatures import parse_signature
from .targets import find_target

KNOWN_VERSIONS = (
    (0, 20),
    (0, 30),
)  # oldest and newest numba-cuda whose launch path this file was written for


class FindingWarning(UserWarning):
    """A kernel launched by an activated program did something wrong; the report says what."""


class _Launcher:
    """`kernel[grid, block, stream, shared]`, ready to be called."""

    def __init__(self, dispatcher: Any, grid: Any, block: Any, stream: Any = 0, sharedmem: int = 0) -> None:
        self.dispatcher, self.grid, self.block, self.sharedmem = dispatcher, grid, block, sharedmem
        self.pre_launch_callbacks: list[Any] = []

    def __call__(self, *args: Any) -> None:
        _run(self.dispatcher, self.grid, self.block, args, int(self.sharedmem))


_DEFAULTS: dict[str, Any] = {"target": "sm_90", "reports": None, "strict": False, "max_steps": None, "saved": None}
_state: dict[str, Any] = dict(_DEFAULTS)
_used: weakref.WeakSet[Any] = weakref.WeakSet()  # dispatchers that got an overload of the emulator's


def _argument(value: Any, number: int) -> Any:
    """What the emulator is given for an argument of a launch."""
    if type(value).__name__ in ("In", "Out", "InOut"):
        value = value.value
    if isinstance(value, (np.ndarray, np.generic, int, float, bool, tuple)):
        return value
    if is_cuda_array(value):
        return as_cuda_array(value)
    array = np.asarray(value) if hasattr(value, "__array__") else None
    if array is not None and np.may_share_memory(array, np.asarray(value)):
        return array  # an array of another library, seen where it is
    why = "; its result would be lost: make it a numpy.array" if isinstance(value, (list, range)) else ""
    raise ArgumentError(
        f"argument {number} is a {type(value).__name__}; kernels take NumPy and device arrays, NumPy and Python "
        f"numbers, and tuples of them{why}"
    )


def _run(dispatcher: Any, grid: Any, block: Any, args: tuple[Any, ...], shared: int) -> None:
    values = tuple(_argument(a, k) for k, a in enumerate(args))
    unwritten = tuple(a for a in values if isinstance(a, DeviceArray) and written_map(a) is not None)
    error: ArgumentError | None = None
    for signature in dispatcher.__dict__.get("_scc_signatures") or [None]:
        try:
            report = launch(
                dispatcher, grid, block, values, shared_bytes=shared, target=_state["target"],
                max_steps=_state["max_steps"], signature=signature, uninitialised=unwritten,
            )  # fmt: skip
            break
        except ArgumentError as e:
            error = e
    else:
        assert error is not None
        raise error
    if signature is None:
        loaded = load(dispatcher, values, find_target(_state["target"]), None, None)
        _keep(dispatcher, loaded.types)
    if _state["reports"] is not None:
        _state["reports"](report)
    # An exception that the kernel raises is the program's own business, and raised below.
    findings = [f for f in report.findings if report.raised is None or f.kind != "trap"]
    if findings and _state["strict"]:
        raise findings_error(report, findings)
    for f in findings:
        warnings.warn(f"{report.kernel}: {f}", FindingWarning, stacklevel=3)  # at the launch
    if report.raised is not None:
        raise _exception(dispatcher, *report.raised)


def _exception(dispatcher: Any, said: str, block: Any, thread: Any) -> Exception:
    """What a launch on a GPU raises when a thread of a kernel compiled with debug=True has raised."""
    name, _, message = said.partition(": ")
    text = f"tid={list(thread)} ctaid={list(block)}: {message or name}"
    kind = getattr(builtins, name, None) or dispatcher.py_func.__globals__.get(name)
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(text)
        except TypeError:  # it wants other arguments than a message
            pass
    return KernelFault(f"{said} ({text})")


def _keep(dispatcher: Any, types: tuple[Any, ...]) -> None:
    """Make an overload of the dispatcher's, as a launch on a GPU would."""
    if types not in dispatcher.overloads:
        target = find_target(_state["target"])
        dispatcher.overloads[types] = Overload(
            _returning_nothing(types), lambda: load_types(dispatcher, types, target), target
        )
        _used.add(dispatcher)


def _returning_nothing(types: tuple[Any, ...]) -> Any:
    module = importlib.import_module("numba.cuda.types")
    return module.void(*types)


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
    target: str | None = None,
    *,
    strict: bool = False,
    max_steps: int | None = None,
    on_report: Callable[[Report], None] | None = None,
    force: bool = False,
) -> bool:
    """From now on `kernel[grid, block](...)` of `@cuda.jit` kernels runs here, if there is no GPU that works.

    Call it before the program makes device arrays, and before kernels with signatures are decorated.

    Whoever calls it again (a program under `scc-numba run`) changes what it names and no more: a target and a limit
    of steps stay as they are where it gives none, and strict stays strict.

    A kernel compiled with debug=True that raises an exception raises it at the launch, as on a GPU.

    Args:
        target: what to compile for; "sm_90" at first.
        strict: raise on any finding; otherwise each is a `FindingWarning`.
        max_steps: as for `launch`.
        on_report: called with the report of every launch.
        force: also where a GPU works.

    Returns:
        Whether the emulator took over.

    Raises:
        EmulatorError: a numba-cuda whose launch path this version does not know.
    """
    target = target or _state["target"]
    find_target(target)
    if max_steps is not None:
        max_steps = step_limit(max_steps)
    cuda = numba_cuda()
    if _state["saved"] is None and not force and cuda.is_available():
        return False
    _state.update(
        target=target, strict=strict or _state["strict"], max_steps=max_steps or _state["max_steps"],
        reports=on_report,
    )  # fmt: skip
    if _state["saved"] is not None:
        cuda.get_current_device().become(find_target(target))
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
    host = host_functions(find_target(target))
    for name in ("dispatcher", "compiler", "api", "codegen"):
        try:
            module = importlib.import_module(f"numba.cuda.{name}")
        except ImportError:
            continue
        if hasattr(module, "get_current_device"):
            replace(module, "get_current_device", host["get_current_device"])
    devices = importlib.import_module("numba.cuda.cudadrv.devices")
    replace(devices, "get_context", host["current_context"])  # whom the compiler asks, where no target is given
    api = importlib.import_module("numba.cuda.api")
    for name, value in host.items():
        for module in (cuda, api):
            if hasattr(module, name):
                replace(module, name, value)
    return True


_ABSENT = object()


def _remember_signature(self: Any, signature: Any) -> Any:
    """An eager signature: kept for the launches, compiled at the first, or when somebody asks for the PTX."""
    types = parse_signature(signature)
    self.__dict__.setdefault("_scc_signatures", []).append(types)
    _keep(self, types)
    return self


def deactivate() -> None:
    """Undo `activate()`: for tests."""
    for owner, name, value in reversed(_state["saved"] or []):
        if value is _ABSENT:
            delattr(owner, name)
        else:
            setattr(owner, name, value)
    for dispatcher in list(_used):
        for types, known in list(dispatcher.overloads.items()):
            if isinstance(known, Overload):
                del dispatcher.overloads[types]
    _used.clear()
    _state.update(_DEFAULTS)
