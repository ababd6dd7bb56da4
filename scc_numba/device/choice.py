"""Which backend runs the kernels, and why. Imports no Numba: the answer must be known before Numba is loaded."""

from __future__ import annotations

import ctypes
import difflib
import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

BACKENDS = ("gpu", "emulator", "simulator")
VARIABLE = "SCC_NUMBA_DEVICE"
NUMBA_SIMULATOR_VARIABLE = "NUMBA_ENABLE_CUDASIM"


class NoBackend(RuntimeError):
    """No kernel can run, whichever it is: the backend that was asked for does not exist or cannot start."""


@dataclass(frozen=True)
class Choice:
    """The name of a backend, one of `BACKENDS`, and the reason in words."""

    backend: str
    reason: str


@dataclass(frozen=True)
class Driver:
    """What the CUDA driver says of this machine."""

    gpus: tuple[str, ...]
    version: str | None
    problem: str | None


@cache
def choose() -> Choice:
    """The backend of this process: the one its environment names, else gpu, else emulator, else simulator.

    Raises:
        ValueError: the environment names a backend that does not exist.
    """
    return choose_for(os.environ)


def choose_for(environ: Mapping[str, str]) -> Choice:
    """What `choose` answers in an environment.

    Raises:
        ValueError: the environment names a backend that does not exist.
    """
    named = environ.get(VARIABLE, "").strip().lower()
    if named:
        if named not in BACKENDS:
            nearest = difflib.get_close_matches(named, BACKENDS, n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
            raise ValueError(f"{VARIABLE}={named!r} is not one of {', '.join(BACKENDS)}{hint}")
        return Choice(named, f"{VARIABLE}={named} asks for it")
    if numba_simulator_is_on(environ):
        return Choice("simulator", f"{NUMBA_SIMULATOR_VARIABLE} is set")
    found = driver()
    if found.gpus:
        return Choice("gpu", f"the driver reports {', '.join(found.gpus)}")
    if not emulator_problem():
        return Choice("emulator", f"no GPU: {found.problem}")
    return Choice("simulator", f"no GPU: {found.problem}; no emulator: {emulator_problem()}")


def numba_simulator_is_on(environ: Mapping[str, str]) -> bool:
    """Whether Numba's own switch asks for its simulator."""
    return environ.get(NUMBA_SIMULATOR_VARIABLE, "0").strip() not in ("", "0")


@cache
def driver() -> Driver:
    """Ask the CUDA driver for its version and GPUs. Never raises."""
    library = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
    try:
        cuda = ctypes.CDLL(library)
    except OSError:
        return Driver((), None, f"the CUDA driver library {library} is not installed")
    code = cuda.cuInit(0)
    if code:
        return Driver((), None, f"the CUDA driver does not start (error {code})")
    number = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(number))
    version = f"{number.value // 1000}.{number.value % 1000 // 10}"
    code = cuda.cuDeviceGetCount(ctypes.byref(number))
    if code or number.value == 0:
        return Driver((), version, "the CUDA driver finds no GPU")
    return Driver(tuple(_gpu_name(cuda, i) for i in range(number.value)), version, None)


def _gpu_name(cuda: ctypes.CDLL, ordinal: int) -> str:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    cuda.cuDeviceGet(ctypes.byref(device), ordinal)
    cuda.cuDeviceGetName(name, len(name), device)
    return name.value.decode()


@cache
def emulator_problem() -> str | None:
    """What keeps the emulator from working here, or None."""
    if importlib.util.find_spec("scc_numba.emulator") is None:
        return "this version has none yet"
    return compiler_problem()


@cache
def compiler_problem() -> str | None:
    """What keeps Numba from compiling kernels to PTX here, or None. Needs no GPU and no driver."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed; pip install 'numba-cuda[cu13]'"
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    for library in ("nvvm", "nvrtc"):
        try:
            load_nvidia_dynamic_lib(library)
        except (DynamicLibNotFoundError, RuntimeError):
            return f"the compiler library {library} is missing; pip install 'numba-cuda[cu13]'"
    return None
