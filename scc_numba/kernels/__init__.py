"""The ladders: every kernel of the project, one a file, from the naive one up.

>>> from scc_numba.kernels import ladder
>>> [rung.name for rung in ladder("grad_input")]
['x0', 'x1', 'x2', 'x3', 'x4']
"""

from scc_numba.kernels.best import best_of
from scc_numba.kernels.forward import (
    f0_naive,
    f1_three_d_grid,
    f2_flat_pointers,
    f3_layer_constants,
    f4_channel_cyclic,
    f5_shared_tiles,
    f6_conflict_free,
    f7_async_copies,
    f8_hoisted,
    f9_tensor_cores,
)
from scc_numba.kernels.grad_input import x0_scatter, x1_gather, x2_channel_tiles, x3_async_tiles, x4_tensor_cores
from scc_numba.kernels.grad_weight import (
    w0_atomic,
    w1_block_reduction,
    w2_class_tiles,
    w3_split_k,
    w4_async_tiles,
    w5_tensor_cores,
)
from scc_numba.kernels.run_best import run_best
from scc_numba.kernels.rung import OPS, Launch, Layer, Op, Prediction, Rung, Tile, closest

__all__ = ["OPS", "Launch", "Layer", "Op", "Prediction", "Rung", "Tile", "best", "find_rung", "ladder", "run_best"]

LADDERS: dict[Op, tuple[Rung, ...]] = {
    "forward": (
        f0_naive.RUNG,
        f1_three_d_grid.RUNG,
        f2_flat_pointers.RUNG,
        f3_layer_constants.RUNG,
        f4_channel_cyclic.RUNG,
        f5_shared_tiles.RUNG,
        f6_conflict_free.RUNG,
        f7_async_copies.RUNG,
        f8_hoisted.RUNG,
        f9_tensor_cores.RUNG,
    ),
    "grad_input": (
        x0_scatter.RUNG,
        x1_gather.RUNG,
        x2_channel_tiles.RUNG,
        x3_async_tiles.RUNG,
        x4_tensor_cores.RUNG,
    ),
    "grad_weight": (
        w0_atomic.RUNG,
        w1_block_reduction.RUNG,
        w2_class_tiles.RUNG,
        w3_split_k.RUNG,
        w4_async_tiles.RUNG,
        w5_tensor_cores.RUNG,
    ),
}


def ladder(op: Op) -> tuple[Rung, ...]:
    """The rungs of an operation, from the bottom up.

    Args:
        op: "forward", "grad_input" or "grad_weight".

    Raises:
        ValueError: there is no such operation; the message suggests the nearest.
    """
    if op not in OPS:
        raise ValueError(f"op={op!r} is not an operation: {closest(str(op), OPS)}")
    return LADDERS[op]


def best(layer: Layer, op: Op, *, target: str | None = None, allow_tf32: bool = False) -> tuple[Rung, Tile]:
    """The rung and the tile to compute a layer with.

    Where the tile table has the layer, they are those that were measured to be the fastest, by `scc-numba bench`;
    elsewhere the highest rung that supports the layer, with the tile it would choose itself.

    Args:
        layer: of float32 or float64; every one has a rung.
        op: the operation.
        target: the GPU's generation, "sm_90"; that of the backend if None.
        allow_tf32: whether rungs may be chosen that round their operands to tf32, for the tensor cores.

    Raises:
        TypeError: the layer's dtype is one that no rung computes in.
        ValueError: there is no such operation.
    """
    return best_of(ladder(op), layer, op, target=target, allow_tf32=allow_tf32)


def find_rung(name: str) -> Rung:
    """The rung with a short name such as "f0", in any case.

    Raises:
        TypeError: the name is no string.
        ValueError: there is no such rung; the message suggests the nearest.
    """
    if not isinstance(name, str):
        raise TypeError(f"name={name!r} must be the name of a rung, such as 'f0'")
    rungs = {rung.name: rung for op in OPS for rung in LADDERS[op]}
    if name.lower() not in rungs:
        raise ValueError(f"rung={name!r} is not a rung: {closest(name, list(rungs))}")
    return rungs[name.lower()]
