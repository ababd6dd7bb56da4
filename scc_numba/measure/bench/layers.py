"""The layers that are timed: the pointwise convolutions of four networks, on images as CIFAR's and ImageNet's."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from scc_reference import SlidingChannels

from scc_numba.kernels import Layer
from scc_numba.kernels.rung import closest

BATCH = {"CIFAR": 128, "ImageNet": 32}
GROUPS = (2, 4, 8)
OVERLAPS = ("0.25", "0.33", "0.5", "0.75")

# (C, K, height = width on ImageNet, on CIFAR). Where a network has a 3×3 convolution, DSXplore puts a depthwise one
# and SCC; where it has a pointwise one, SCC. The first convolution, on 3 channels, stays.
SHAPES: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "MobileNet": (
        (32, 64, 112, 32),
        (64, 128, 56, 16),
        (128, 128, 56, 16),
        (128, 256, 28, 8),
        (256, 256, 28, 8),
        (256, 512, 14, 4),
        (512, 512, 14, 4),
        (512, 1024, 7, 2),
        (1024, 1024, 7, 2),
    ),
    "VGG16": (
        (64, 64, 224, 32),
        (64, 128, 112, 16),
        (128, 128, 112, 16),
        (128, 256, 56, 8),
        (256, 256, 56, 8),
        (256, 512, 28, 4),
        (512, 512, 28, 4),
        (512, 512, 14, 2),
    ),
    "ResNet18": (
        (64, 64, 56, 32),
        (64, 128, 28, 16),
        (128, 128, 28, 16),
        (128, 256, 14, 8),
        (256, 256, 14, 8),
        (256, 512, 7, 4),
        (512, 512, 7, 4),
    ),
    "ResNet50": (
        (64, 64, 56, 32),
        (64, 256, 56, 32),
        (256, 64, 56, 32),
        (128, 128, 28, 16),
        (128, 512, 28, 16),
        (512, 128, 28, 16),
        (256, 256, 14, 8),
        (256, 1024, 14, 8),
        (1024, 256, 14, 8),
        (512, 512, 7, 4),
        (512, 2048, 7, 4),
        (2048, 512, 7, 4),
    ),
}


@dataclass(frozen=True)
class BenchLayer:
    """A layer of a network.

    Attributes:
        network: MobileNet, VGG16, ResNet18 or ResNet50.
        dataset: CIFAR or ImageNet.
        channels: the windows.
        side: height and width of its images.
        batch: N.
    """

    network: str
    dataset: str
    channels: SlidingChannels
    side: int
    batch: int

    @property
    def layer(self) -> Layer:
        """As kernels know it, in float32."""
        return Layer(self.channels, self.batch, self.side**2, np.dtype(np.float32))

    @property
    def name(self) -> str:
        """All of it in one word: "ResNet18-ImageNet-N32-256x256-14-g2-o0.5"."""
        c = self.channels
        sizes = f"N{self.batch}-{c.in_channels}x{c.out_channels}-{self.side}"
        return f"{self.network}-{self.dataset}-{sizes}-g{c.groups}-o{float(c.overlap):g}"


def _layer(network: str, dataset: str, shape: int, groups: int, overlap: str) -> BenchLayer:
    C, K, imagenet, cifar = SHAPES[network][shape]
    side = imagenet if dataset == "ImageNet" else cifar
    return BenchLayer(network, dataset, SlidingChannels(C, K, groups, Fraction(overlap)), side, BATCH[dataset])


def _grid(network: str) -> tuple[BenchLayer, ...]:
    return tuple(
        _layer(network, dataset, shape, groups, overlap)
        for dataset in BATCH
        for shape in range(len(SHAPES[network]))
        for groups in GROUPS
        for overlap in OVERLAPS
    )


# Wide and narrow layers, large and tiny images (P = 4, 49), classes of many filters, of one or two (overlap 0.33).
STANDARD = tuple(
    _layer(network, dataset, shape, groups, overlap)
    for network, dataset, shape, groups, overlap in (
        ("MobileNet", "ImageNet", 2, 2, "0.5"),
        ("MobileNet", "ImageNet", 4, 4, "0.25"),
        ("MobileNet", "ImageNet", 6, 2, "0.5"),
        ("MobileNet", "ImageNet", 8, 8, "0.33"),
        ("MobileNet", "CIFAR", 1, 4, "0.5"),
        ("MobileNet", "CIFAR", 4, 2, "0.75"),
        ("MobileNet", "CIFAR", 8, 8, "0.5"),
        ("VGG16", "ImageNet", 0, 2, "0.5"),
        ("VGG16", "ImageNet", 4, 4, "0.5"),
        ("VGG16", "ImageNet", 6, 8, "0.75"),
        ("VGG16", "CIFAR", 2, 2, "0.33"),
        ("VGG16", "CIFAR", 4, 4, "0.5"),
        ("VGG16", "CIFAR", 6, 8, "0.25"),
        ("ResNet18", "ImageNet", 0, 8, "0.5"),
        ("ResNet18", "ImageNet", 4, 2, "0.5"),
        ("ResNet18", "ImageNet", 6, 4, "0.33"),
        ("ResNet18", "CIFAR", 0, 2, "0.25"),
        ("ResNet18", "CIFAR", 4, 8, "0.33"),
        ("ResNet50", "ImageNet", 1, 2, "0.5"),
        ("ResNet50", "ImageNet", 8, 4, "0.75"),
        ("ResNet50", "ImageNet", 10, 2, "0.25"),
        ("ResNet50", "CIFAR", 2, 4, "0.5"),
        ("ResNet50", "CIFAR", 6, 2, "0.5"),
        ("ResNet50", "CIFAR", 11, 4, "0.5"),
    )
)
SETS: dict[str, tuple[BenchLayer, ...]] = {
    "standard": STANDARD,
    "full": tuple(layer for network in SHAPES for layer in _grid(network)),
    **{network.lower(): _grid(network) for network in SHAPES},
    "one": STANDARD[14:15],
}


def layer_set(name: str) -> tuple[BenchLayer, ...]:
    """The layers of a set: standard, full, one of the networks, or one (a single layer, to try things).

    Raises:
        ValueError: there is no such set; the message suggests the nearest.
    """
    if name.lower() not in SETS:
        raise ValueError(f"layers={name!r} is not a set of layers: {closest(name, list(SETS))}")
    return SETS[name.lower()]
