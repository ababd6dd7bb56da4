"""A run of the benchmark: task by task, each kept in the table as soon as it is done.

A task is one provider on one layer. What the table holds already is not done again, so a run goes on where it was
stopped: by Ctrl-C, by the end of its time, or by a kernel that broke the GPU's context.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import numpy as np
from scc_reference import SlidingChannels

from scc_numba.kernels import OPS, Layer, Op, Rung, Tile, best, find_rung, tile_table
from scc_numba.kernels.tile_table import Tuned
from scc_numba.measure.bench.gpu import Device, Timing
from scc_numba.measure.bench.layers import BenchLayer
from scc_numba.measure.bench.providers import (
    PRECISIONS,
    Operands,
    Provider,
    Work,
    precision_of,
    prepare,
    providers,
)
from scc_numba.measure.bench.results import Results, Row, is_time
from scc_numba.measure.bench.samples import worst_error
from scc_numba.measure.bench.tuning import choose_tiles
from scc_numba.measure.files import write_whole

COMPILED = 2  # how many of the fastest peers are tried with torch.compile


class GpuLost(RuntimeError):
    """The GPU's context is broken; a new process has a new one, and goes on after the task that broke it."""


class OutOfTime(Exception):
    """The time that a run was given is over."""


@dataclass(frozen=True)
class Unit:
    """One operation on one layer at one precision: the providers that compile nothing, or the others."""

    layer: BenchLayer
    op: Op
    precision: str
    compiled: bool


def plan(layers: Sequence[BenchLayer], ops: Sequence[Op] = OPS, compiled: bool = True) -> list[Unit]:
    """All units, those of torch.compile last: it takes longer than all else, and is least likely to be needed."""
    return [
        Unit(layer, op, precision, last)
        for last in ((False, True) if compiled else (False,))
        for layer in layers
        for op in ops
        for precision in PRECISIONS
    ]


