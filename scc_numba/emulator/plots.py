"""Pictures of a report: which lane touches which sector or bank, and where the instructions go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .report import Report

_LANES = 32


def plot_access(report: Report, line: int, warp: int = 0, access: int = 0, ax: Any = None) -> Any:
    """Draw one warp's access at a line: lanes against 32-byte sectors (global) or banks (shared).

    Shown is the first time that the instruction ran: in a loop, the first iteration.

    Args:
        report: what `launch` returned.
        line: Python line of the access.
        warp: number of the warp in the grid, counted through the first batch of blocks.
        access: which memory instruction of the line, if it has several.
        ax: matplotlib axes to draw on; new ones by default.

    Returns:
        The axes.

    Raises:
        ValueError: the line accesses no global or shared memory, or there is no such warp or access.
    """
    import matplotlib.pyplot as plt
    from matplotlib.ticker import MaxNLocator

    samples = report.samples(line)
    if not samples:
        known = sorted({x.line for x in report.lines if report.samples(x.line)})
        raise ValueError(f"line={line} accesses no global or shared memory; lines that do: {known}")
    if not 0 <= access < len(samples):
        raise ValueError(f"access={access}: line {line} has {len(samples)} memory instruction(s)")
    trace = samples[access]
    if not 0 <= warp < len(trace.addresses):
        raise ValueError(f"warp={warp} is not among the {len(trace.addresses)} warps of the first batch")
    addresses, active = trace.addresses[warp], trace.active[warp]
    lanes = np.flatnonzero(active)
    offsets = addresses[lanes]
    if ax is None:
        _, ax = plt.subplots(figsize=(7.2, 3.6), layout="constrained")
    shared = trace.space == "shared"
    if shared:
        cells = offsets // 4 % 32
        rows = offsets // 128
        ax.set_xlim(-0.5, 31.5)
        ax.set_xlabel("bank")
        distinct: dict[int, set[int]] = {}
        for c, r in zip(cells.tolist(), rows.tolist(), strict=True):
            distinct.setdefault(c, set()).add(r)
        worst = max((len(v) for v in distinct.values()), default=0)
        note = f"{worst} wavefront{'s' if worst != 1 else ''}" if trace.size <= 4 else f"{trace.size}-byte accesses"
    else:
        sectors = np.unique(offsets // 32)
        place = {int(s): k for k, s in enumerate(sectors)}
        cells = np.array([place[int(s)] for s in offsets // 32]) + (offsets % 32) / 32 - 0.5 + trace.size / 64
        for k in range(len(sectors) + 1):
            ax.axvline(k - 0.5, color="0.8", lw=0.8, zorder=0)
        ax.set_xlim(-0.5, max(len(sectors), 1) - 0.5)
        ax.set_xlabel("32-byte sector, in address order")
        note = f"{len(sectors)} sector{'s' if len(sectors) != 1 else ''}"
    ax.scatter(cells, lanes, s=16, marker="s", color="#00527a", zorder=2)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylim(_LANES - 0.5, -0.5)
    ax.set_ylabel("lane")
    what = "loads" if trace.mode == 0 else "stores" if trace.mode == 1 else "atomics"
    title = f"{report.kernel}, line {line}, warp {warp}: {trace.space} {what}, {len(lanes)} lanes, {note}"
    ax.set_title(title, fontsize=10)
    return ax


def plot_lines(report: Report, count: str = "instructions", top: int = 12, ax: Any = None) -> Any:
    """A bar a source line, longest first.

    Args:
        report: what `launch` returned.
        count: "instructions", "flops", "global_sectors" or "shared_wavefronts".
        top: how many lines.
        ax: matplotlib axes; new ones by default.
    """
    import matplotlib.pyplot as plt

    values = {
        "instructions": lambda x: x.instructions,
        "flops": lambda x: x.flops,
        "global_sectors": lambda x: x.global_load.sectors + x.global_store.sectors,
        "shared_wavefronts": lambda x: x.shared_load.wavefronts + x.shared_store.wavefronts,
    }
    if count not in values:
        raise ValueError(f"count={count!r} must be one of {', '.join(values)}")
    value = values[count]
    lines = sorted((x for x in report.lines if value(x)), key=value, reverse=True)[:top]
    if ax is None:
        _, ax = plt.subplots(figsize=(7.2, 0.32 * max(len(lines), 2) + 0.8), layout="constrained")
    places = range(len(lines))
    ax.barh(places, [value(x) for x in lines], color="#00527a")
    ax.set_yticks(places, [f"{x.line}: {x.source.strip()[:52]}" for x in lines], family="monospace", fontsize=8)
    ax.invert_yaxis()
    ax.set_xlabel(count.replace("_", " "))
    ax.set_title(report.kernel, fontsize=10)
    return ax
