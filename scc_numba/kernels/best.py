"""`best`: the rung and the tile for a layer, by what was measured where it was, else by the height of the rung."""

from __future__ import annotations

from collections.abc import Sequence

from scc_numba.device import backend
from scc_numba.kernels.rung import Layer, Op, Rung, Tile
from scc_numba.kernels.tile_table import tuned


def best_of(
    rungs: Sequence[Rung], layer: Layer, op: Op, *, target: str | None = None, allow_tf32: bool = False
) -> tuple[Rung, Tile]:
    """What `scc_numba.kernels.best` documents, of these rungs."""
    target = backend().target if target is None else target
    fit = [r for r in rungs if r.supports(layer, target) is None and (allow_tf32 or r.rounds_to is None)]
    if not fit:
        reasons = "; ".join(dict.fromkeys(reason for r in rungs if (reason := r.supports(layer, target))))
        raise TypeError(f"no rung of {op} computes this layer: {reasons}")
    named = {rung.name: rung for rung in fit}
    for row in tuned(layer, op, target):
        rung = named.get(row.rung)
        if rung is not None and row.tile in rung.tiles(layer):  # a rung may have changed since it was measured
            return rung, row.tile
    highest = fit[-1]
    return highest, highest.tiles(layer)[0]
