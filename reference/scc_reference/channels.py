"""Which channels each filter reads: the geometry of a sliding-channel convolution."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

IndexArray = NDArray[np.int64]

# An overlap is a share someone typed, such as 0.33. Its decimal, not its binary float, is what was meant.
LARGEST_DENOMINATOR = 10**6


@dataclass(frozen=True, repr=False)
class SlidingChannels:
    """K filters over C channels, each reading a window of G channels that slides by S and wraps around.

    Args:
        in_channels: C ≥ 1.
        out_channels: K ≥ 1, the number of filters.
        groups: how many windows would tile the channels; divides C. The paper's cg.
        overlap: nominal share of its window that a filter has in common with the next, 0 ≤ overlap < 1. The
            paper's co. A float is read as the decimal it prints as, so 0.29 of 100 channels is 29; a
            `fractions.Fraction` is taken exactly. Kept as a Fraction.

    Raises:
        TypeError: an argument is not a number of the right kind.
        ValueError: an argument breaks its rule.

    Example:
        >>> SlidingChannels(128, 128, groups=4, overlap=0.33)
        SlidingChannels(in_channels=128, out_channels=128, groups=4, overlap=33/100)
    """

    in_channels: int
    out_channels: int
    groups: int
    overlap: Fraction | float

    def __post_init__(self) -> None:
        for name in ("in_channels", "out_channels", "groups"):
            object.__setattr__(self, name, _positive_integer(name, getattr(self, name)))
        if self.in_channels % self.groups:
            raise ValueError(
                f"groups={self.groups} does not divide in_channels={self.in_channels}; "
                f"its divisors are {_divisors(self.in_channels)}"
            )
        object.__setattr__(self, "overlap", _exact_overlap(self.overlap))

    @classmethod
    def from_step(cls, in_channels: int, out_channels: int, groups: int, *, step: int) -> SlidingChannels:
        """The same windows, given the step S between them (1 ≤ S ≤ G = in_channels / groups)."""
        whole = cls(in_channels, out_channels, groups, overlap=0)
        step = _positive_integer("step", step)
        if step > whole.group_width:
            raise ValueError(
                f"step={step} is wider than a window of group_width={whole.group_width} "
                f"(in_channels={in_channels} / groups={groups}): 1 ≤ step ≤ group_width"
            )
        return cls(in_channels, out_channels, groups, Fraction(whole.group_width - step, whole.group_width))

    def __repr__(self) -> str:
        return (
            f"SlidingChannels(in_channels={self.in_channels}, out_channels={self.out_channels}, "
            f"groups={self.groups}, overlap={self.overlap})"
        )

    @property
    def group_width(self) -> int:
        """G, the channels a filter reads."""
        return self.in_channels // self.groups

    @property
    def step(self) -> int:
        """S = G − ⌊overlap·G⌋, the channels from one window to the next."""
        return self.group_width - math.floor(self.overlap * self.group_width)

    @property
    def cycle(self) -> int:
        """D = C / gcd(S, C): filters k and k + D read the same window."""
        return self.in_channels // math.gcd(self.step, self.in_channels)

    @cached_property
    def starts(self) -> IndexArray:
        """First channel of each filter, (k·S) mod C. Shape (K,)."""
        return _read_only(np.arange(self.out_channels, dtype=np.int64) * self.step % self.in_channels)

    @cached_property
    def channel_index(self) -> IndexArray:
        """The channel that filter k reads at offset j, (start(k) + j) mod C. Shape (K, G)."""
        offsets = np.arange(self.group_width, dtype=np.int64)
        return _read_only((self.starts[:, None] + offsets) % self.in_channels)

    def covering(self, channel: int) -> tuple[IndexArray, IndexArray]:
        """The filters that read one channel, and the offset at which each does.

        Args:
            channel: c, with 0 ≤ c < C.

        Returns:
            Two arrays of equal length: filters k, ascending, and offsets j with (start(k) + j) mod C = c.
        """
        c = operator.index(channel)
        if not 0 <= c < self.in_channels:
            raise ValueError(f"channel={c} is not in 0 ≤ channel < in_channels={self.in_channels}")
        offsets = (c - self.starts) % self.in_channels
        filters = np.flatnonzero(offsets < self.group_width)
        return filters, offsets[filters]

    def classes(self) -> tuple[IndexArray, ...]:
        """Filters grouped by the window they share: min(D, K) arrays, the d-th of d, d + D, d + 2D and so on."""
        return tuple(
            np.arange(d, self.out_channels, self.cycle, dtype=np.int64)
            for d in range(min(self.cycle, self.out_channels))
        )

    def parameters(self, bias: bool = True) -> int:
        """How many numbers the layer learns: K·G weights, and K biases unless `bias` is False."""
        return self.out_channels * (self.group_width + bool(bias))

    def flops(self, batch: int, pixels: int) -> int:
        """Floating-point operations of one forward pass, a multiply-add counted as two, the bias not at all.

        Either gradient costs the same.
        """
        return 2 * batch * pixels * self.out_channels * self.group_width

    def dense_mask(self) -> NDArray[np.bool_]:
        """Where a dense 1×1 convolution with the same result has its weights. Shape (K, C)."""
        mask = np.zeros((self.out_channels, self.in_channels), dtype=np.bool_)
        np.put_along_axis(mask, self.channel_index, True, axis=1)
        return mask


def _read_only(array: IndexArray) -> IndexArray:
    array.flags.writeable = False
    return array


def _positive_integer(name: str, value: Any) -> int:
    try:
        if isinstance(value, (bool, np.bool_)):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name}={value!r} must be an integer, not {type(value).__name__}") from None
    if number < 1:
        raise ValueError(f"{name}={number} must be at least 1")
    return number


def _divisors(number: int) -> str:
    # The list is for a person to choose from: past a million nobody reads it, and the search would take long.
    if number > 10**6:
        return "not listed for so many channels"
    return ", ".join(str(d) for d in range(1, number + 1) if number % d == 0)


def _exact_overlap(value: Any) -> Fraction:
    real = (int, float, Fraction, np.integer, np.floating)
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, real):
        raise TypeError(f"overlap={value!r} must be a real number, not {type(value).__name__}")
    if not 0 <= value < 1:  # NaN fails every comparison, and so ends here too
        raise ValueError(f"overlap={value} is outside 0 ≤ overlap < 1")
    if isinstance(value, Fraction):
        return value
    fraction = Fraction(str(value)).limit_denominator(LARGEST_DENOMINATOR)
    if fraction >= 1:
        raise ValueError(
            f"overlap={value} reads as {fraction} at a denominator of at most {LARGEST_DENOMINATOR:,}, "
            f"and overlap must be below 1; give a fractions.Fraction to be exact"
        )
    return fraction
