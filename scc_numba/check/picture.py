"""A plain-text picture of a window: the channels a filter should read, and those a callable really reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from scc_numba.check.trial import Array, Trial

MOST_CHANNELS = 40  # that fit on a line


def draw_window(trial: Trial, filter_: int | None) -> str:
    """The window of a filter, as the definition has it and as the callable reads it.

    What it reads is found by asking: operands are chosen so that each result *is* the offset j at which a channel
    was read. Without a filter, the first one that reads wrongly is drawn, or filter 0 if all read rightly.

    Args:
        trial: the callable and the layer it failed on.
        filter_: k, or None.
    """
    channels = trial.case.layer.channels
    expected = _expected(trial)
    seen, problem = _seen(trial)
    if filter_ is None:
        differing = [] if seen is None else np.flatnonzero((seen != expected).any(axis=1)).tolist()
        filter_ = differing[0] if differing else 0
    start, G, C = int(channels.starts[filter_]), channels.group_width, channels.in_channels
    lines = [f"filter k={filter_}: start (k·S) mod C = ({filter_}·{channels.step}) mod {C} = {start}, G = {G}"]
    if start + G > C:
        lines[0] += ", the window wraps"
    shown = range(min(C, MOST_CHANNELS))
    width = max(len(str(C - 1)), len(str(G - 1)), 1) + 1
    row = {"channel c": [str(c) for c in shown], "should read j": _offsets(expected[filter_])}
    if seen is not None:
        row["reads j"] = _offsets(seen[filter_])
    else:
        lines.append(f"what it reads cannot be drawn: {problem}")
    for name, cells in row.items():
        lines.append(f"{name:>14} " + "".join(f"{cell:>{width}}" for cell in cells[: len(shown)]))
    if seen is not None:
        marks = ["^" if seen[filter_, c] != expected[filter_, c] else "" for c in shown]
        if any(marks):
            lines.append(" " * 15 + "".join(f"{mark:>{width}}" for mark in marks).rstrip())
        if any(cell in ".?" for cell in row["reads j"]):
            lines.append(" " * 15 + "(. not read, ? met something that is no weight of this filter)")
        if np.array_equal(seen, expected):
            lines.append("every window is read as it should be, so look elsewhere: tails, sums, initial values")
    if len(shown) < C:
        lines.append(f"({C - len(shown)} more channels not shown)")
    return "\n".join(lines)


def _offsets(row: Array) -> list[str]:
    # -1 stands for a channel that is not read, -2 for one read as no window could be
    return ["." if j == -1 else "?" if j == -2 else str(j) for j in row]


def _expected(trial: Trial) -> Array:
    channels = trial.case.layer.channels
    table = np.full((channels.out_channels, channels.in_channels), -1)
    offsets = np.broadcast_to(np.arange(channels.group_width), channels.channel_index.shape)
    np.put_along_axis(table, channels.channel_index, offsets, axis=1)
    return table


def _seen(trial: Trial) -> tuple[Array | None, str]:
    """The (K, C) table of offsets that the callable reads, -1 where it does not read; or None and the reason."""
    channels, dtype = trial.case.layer.channels, trial.case.layer.dtype
    K, C, G = channels.out_channels, channels.in_channels, channels.group_width
    ask: Callable[..., Any] = trial.run
    weight = np.broadcast_to(np.arange(1, G + 1), (K, G)).astype(dtype)
    try:
        if trial.op == "forward":  # image c has channel c alone, so its result is the weight that met it
            y = ask(np.eye(C, dtype=dtype)[:, :, None], weight, channels=channels)
            return _rounded(y[:, :, 0].T, G), ""
        if trial.op == "grad_input":  # image k has filter k alone
            grad = ask(np.eye(K, dtype=dtype)[:, :, None], weight, channels=channels)
            return _rounded(grad[:, :, 0], G), ""
        number = np.arange(1, C + 1).astype(dtype).reshape(1, C, 1)  # channel c holds c + 1
        grad = ask(np.ones((1, K, 1), dtype), number, channels=channels)
        read = np.rint(np.clip(np.nan_to_num(grad.astype(float), nan=0), 0, C + 1)).astype(int) - 1
        table = np.full((K, C), -1)
        for k, j in np.ndindex(K, G):
            if 0 <= read[k, j] < C:
                table[k, read[k, j]] = j
        return table, ""
    except Exception as error:
        return None, f"asked with one pixel, it raises {type(error).__name__}"


def _rounded(weights_met: Array, group_width: int) -> Array:
    met = np.nan_to_num(weights_met.astype(float), nan=-1)
    offsets = np.rint(np.clip(met, -1, group_width + 1)).astype(int) - 1
    return np.where((offsets < -1) | (offsets >= group_width), -2, offsets)
