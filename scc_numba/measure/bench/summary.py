"""What the results come to: for each layer the fastest rung against cuBLAS, a plain copy and the fastest peer."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from scc_numba.kernels import OPS
from scc_numba.measure.bench.providers import PRECISIONS
from scc_numba.measure.bench.results import Row, is_right, is_time
from scc_numba.measure.ladder_page import TITLES

MANY_CHANNELS, MANY_FILTERS = 256, 32  # C and M from which a layer is wide enough to be held against cuBLAS
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Line:
    """One layer, operation and precision. Times in µs; None where nothing was measured, or it was wrong.

    Attributes:
        layer, op, precision: of what.
        wide: whether C ≥ 256 and M ≥ 32.
        rung, tile: the fastest, and with which tile.
        time: its median.
        gemm: of cuBLAS on as many multiply-adds.
        copy: of a copy that moves as many bytes as the operation must.
        peer: the fastest peer, compiled or not.
        peer_time: its median.
        best_host: what a call of `run_best` takes on the host.
    """

    layer: str
    op: str
    precision: str
    wide: bool
    rung: str
    tile: str
    time: float | None
    gemm: float | None
    copy: float | None
    peer: str
    peer_time: float | None
    best_host: float | None

    @property
    def of_gemm(self) -> float | None:
        """Percent of cuBLAS's speed."""
        return None if self.gemm is None or self.time is None else 100 * self.gemm / self.time

    @property
    def of_copy(self) -> float | None:
        """Percent of a copy's bandwidth."""
        return None if self.copy is None or self.time is None else 100 * self.copy / self.time

    @property
    def over_peer(self) -> float | None:
        """How many times faster than the fastest peer."""
        return None if self.peer_time is None or self.time is None else self.peer_time / self.time


def summarise(rows: Sequence[Row]) -> list[Line]:
    """A line for each layer, operation and precision of which something was measured, in the order of the rows."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["layer"], row["op"], row["precision"]), []).append(row)
    lines = []
    for (layer, op, precision), own in groups.items():
        # A rung that does not round is as good where rounding is allowed; the copy has no precision.
        exact = groups.get((layer, op, "float32"), [])
        rung = _fastest([*own, *exact], ("rung",))
        gemm, copy = _fastest(own, ("roof",), "gemm"), _fastest(exact, ("roof",), "copy")
        peer = _fastest(own, ("peer", "compiled"))
        host = [row for row in own if (row["kind"], row["metric"]) == ("best", "time of the host")]
        first = own[0]
        lines.append(
            Line(
                layer,
                op,
                precision,
                _is_wide(first),
                rung["provider"] if rung else "",
                rung["tile"] if rung else "",
                _median(rung),
                _median(gemm),
                _median(copy),
                f"{peer['kind']} {peer['provider']}".removeprefix("peer ") if peer else "",
                _median(peer),
                _median(host[0] if host else None),
            )
        )
    return lines


def failures(rows: Sequence[Row]) -> list[str]:
    """What did not run or came out wrong, a sentence each."""
    found = []
    for row in rows:
        who = f"{row['provider']} ({row['kind']}) {row['op']} {row['precision']} on {row['layer']}"
        who += f", tile {row['tile']}" if row["tile"] else ""
        if row["problem"]:
            found.append(f"{who}: {row['problem']}")
        elif not is_right(row):
            found.append(f"{who} is wrong: its worst error is {row['error_in_bounds']} of its bound")
    return list(dict.fromkeys(found))


@dataclass(frozen=True)
class Digest:
    """All lines of an operation and a precision. None where nothing was measured.

    Attributes:
        op, precision: of what.
        layers: how many have a time.
        of_gemm: median percent of cuBLAS on wide layers.
        least_of_gemm: the least of them.
        over_peer: geometric mean of times faster than the fastest peer.
        least_over_peer: the least of them.
    """

    op: str
    precision: str
    layers: int
    of_gemm: float | None
    least_of_gemm: float | None
    over_peer: float | None
    least_over_peer: float | None


def digest(lines: Sequence[Line]) -> list[Digest]:
    """Three operations at two precisions, whether measured or not."""
    found = []
    for op in OPS:
        for precision in PRECISIONS:
            own = [line for line in lines if (line.op, line.precision) == (op, precision) and line.time is not None]
            gemm = [line.of_gemm for line in own if line.of_gemm is not None and line.wide]
            peer = [line.over_peer for line in own if line.over_peer is not None]
            found.append(
                Digest(
                    op,
                    precision,
                    len(own),
                    statistics.median(gemm) if gemm else None,
                    min(gemm, default=None),
                    math.exp(statistics.fmean(map(math.log, peer))) if peer else None,
                    min(peer, default=None),
                )
            )
    return found


def readme_table(rows: Sequence[Row]) -> str:
    """The README's table, which says "not measured" until a run is recorded."""
    head = ["", "precision", "layers", "% of cuBLAS", "least", "× fastest peer", "least", "measured on"]
    lines = [head, ["---"] * 2 + ["---:"] * 5 + ["---"]]
    machines = {(row["op"], row["precision"]): machine(row) for row in rows if is_time(row)}
    for one in digest(summarise(rows)):
        where = machines.get((one.op, one.precision), NOT_MEASURED)
        values = (one.of_gemm, one.least_of_gemm, one.over_peer, one.least_over_peer)
        units = (" %", " %", "×", "×")
        cells = [NOT_MEASURED if v is None else f"{v:.3g}{u}" for v, u in zip(values, units, strict=True)]
        lines.append([TITLES[one.op], one.precision, str(one.layers or NOT_MEASURED), *cells, where])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def machine(row: Row) -> str:
    """The GPU and the versions that a row was measured with."""
    clocks = f"{row['sm_clock_mhz']} MHz, " if row["sm_clock_mhz"] else ""
    return f"{row['gpu']}, {clocks}driver {row['driver'] or 'unknown'}, torch {row['torch']}, CUDA {row['cuda']}"


def _fastest(rows: Sequence[Row], kinds: tuple[str, ...], name: str | None = None) -> Row | None:
    timed = [
        row
        for row in rows
        if row["kind"] in kinds and row["metric"] == "time" and is_time(row) and name in (None, row["provider"])
    ]
    return min(timed, key=lambda row: float(row["value_50"]), default=None)


def _median(row: Row | None) -> float | None:
    return None if row is None or row["value_50"] == "" else float(row["value_50"])


def _is_wide(row: Row) -> bool:
    from fractions import Fraction

    from scc_reference import SlidingChannels

    C, K = int(row["in_channels"]), int(row["out_channels"])
    channels = SlidingChannels(C, K, int(row["groups"]), Fraction(row["overlap"]))
    return C >= MANY_CHANNELS and K // channels.cycle >= MANY_FILTERS
