"""The tiled rungs of the input gradient on layers of real widths, at every tile.

The layers that properties are tried on are too narrow for tiles that need no mask.
"""

import numpy as np
import pytest
from scc_reference import SlidingChannels, scc_grad_input

from scc_numba.device import backend
from scc_numba.kernels import Layer, find_rung
from scc_numba.kernels.windows import has_no_masks
from scc_numba.measure.line_view import profile_rung

TILED = ("x2", "x3", "x4")
DEPTH = 16
LAYERS = {
    "h = 128": (128, 64, 1, 0.0, 1, 132),
    "h = 64": (128, 128, 1, 0.5, 1, 132),
    "h = 32": (64, 128, 1, 0.5, 2, 66),
    "h = 16, K % D": (64, 70, 2, 0.5, 3, 49),
    "h = 2, M = 2": (256, 256, 8, 0.33, 1, 49),
    "h = 1, K < D": (96, 40, 3, 0.5, 1, 33),
    "one pixel": (256, 256, 2, 0.5, 1, 1),
}
pytestmark = pytest.mark.skipif(backend().name == "simulator", reason="minutes in the simulator")


def layer_of(C, K, groups, overlap, batch, pixels):
    return Layer(SlidingChannels(C, K, groups, overlap), batch, pixels, np.dtype(np.float32))


@pytest.mark.parametrize("rung", TILED)
@pytest.mark.parametrize("sizes", LAYERS.values(), ids=LAYERS)
def test_every_tile_is_exact_on_small_integers(rung, sizes):
    rung, layer = find_rung(rung), layer_of(*sizes)
    draw = np.random.default_rng(0)
    grad_output, weight = (draw.integers(-3, 4, s).astype("f4") for s in (layer.output_shape, layer.weight_shape))
    expected = scc_grad_input(grad_output, weight, channels=layer.channels)
    for tile in rung.tiles(layer):
        result = rung.run(grad_output, weight, channels=layer.channels, tile=tile)
        np.testing.assert_array_equal(result, expected, err_msg=f"tile {tile}")


def test_the_layers_need_masks_and_do_without():
    found = {has_no_masks(layer_of(*sizes).channels, tile, DEPTH) for sizes in LAYERS.values() for tile in (16, 64)}
    assert found == {True, False}
    assert has_no_masks(layer_of(*LAYERS["h = 128"]).channels, 128, DEPTH)


@pytest.mark.skipif(backend().name != "emulator", reason="counts come from the emulator")
@pytest.mark.parametrize("rung", ["x3", "x4"])
@pytest.mark.parametrize("sizes", LAYERS.values(), ids=LAYERS)
def test_no_bank_conflicts(rung, sizes):
    rung, layer = find_rung(rung), layer_of(*sizes)
    for tile in rung.tiles(layer):
        report = profile_rung(rung, layer, tile)
        assert report.shared_load.conflicts == report.shared_store.conflicts == 0, tile
