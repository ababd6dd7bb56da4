"""The sets of layers: what they promise, and the awkward ones among them."""

import pytest

from scc_numba.measure.bench.layers import BATCH, GROUPS, OVERLAPS, SETS, SHAPES, STANDARD, layer_set


def test_the_standard_set_is_small_and_varied():
    assert len(STANDARD) == len({layer.name for layer in STANDARD}) == 24
    assert {layer.network for layer in STANDARD} == set(SHAPES)
    assert {layer.dataset for layer in STANDARD} == {"CIFAR", "ImageNet"}
    assert {layer.channels.groups for layer in STANDARD} == set(GROUPS)
    assert {str(float(layer.channels.overlap)) for layer in STANDARD} == set(OVERLAPS)
    assert all(layer.batch == BATCH[layer.dataset] for layer in STANDARD)
    classes = [layer.layer.class_size for layer in STANDARD]
    assert min(classes) <= 2
    wide = [layer for layer in STANDARD if layer.channels.in_channels >= 256 and layer.layer.class_size >= 32]
    assert len(wide) >= 6
    assert {4, 49} <= {layer.layer.pixels for layer in STANDARD}
    assert set(STANDARD) <= set(layer_set("full"))


def test_the_full_grid_has_every_combination():
    full = layer_set("full")
    shapes = sum(map(len, SHAPES.values()))
    assert len(full) == len({layer.name for layer in full}) == shapes * 2 * len(GROUPS) * len(OVERLAPS)
    assert sum(len(layer_set(network)) for network in SHAPES) == len(full)


def test_names_tell_all():
    assert STANDARD[0].name == "MobileNet-ImageNet-N32-128x128-56-g2-o0.5"


def test_an_unknown_set_suggests_the_nearest():
    with pytest.raises(ValueError, match="layers='resnet5' is not a set of layers: did you mean 'resnet50'"):
        layer_set("resnet5")
    assert layer_set("One") == SETS["one"]
