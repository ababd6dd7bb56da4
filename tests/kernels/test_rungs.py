"""Every rung holds every property on drawn layers: SCC_NUMBA_LAYERS of them, 200 unless set.

An eighth of that where each layer needs a kernel of its own, and of rungs that compute in tiles.
"""

import os

import numpy as np
import pytest
import scc_reference
from scc_reference import SlidingChannels

from scc_numba.check import check
from scc_numba.device import LaunchError, backend
from scc_numba.kernels import OPS, Layer, find_rung, ladder

LAYERS = int(os.environ.get("SCC_NUMBA_LAYERS", "200"))
FEWER = 8  # where a layer takes seconds: it needs a kernel of its own, or fills whole tiles
if backend().name == "simulator":
    LAYERS = min(LAYERS, 30)
RUNGS = [rung for op in OPS for rung in ladder(op)]
TILED = [rung for rung in RUNGS if len(rung.tile_names) > 2]


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_holds_every_property(rung):
    costly = rung.compiled_per_layer or rung in TILED
    layers = max(1, LAYERS // FEWER) if costly else LAYERS
    result = check(rung, rung.op, max_examples=layers)
    assert result.passed, str(result)
    assert result.examples >= 0.9 * layers  # Hypothesis may run out of small cases, but hardly


@pytest.mark.parametrize("rung", TILED, ids=lambda rung: rung.name)
def test_every_tile_is_right(rung):
    if backend().name == "simulator":
        pytest.skip("minutes in the simulator")
    channels = SlidingChannels(48, 34, groups=2, overlap=1 / 3)
    layer = Layer(channels, 2, 36, np.dtype(np.float32))  # 36 pixels: copies are wide where they can be
    draw = np.random.default_rng(0)
    names = {
        "forward": ("x", "weight"),
        "grad_input": ("grad_output", "weight"),
        "grad_weight": ("grad_output", "x"),
    }
    shapes = {"x": layer.input_shape, "weight": layer.weight_shape, "grad_output": layer.output_shape}
    operands = [draw.integers(-3, 4, shapes[name]).astype(np.float32) for name in names[rung.op]]
    expected = getattr(scc_reference, f"scc_{rung.op}")(*operands, channels=channels)
    for tile in rung.tiles(layer):
        result = rung.run(*operands, channels=channels, tile=tile)
        np.testing.assert_array_equal(result, expected, err_msg=f"tile {tile}")


@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
@pytest.mark.parametrize(
    ("C", "K", "groups", "batch"),
    [(1, 66_000, 1, 1), (66_000, 1, 66_000, 1), (1, 1, 1, 66_000)],
    ids=["more filters than blocks in y", "more channels", "more images than blocks in z"],
)
def test_sizes_past_the_grid_limits(rung, C, K, groups, batch):
    if backend().name == "simulator":
        pytest.skip("minutes in the simulator")
    channels = SlidingChannels(C, K, groups, 0)
    draw = np.random.default_rng(0)
    shapes = {"x": (batch, C, 1), "weight": (K, channels.group_width), "grad_output": (batch, K, 1)}
    names = {
        "forward": ("x", "weight"),
        "grad_input": ("grad_output", "weight"),
        "grad_weight": ("grad_output", "x"),
    }
    operands = [draw.integers(-3, 4, shapes[name]).astype(rung.dtypes[0]) for name in names[rung.op]]
    expected = getattr(scc_reference, f"scc_{rung.op}")(*operands, channels=channels)
    np.testing.assert_array_equal(rung.run(*operands, channels=channels), expected)


def test_more_blocks_than_a_row_holds_is_a_clear_error(monkeypatch):
    from dataclasses import replace

    launch = find_rung("f0").build(_layer(), None)
    too_long = replace(launch, grid=(2**31, 1, 1))
    with pytest.raises(LaunchError, match="x=2147483648 is outside 1 to 2147483647"):
        too_long(*(np.zeros(1, np.float32) for _ in range(4)))


def _layer():
    return Layer(SlidingChannels(4, 4, 2, 0.5), 1, 4, np.dtype(np.float32))