class Run:
    """Works through units.

    Args:
        results: the table.
        device: where.
        seconds: after which no new task is begun; None for no limit.
        on_task: called with a description before each task.
    """

    def __init__(
        self,
        results: Results,
        device: Device,
        seconds: float | None = None,
        on_task: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.results, self.device, self._on_task = results, device, on_task
        self._end = None if seconds is None else time.monotonic() + seconds
        self._rows = {_key(row): row for row in results.rows}
        self._operands: tuple[BenchLayer, Operands] | None = None

    def is_done(self, unit: Unit) -> bool:
        """Whether nothing of a unit is left."""
        return all(self._row(unit.layer, p, "time") for p in self._providers(unit))

    def work(self, unit: Unit) -> None:
        """Do what is left of a unit.

        Raises:
            OutOfTime: the time is over; what is done is kept.
            GpuLost: a task broke the GPU's context.
        """
        if self.is_done(unit):
            return
        chosen: dict[str, Tile] = {} if unit.compiled else self._tune(unit)
        for provider in self._providers(unit):
            if self._row(unit.layer, provider, "time") is None:
                if provider.kind == "best":
                    self._use_these_tiles()
                self._measure(unit.layer, provider, chosen.get(provider.name))
        write_whole(self.tiles_path, tile_table.to_csv(self.tuned()))

    @property
    def tiles_path(self) -> Path:
        """Where the tile table is written."""
        return self.results.path.with_name("tiles.csv")

    def tuned(self) -> list[Tuned]:
        """The tile table that the rows make."""
        rungs = [row for row in self.results.rows if (row["kind"], row["metric"]) == ("rung", "time")]
        return [_tuned(row) for row in rungs if is_time(row)]

    def _providers(self, unit: Unit) -> tuple[Provider, ...]:
        if not unit.compiled:
            return providers(unit.op, unit.precision)
        peers = [p for p in providers(unit.op, unit.precision) if p.kind == "peer"]
        timed = [(row, p) for p in peers if (row := self._row(unit.layer, p, "time")) and is_time(row)]
        timed.sort(key=lambda pair: float(pair[0]["value_50"]))
        return tuple(Provider("compiled", p.name, p.op, p.precision) for _, p in timed[:COMPILED])

    def _row(self, layer: BenchLayer, provider: Provider, metric: str, tile: str = "") -> Row | None:
        kind = (provider.kind, provider.name, provider.op, provider.precision)
        return self._rows.get((layer.name, *kind, metric, tile))

    def _tune(self, unit: Unit) -> dict[str, Tile]:
        layer = unit.layer.layer
        ours = [p for p in providers(unit.op, unit.precision) if p.kind == "rung"]
        fit = [r for r in (find_rung(p.name) for p in ours) if r.supports(layer, self.device.target) is None]

        def seconds(rung: Rung, tile: Tile) -> float | None:
            provider = Provider("rung", rung.name, unit.op, unit.precision)
            row = self._row(unit.layer, provider, "time of a tile", _name(tile))
            row = row or self._measure(unit.layer, provider, tile, only_choosing=True)
            return float(row["value_50"]) if is_time(row) else None

        return dict(choose_tiles(fit, layer, seconds)) if fit else {}

    def _use_these_tiles(self) -> None:
        """Let `best` choose by what this run has found so far."""
        write_whole(self.tiles_path, tile_table.to_csv(self.tuned()))
        tile_table.use(self.tiles_path)

    def _measure(
        self, layer: BenchLayer, provider: Provider, tile: Tile | None, only_choosing: bool = False
    ) -> Row:
        """Time a provider, check what it computed, and enter both. An error is entered in place of a time."""
        if self._end is not None and time.monotonic() > self._end:
            raise OutOfTime
        self._on_task(f"{layer.name} {provider.op} {provider.precision} {provider.name}")
        timing, error, problem = None, None, ""
        try:
            with precision_of(provider):
                timing, error = self._timed(layer, provider, tile, only_choosing)
        except Exception as failure:
            problem = _in_words(failure)
        alive = self.device.is_alive() if problem else True
        metric = "time of a tile" if only_choosing else "time"
        row = self._enter(layer, provider, tile, metric, () if timing is None else timing.gpu, error, problem)
        if timing is not None and not only_choosing:
            self._enter(layer, provider, tile, "time of the host", timing.host, None, "")
        if problem and alive:
            self.device.free_memory()
        if not alive:
            raise GpuLost(
                f"the GPU stopped working at {provider.name} on {layer.name}: {problem}; the results so far are "
                f"kept, and the same command goes on after it"
            )
        return row

    def _timed(
        self, layer: BenchLayer, provider: Provider, tile: Tile | None, quick: bool
    ) -> tuple[Timing, float | None]:
        if provider.kind == "rung":
            reason = find_rung(provider.name).supports(layer.layer, self.device.target)
            if reason is not None:
                raise ValueError(reason)
        if self._operands is None or self._operands[0] != layer:
            self._operands = None  # before the new ones are drawn: both may not fit
            self.device.free_memory()
            self._operands = layer, Operands(layer, self.device)
        operands = self._operands[1]
        work = prepare(provider, layer, operands, self.device, tile)
        timing = self.device.time(work.calls, quick)
        return timing, self._error(layer, provider, operands, work)

    def _error(self, layer: BenchLayer, provider: Provider, operands: Operands, work: Work) -> float | None:
        """The worst of all sets, as the last of the timed calls left them."""
        if work.results is None:
            return None
        ours, tf32 = provider.kind in ("rung", "best"), provider.precision == "tf32"
        rung = find_rung(provider.name) if provider.kind == "rung" else None
        if provider.kind == "best":  # where rounding is allowed, it may choose a rung that does not round
            rung, _ = best(layer.layer, provider.op, target=self.device.target, allow_tf32=tf32)
        errors = [
            worst_error(
                result,
                provider.op,
                {name: tensor for name, tensor in operands.flat(layer.layer, i).items() if name != "bias"},
                layer.layer,
                rounds_to=None if rung is None else rung.rounds_to,
                tf32=tf32 and not ours,
                seed=i,
            )
            for i, result in enumerate(work.results())
        ]
        return max(errors, key=lambda error: (error != error, error))  # NaN is the worst

    def _enter(
        self,
        layer: BenchLayer,
        provider: Provider,
        tile: Tile | None,
        metric: str,
        seconds: Sequence[float],
        error: float | None,
        problem: str,
    ) -> Row:
        low, median, high = _percentiles(seconds)
        channels = layer.channels
        self.results.add(
            {
                **self.device.machine(),
                "provider": provider.name,
                "kind": provider.kind,
                "op": provider.op,
                "precision": provider.precision,
                "tile": "" if tile is None else _name(tile),
                "layer": layer.name,
                "network": layer.network,
                "dataset": layer.dataset,
                "batch": layer.batch,
                "in_channels": channels.in_channels,
                "out_channels": channels.out_channels,
                "side": layer.side,
                "groups": channels.groups,
                "overlap": channels.overlap,
                "metric": metric,
                "unit": "µs",
                "value_50": median,
                "value_20": low,
                "value_80": high,
                "samples": len(seconds),
                "error_in_bounds": "" if error is None else f"{error:.4g}",
                "problem": problem,
                "time": datetime.now(UTC).isoformat(timespec="seconds"),
            }
        )
        row = self.results.rows[-1]
        self._rows[_key(row)] = row
        return row


def _key(row: Row) -> tuple[str, ...]:
    kind = (row["kind"], row["provider"], row["op"], row["precision"])
    return row["layer"], *kind, row["metric"], row["tile"] if row["metric"] == "time of a tile" else ""


def _tuned(row: Row) -> Tuned:
    sizes = (int(row["in_channels"]), int(row["out_channels"]), int(row["groups"]))
    layer = Layer(
        SlidingChannels(*sizes, Fraction(row["overlap"])),
        int(row["batch"]),
        int(row["side"]) ** 2,
        np.dtype(np.float32),
    )
    tile = tuple(int(part) for part in row["tile"].split("x"))
    return Tuned.of(find_rung(row["provider"]), layer, tile, row["target"], float(row["value_50"]), row["gpu"])


def _name(tile: Tile) -> str:
    return "x".join(map(str, tile))


def _percentiles(seconds: Sequence[float]) -> tuple[str, str, str]:
    if not seconds:
        return "", "", ""
    low, median, high = np.percentile(np.array(seconds) * 1e6, [20, 50, 80])
    return f"{low:.6g}", f"{median:.6g}", f"{high:.6g}"


def _in_words(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    text = lines[0] if lines else ""
    if "out of memory" in str(error).lower():
        text = "out of memory"
    return f"{type(error).__name__}: {text}"[:300]
