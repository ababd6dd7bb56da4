"""Hypothesis strategies: layers worth trying, small ones first, with the awkward ones as likely as the round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hypothesis import strategies as st
from scc_reference import SlidingChannels

from scc_numba.device.number import number_type
from scc_numba.kernels import Layer

# Around the widths of warps and blocks, and the odd sizes of real images (7×7 = 49).
PIXELS = (1, 2, 3, 4, 5, 7, 8, 9, 16, 31, 32, 33, 49, 64, 65, 127, 128, 129, 257)
MOST_OUTPUTS = 1500  # N·K·P of a drawn layer: many small layers find more than few large ones
MOST_TILED_OUTPUTS = 12_000  # of one whose sizes fill tiles, which a small one never does


@dataclass(frozen=True)
class Case:
    """A drawn layer, the shape of its images, and the seed of its data.

    Attributes:
        layer: channels, batch, pixels, dtype.
        spatial: the dims of an image; their product is `layer.pixels`.
        bias: whether the forward pass gets one.
        tile: which of the rung's tiles to use: its index, modulo how many there are.
        seed: of the random data.
    """

    layer: Layer
    spatial: tuple[int, ...]
    bias: bool
    tile: int
    seed: int

    def __str__(self) -> str:
        return f"{self.layer}, spatial {self.spatial}, {'with' if self.bias else 'no'} bias, seed {self.seed}"


@st.composite
def sliding_channels(draw: st.DrawFn, max_groups: int = 5, max_group_width: int = 9) -> SlidingChannels:
    """Windows: groups, G and S are drawn, C follows. K runs from 1 to past two cycles."""
    groups = draw(st.integers(1, max_groups))
    group_width = draw(st.integers(1, max_group_width))
    step = draw(st.integers(1, group_width))
    in_channels = groups * group_width
    cycle = in_channels // math.gcd(step, in_channels)
    out_channels = draw(
        st.one_of(st.integers(1, 12), st.integers(1, min(2 * cycle + 1, 40)), st.just(min(cycle, 40)))
    )
    return SlidingChannels.from_step(in_channels, out_channels, groups, step=step)


@st.composite
def tiled_channels(draw: st.DrawFn) -> SlidingChannels:
    """Windows that fill tiles: G and S multiples of 8 or 16, classes of a whole tile or next to it.

    Fast paths that a kernel takes only there (no wrap inside a tile, no tail, one class) are otherwise never tried.
    """
    groups = draw(st.integers(1, 3))
    group_width = draw(st.sampled_from((16, 32, 48, 16, 24, 20)))
    step = draw(st.sampled_from([s for s in (16, 16, 32, 8, group_width // 2, group_width, 5) if s <= group_width]))
    in_channels = groups * group_width
    cycle = in_channels // math.gcd(step, in_channels)
    filters = draw(st.sampled_from((16, 16, 32, 64, 1, 2, 17)))  # of a class
    more = draw(st.sampled_from((0, 0, 0, 0, 1)))
    return SlidingChannels.from_step(in_channels, min(cycle * filters + more, 128), groups, step=step)


@st.composite
def images(draw: st.DrawFn, most_pixels: int) -> tuple[int, ...]:
    """The dims of an image: up to three, with at most `most_pixels` pixels, and now and then with none."""
    pixels = draw(st.sampled_from([p for p in PIXELS if p <= most_pixels]))
    shapes = [(pixels,), (1, pixels), (pixels, 1, 1)]
    if pixels == 1:
        shapes.append(())
    shapes += [(h, pixels // h) for h in (2, 3, 7, 8) if pixels % h == 0]
    shapes.append((0, pixels))
    # Empty images are one shape in many: they must be right, but there is little to learn from the second.
    weights = [3] * (len(shapes) - 1) + [1]
    return draw(st.sampled_from([s for s, w in zip(shapes, weights, strict=True) for _ in range(w)]))


@st.composite
def cases(draw: st.DrawFn, dtypes: Sequence[str] = ("float32", "float64")) -> Case:
    """Cases of at most `MOST_OUTPUTS` outputs: groups and G first, then K, the batch, the image.

    One in four has sizes that fill tiles, and up to `MOST_TILED_OUTPUTS` outputs.
    """
    tiled = draw(st.integers(0, 3)) == 3
    channels = draw(tiled_channels() if tiled else sliding_channels())
    most = MOST_TILED_OUTPUTS if tiled else MOST_OUTPUTS
    batch = draw(st.sampled_from((1, 1, 1, 2, 2, 3, 5, 0)))
    largest = max(channels.in_channels, channels.out_channels) * max(batch, 1)
    spatial = draw(images(most_pixels=max(1, most // largest)))
    layer = Layer(channels, batch, math.prod(spatial), number_type(draw(st.sampled_from(list(dtypes)))))
    return Case(
        layer,
        spatial,
        bias=draw(st.booleans()),
        tile=draw(st.integers(0, 11)),
        seed=draw(st.integers(0, 2**32 - 1)),
    )
