"""Which tile each rung is timed with: its first, and for the rungs in front of a ladder the fastest that it offers.

Every tile of every rung would have to be compiled. A rung that is far behind with the tile it chooses itself does
not come first with another, so only those near the fastest are searched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from scc_numba.kernels import Layer, Rung, Tile

NEAR = 1.25  # times the fastest rung's time


def choose_tiles(
    rungs: Sequence[Rung], layer: Layer, time: Callable[[Rung, Tile], float | None]
) -> Mapping[str, Tile]:
    """The tile for each rung, by its name.

    Args:
        rungs: of one operation and precision, those that support the layer.
        layer: the layer.
        time: seconds of a rung with a tile; None where it failed.

    Returns:
        For a rung whose first tile failed, the fastest of the others; the first where all did.
    """
    offered = {rung.name: rung.tiles(layer) for rung in rungs}
    first = {rung.name: time(rung, offered[rung.name][0]) for rung in rungs}
    fastest = min((seconds for seconds in first.values() if seconds is not None), default=None)
    chosen = {}
    for rung in rungs:
        seconds = first[rung.name]
        times = {} if seconds is None else {offered[rung.name][0]: seconds}
        if seconds is None or fastest is None or seconds <= NEAR * fastest:
            for tile in offered[rung.name][1:]:
                other = time(rung, tile)
                if other is not None:
                    times[tile] = other
        chosen[rung.name] = min(times, key=lambda tile: times[tile], default=offered[rung.name][0])
    return chosen
