"""The main job: take one batch of feature maps through every rung of the ladders, and see what each costs."""

from __future__ import annotations

import csv
import io
import math
import platform
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from scc_reference import SlidingChannels

from scc_numba import __version__
from scc_numba.check import errors_in_bounds
from scc_numba.check.tolerance import reference
from scc_numba.device import Choice, Profile, choose, device_array, profile, to_device, to_host
from scc_numba.kernels import OPS, Launch, Layer, Op, Rung, ladder
from scc_numba.kernels.run import kernel_operands
from scc_numba.measure.photo import SEED

Array = np.ndarray[Any, Any]
GPU_REPEATS = 20


@dataclass(frozen=True)
class Figure:
    """One thing a rung costs: PTX instructions, sectors, seconds.

    Attributes:
        name: what is counted or measured.
        short: the same, for the head of a narrow column.
        unit: of `value`; "1" for a plain count.
        value: the number.
    """

    name: str
    short: str
    unit: str
    value: float

    @property
    def gain(self) -> str:
        """What a ratio of two such figures says: "times fewer sectors", "times faster"."""
        return f"times fewer {self.name}" if self.unit == "1" else "times faster"


@dataclass(frozen=True)
class Step:
    """One rung on the layer.

    Attributes:
        rung: the rung.
        layer: the layer; in a dtype of the rung's, where it does not compute in the one asked for.
        error: largest error in units of its bound; right if at most 1. NaN if something is not finite.
        figures: what it cost, the most telling first; empty where the backend can tell nothing.
        ratio: how many times less of the first figure it costs than the bottom rung, or None.
    """

    rung: Rung
    layer: Layer
    error: float
    figures: tuple[Figure, ...]
    ratio: float | None

    @property
    def right(self) -> bool:
        """Whether every element is finite and within its bound."""
        return self.error <= 1


@dataclass(frozen=True)
class Climb:
    """All rungs on one layer.

    Attributes:
        layer: the layer.
        backend: what ran the kernels, and why that.
        steps: one a rung, ladder by ladder, from the bottom up.
        outputs: (N, K, H, W), the forward result by the reference.
    """

    layer: Layer
    backend: Choice
    steps: tuple[Step, ...]
    outputs: Array

    @property
    def right(self) -> bool:
        """Whether every rung is."""
        return all(step.right for step in self.steps)

    def of(self, op: Op) -> tuple[Step, ...]:
        """The steps of one ladder."""
        return tuple(step for step in self.steps if step.rung.op == op)


def climb(
    maps: Array,
    channels: SlidingChannels,
    *,
    ops: Sequence[Op] = OPS,
    on_step: Callable[[Rung], None] = lambda rung: None,
) -> Climb:
    """Run every rung on the layer that these feature maps make, and compare it with the float64 reference.

    Weights are drawn as a convolution layer is initialised (He), with a fixed seed. The loss is half the sum of
    squares of the output, whose gradient is the output itself: that is the grad_output of the other two ladders.

    Args:
        maps: x, (N, C, H, W); its dtype is the layer's. A rung that does not compute in it takes a dtype of its
            own, and the operands rounded to that.
        channels: the windows.
        ops: which ladders.
        on_step: called with each rung before it runs.
    """
    draw = np.random.default_rng(SEED)
    K, G = channels.out_channels, channels.group_width
    weight = draw.normal(0, math.sqrt(2 / G), (K, G)).astype(maps.dtype)
    bias = draw.normal(0, 0.1, K).astype(maps.dtype)
    outputs = reference(
        "forward", {"x": maps.astype(float), "weight": weight.astype(float), "bias": bias.astype(float)}, channels
    )
    grad_output = outputs.astype(maps.dtype)
    operands: dict[Op, dict[str, Any]] = {
        "forward": {"x": maps, "weight": weight, "bias": bias},
        "grad_input": {"grad_output": grad_output, "weight": weight},
        "grad_weight": {"grad_output": grad_output, "x": maps},
    }
    layer = Layer(channels, maps.shape[0], math.prod(maps.shape[2:]), maps.dtype)
    steps: list[Step] = []
    for op in ops:
        bottom: float | None = None
        for rung in ladder(op):
            on_step(rung)
            own = rung.suited(layer)
            given = {name: array.astype(own.dtype) for name, array in operands[op].items()}
            result, figures = _run(rung, own, given)
            result = result.reshape(_with_spatial(op, result.shape, maps.shape[2:]))
            errors = errors_in_bounds(result, op, given, channels, zero_mean=False, rounds_to=rung.rounds_to)
            error = float(errors.max(initial=0)) if np.isfinite(errors).all() else math.nan
            bottom = figures[0].value if bottom is None and figures else bottom
            ratio = bottom / figures[0].value if bottom is not None and figures[0].value else None
            steps.append(Step(rung, own, error, figures, ratio))
    return Climb(layer, choose(), tuple(steps), outputs)


