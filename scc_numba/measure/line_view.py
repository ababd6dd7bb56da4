"""Where in its source a kernel spends what: one launch under the emulator, with its counts by line."""

from __future__ import annotations

from typing import Any

import numpy as np

from scc_numba.emulator import Report
from scc_numba.emulator import launch as emulate
from scc_numba.kernels import Launch, Layer, Rung, Tile
from scc_numba.kernels.run import check_tile

SEED = 0


def profile_rung(rung: Rung, layer: Layer, tile: Tile | None = None, target: str = "sm_90") -> Report:
    """Counts of a rung on a layer with Gaussian data; the launch that zeroes its result is not part of them.

    Raises:
        ValueError: the layer is empty, or the tile is not one that the rung offers.
        TypeError: the rung does not support the layer.
    """
    if layer.is_empty:
        raise ValueError(f"the layer is empty ({layer}): there is nothing to launch")
    reason = rung.supports(layer, target)
    if reason is not None:
        raise TypeError(reason)
    check_tile(rung, layer, tile)
    launch = rung.build(layer, tile)
    return profile_launch(launch, example_arrays(rung, layer, zeros=launch.zeroed is not None), target)


def example_arrays(rung: Rung, layer: Layer, *, zeros: bool) -> list[np.ndarray[Any, Any]]:
    """Gaussian operands in the shapes a kernel takes, and its result: zeros, or NaN for one that it overwrites."""
    draw = np.random.default_rng(SEED)
    shapes = {
        "forward": (layer.input_shape, layer.weight_shape, layer.output_shape[1:2]),
        "grad_input": (layer.output_shape, layer.weight_shape),
        "grad_weight": (layer.output_shape, layer.input_shape),
    }[rung.op]
    operands = [draw.standard_normal(shape).astype(layer.dtype) for shape in shapes]
    return [*operands, np.full(layer.result_shape(rung.op), 0 if zeros else np.nan, layer.dtype)]


def profile_launch(launch: Launch, arrays: list[Any], target: str = "sm_90") -> Report:
    """Counts and findings of a launch on these arrays, which it updates."""
    workspace = [np.full(launch.workspace, np.nan, np.float32)] if launch.workspace else []
    arguments = launch.kernel.seen((*arrays, *launch.tables, *workspace, *launch.scalars))
    return emulate(
        launch.kernel.function,
        launch.grid,
        launch.block,
        arguments,
        shared_bytes=launch.shared_bytes,
        target=target,
        signature=launch.kernel.signature(arguments),
        options=launch.kernel.options,
    )
