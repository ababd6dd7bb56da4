"""The device that is timed: CUDA events around single calls with a cold L2, and the facts of the machine."""

from __future__ import annotations

import math
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from scc_numba import __version__
from scc_numba.device import NoBackend, backend, choose
from scc_numba.kernels import Layer, Rung, Tile
from scc_numba.kernels.torch_launch import TorchLaunch, current_stream

Call = Callable[[], object]
SECONDS = 0.15  # of GPU time that a measurement may take
FEWEST, MOST = 3, 50  # samples of a measurement
QUICK = 5  # samples of a measurement that only chooses a tile
LONG = 0.5  # seconds of a call after which it is not repeated just to see what the host takes
CLOCKS_HOLD = 10.0  # seconds for which what nvidia-smi told is told again: it takes a while to answer
FLUSH_FACTOR = 4  # bytes written between samples, in sizes of the L2 cache
HOLD_CYCLES_PER_SECOND = 2.5e9  # above what GPUs clock at: the GPU is held back rather too long


@dataclass(frozen=True)
class Timing:
    """Samples of one call, in seconds.

    Attributes:
        gpu: between two events around it, on the GPU.
        host: until it returned, on the host; nothing is waited for.
    """

    gpu: tuple[float, ...]
    host: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the GPU's times."""
        return statistics.median(self.gpu)


class Device(Protocol):
    """What the benchmark needs of a device. The tests have one without a GPU."""

    torch_name: str
    target: str

    def time(self, calls: Sequence[Call], quick: bool = False) -> Timing:
        """Time calls that do the same on different data, in turn."""

    def launcher(self, rung: Rung, layer: Layer, tile: Tile) -> Callable[..., None]:
        """A rung, as a function of tensors in the shapes that kernels take, the results last."""

    def machine(self) -> dict[str, str]:
        """What a row says of the machine; the clocks are those of this moment."""

    def is_alive(self) -> bool:
        """Whether it still works, after an error."""

    def free_memory(self) -> None:
        """Give back what no tensor uses."""


class GpuDevice:
    """The CUDA GPU that torch is using.

    Raises:
        NoBackend: there is none, or torch cannot use it.
    """

    torch_name = "cuda"

    def __init__(self) -> None:
        require_gpu()
        import torch

        self._torch = torch
        properties = torch.cuda.get_device_properties(torch.cuda.current_device())
        self.target = f"sm_{properties.major}{properties.minor}"
        self.name = properties.name
        self._uuid = str(getattr(properties, "uuid", ""))
        self._clocks: dict[str, str] = {}
        self._asked = -math.inf
        l2 = int(getattr(properties, "L2_cache_size", 0)) or 2**26
        self._flush = torch.empty(FLUSH_FACTOR * l2 // 4, dtype=torch.float32, device="cuda")

    def time(self, calls: Sequence[Call], quick: bool = False) -> Timing:
        """Median and spread come of single calls; between two of them the L2 cache is overwritten.

        The GPU is held back until a call is queued as a whole, so that gaps in which the host prepares the next
        launch do not count: what the host takes is told apart.
        """
        cuda = self._torch.cuda
        for call in calls:  # compiles, chooses algorithms, warms up
            call()
        cuda.synchronize()
        host: list[float] = []
        begun = time.perf_counter()
        for call in calls:
            if not host or time.perf_counter() - begun < LONG:
                host.append(self._seconds_of_host(call))
        hold = int(min(1.5 * max(host) + 50e-6, 20e-3) * HOLD_CYCLES_PER_SECOND)
        first = self._sample(calls[0], hold)
        number = max(FEWEST, min(QUICK if quick else MOST, int(SECONDS / max(first, 1e-6))))
        samples = [self._sample(calls[i % len(calls)], hold) for i in range(number)]
        return Timing(tuple(samples), tuple(host))

    def _seconds_of_host(self, call: Call) -> float:
        self._torch.cuda.synchronize()
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        self._torch.cuda.synchronize()
        return seconds

    def _sample(self, call: Call, hold: int) -> float:
        cuda = self._torch.cuda
        start, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        self._flush.zero_()
        cuda._sleep(hold)
        start.record()
        call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) / 1e3

    def launcher(self, rung: Rung, layer: Layer, tile: Tile) -> Callable[..., None]:
        """Straight from the tensors' addresses, on torch's stream."""
        launch = TorchLaunch(rung.build(layer, tile), rung.op, layer)
        stream = current_stream(self._torch.cuda.current_device())
        return lambda *tensors: launch(*tensors, stream=stream)

    def machine(self) -> dict[str, str]:
        """Names and versions; clocks and temperature by nvidia-smi, empty where it is not there."""
        if time.monotonic() - self._asked > CLOCKS_HOLD:
            self._clocks, self._asked = clocks(self._uuid), time.monotonic()
        found = {"gpu": self.name, "target": self.target, "cuda": str(self._torch.version.cuda)}
        return {**found, **self._clocks, **versions()}

    def is_alive(self) -> bool:
        """A kernel that reads where it must not takes the whole CUDA context along."""
        try:
            self._torch.cuda.synchronize()
            self._flush[:1].zero_().item()
        except RuntimeError:
            return False
        return True

    def free_memory(self) -> None:
        """Torch's cache, back to the driver."""
        self._torch.cuda.empty_cache()


def require_gpu() -> None:
    """Raise unless kernels and torch both run on a GPU here.

    Raises:
        NoBackend: they do not; the message says why.
    """
    reason = None
    try:
        import torch
    except ImportError:
        reason = "torch is not installed (pip install torch)"
    else:
        if choose().backend != "gpu":
            reason = f"the backend is the {choose().backend}, since {choose().reason}"
        elif not torch.cuda.is_available():
            reason = "this torch has no CUDA, or finds no GPU (torch.cuda.is_available() is False)"
        else:
            backend()  # starts, or says why not
    if reason is not None:
        raise NoBackend(
            f"times are measured on a GPU only, and there is none to use here: {reason}. `scc-numba model` tells "
            f"what a GPU could reach at best, `scc-numba ladder` counts what the kernels do; neither is a time"
        )


def versions() -> dict[str, str]:
    """Versions of what the times depend on, "" for what is not installed."""
    packages = {"torch": "torch", "numba": "numba", "numba_cuda": "numba-cuda"}
    found = {"python": platform.python_version(), "scc_numba": __version__}
    for column, package in packages.items():
        try:
            found[column] = version(package)
        except PackageNotFoundError:
            found[column] = ""
    return found


TOLD = {
    "driver": "driver_version",
    "sm_clock_mhz": "clocks.sm",
    "memory_clock_mhz": "clocks.mem",
    "temperature_c": "temperature.gpu",
}


def clocks(uuid: str) -> dict[str, str]:
    """What nvidia-smi says of a GPU, the first one where it does not know this one; empty where it says nothing."""
    query = [f"--query-gpu={','.join(TOLD.values())}", "--format=csv,noheader,nounits"]
    for which in ([["-i", f"GPU-{uuid}"]] if uuid else []) + [[]]:
        values = _output(["nvidia-smi", *which, *query]).split(",")
        if len(values) == len(TOLD):
            return {name: value.strip() for name, value in zip(TOLD, values, strict=True)}
    return dict.fromkeys(TOLD, "")


def _output(command: list[str]) -> str:
    try:
        done: Any = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return str(done.stdout).strip().splitlines()[0] if done.stdout.strip() else ""
