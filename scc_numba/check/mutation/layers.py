"""Chosen layers, tried on a mutant before any are drawn: most mutants die on the first few.

A kernel that is compiled for each layer takes a second of the compiler's time for each, and hardly any to run. So
there are few of them, each of another kind; every tile that a rung offers has its turn.
"""

from __future__ import annotations

import math

import numpy as np
from scc_reference import SlidingChannels

from scc_numba.check.strategies import Case
from scc_numba.kernels import Layer, Rung

# C, K, groups, S; N; the image.                                          what is special
KINDS: tuple[tuple[tuple[int, int, int, int], int, tuple[int, ...]], ...] = (
    ((12, 10, 3, 3), 2, (7, 7)),  # a wrap inside windows, classes of 3 and of 2, P odd
    ((96, 64, 2, 48), 2, (8, 16)),  # on tile: a class of 32, G of three tiles of 16, P = 128
    ((40, 100, 2, 5), 3, (6, 6)),  # several classes in a tile, P a multiple of 4 and not of 32
    ((20, 7, 2, 3), 1, (33,)),  # K < D: windows without a filter, channels without a window
    ((32, 32, 1, 16), 1, (16, 16)),  # groups = 1: a window of all channels
    ((32, 128, 1, 32), 1, (16, 16)),  # on the largest tile: a class of 128, P = 256
    ((36, 37, 3, 4), 2, (65, 2)),  # a tail of columns and of filters, P even
    ((8, 5, 8, 1), 5, (1,)),  # G = 1, P = 1
)


def chosen(rung: Rung) -> list[Case]:
    """Cases for a rung: every kind of layer with two of the tiles that are offered; a few in its wider types."""
    narrow, *wide = rung.dtypes
    cases = [_case(number, number + 2 * turn, narrow) for turn in range(2) for number in range(len(KINDS))]
    return cases + [_case(number, number, dtype) for dtype in wide for number in range(4)]


def _case(number: int, tile: int, dtype: str) -> Case:
    (C, K, groups, step), batch, spatial = KINDS[number]
    channels = SlidingChannels.from_step(C, K, groups, step=step)
    layer = Layer(channels, batch, math.prod(spatial), np.dtype(dtype))
    return Case(layer, spatial, bias=number % 4 != 3, tile=tile, seed=number)
