"""`with profile() as report:` — what the launches of a region cost, as far as the backend can tell."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from scc_numba.device.choice import choose

Dims = tuple[int, int, int]


@dataclass
class LaunchRecord:
    """One launch.

    Attributes:
        kernel: name of the kernel.
        grid: blocks in x, y and z.
        block: threads of a block in x, y and z.
        shared_bytes: dynamic shared memory of a block.
        seconds: time on the GPU; None on every other backend, whose run time says nothing about a GPU.
        counts: the emulator's report; None on every other backend.
    """

    kernel: str
    grid: Dims
    block: Dims
    shared_bytes: int
    seconds: float | None = None
    counts: Any = None


@dataclass
class Profile:
    """The launches of a region, in order, and the backend that ran them."""

    backend: str
    launches: list[LaunchRecord] = field(default_factory=list)

    @property
    def seconds(self) -> float | None:
        """Time on the GPU of all launches together, or None where there is no GPU to time."""
        times = [launch.seconds for launch in self.launches]
        return sum(time for time in times if time is not None) if times and None not in times else None


_active: ContextVar[Profile | None] = ContextVar("scc_numba_profile", default=None)


@contextlib.contextmanager
def profile() -> Iterator[Profile]:
    """Record the launches of a region. On a GPU each launch is timed, and waited for."""
    report = Profile(choose().backend)
    token = _active.set(report)
    try:
        yield report
    finally:
        _active.reset(token)


def is_recording() -> bool:
    """Whether a profile is active."""
    return _active.get() is not None


@contextlib.contextmanager
def recording(kernel: str, grid: Dims, block: Dims, shared_bytes: int) -> Iterator[LaunchRecord | None]:
    """The record of one launch, entered in the active profile if the launch succeeds; None where none is active."""
    report = _active.get()
    if report is None:
        yield None
        return
    record = LaunchRecord(kernel, grid, block, shared_bytes)
    yield record
    report.launches.append(record)