def _with_spatial(op: Op, shape: tuple[int, ...], spatial: tuple[int, ...]) -> tuple[int, ...]:
    return shape if op == "grad_weight" else (*shape[:2], *spatial)


def _run(rung: Rung, layer: Layer, operands: dict[str, Any]) -> tuple[Array, tuple[Figure, ...]]:
    """The result, and what it cost, the copies to and from the device not counted."""
    arrays = [to_device(array) for array in kernel_operands(rung.op, operands, layer)]
    result = device_array(layer.result_shape(rung.op), layer.dtype)
    launch = rung.build(layer)
    with profile() as report:
        launch(*arrays, result)
    host = to_host(result)
    if report.backend == "gpu":
        return host, (Figure("time", "time (µs)", "µs", _time(launch, [*arrays, result]) * 1e6),)
    return host, _counts(report)


def _time(launch: Launch, arrays: list[Any]) -> float:
    """Median seconds of a launch on a GPU, its data in cache if it fits; the first run has compiled it."""
    times = []
    for _ in range(GPU_REPEATS):
        with profile() as report:
            launch(*arrays)
        times.append(report.seconds or math.nan)
    return statistics.median(times)


def _counts(report: Profile) -> tuple[Figure, ...]:
    """What the emulator counted in all launches; empty on the simulator, which has nothing to count.

    Sectors are those of loads, stores and atomics: else a kernel that adds atomically would seem to move less.
    """
    counts = [record.counts for record in report.launches if record.counts is not None]
    if not counts:
        return ()
    sectors = sum(c.global_load.sectors + c.global_store.sectors + c.atomics.sectors for c in counts)
    return (
        Figure("PTX instructions of warps", "instr.", "1", sum(c.instructions for c in counts)),
        Figure("global sectors", "sectors", "1", sectors),
        Figure("atomic requests", "atomics", "1", sum(c.atomics.requests for c in counts)),
        Figure("atomic updates of one address", "queue", "1", max(c.atomics.worst_contention for c in counts)),
    )


COLUMNS = (
    "op",
    "rung",
    "tile",
    "batch",
    "in_channels",
    "out_channels",
    "pixels",
    "groups",
    "overlap",
    "dtype",
    "backend",
    "metric",
    "unit",
    "value",
    "times_fewer_than_bottom",
    "right",
    "error_in_bounds",
    "python",
    "numpy",
    "numba",
    "numba_cuda",
    "scc_numba",
    "machine",
    "time",
)


def to_csv(climb: Climb) -> str:
    """A long-format table: a row for each rung and figure, or for each rung where there are no figures."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    layer, channels = climb.layer, climb.layer.channels
    common = {
        "batch": layer.batch,
        "in_channels": channels.in_channels,
        "out_channels": channels.out_channels,
        "pixels": layer.pixels,
        "groups": channels.groups,
        "overlap": channels.overlap,
        "backend": climb.backend.backend,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": _version("numba"),
        "numba_cuda": _version("numba-cuda"),
        "scc_numba": __version__,
        "machine": platform.machine(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    for step in climb.steps:
        for row in _rows(step):
            writer.writerow({**common, **row, "dtype": step.layer.dtype})
    return stream.getvalue()


def _rows(step: Step) -> Iterable[dict[str, Any]]:
    tile = "x".join(map(str, step.rung.tiles(step.layer)[0]))
    about = {
        "op": step.rung.op,
        "rung": step.rung.name,
        "tile": tile,
        "right": step.right,
        "error_in_bounds": f"{step.error:.4g}",
    }
    if not step.figures:
        yield about
    for i, figure in enumerate(step.figures):
        ratio = f"{step.ratio:.4g}" if i == 0 and step.ratio is not None else ""
        yield {
            **about,
            "metric": figure.name,
            "unit": figure.unit,
            "value": f"{figure.value:.10g}",
            "times_fewer_than_bottom": ratio,
        }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
