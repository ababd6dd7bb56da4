"""The strategies draw what they say, the awkward shapes among it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from scc_numba.check.strategies import MOST_OUTPUTS, MOST_TILED_OUTPUTS, cases

DRAWN = 1000


@pytest.fixture(scope="module")
def drawn():
    found = []

    @seed(1)
    @settings(
        max_examples=DRAWN,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def collect(case):
        found.append(case)

    collect()
    return found


def features(case):
    layer, channels = case.layer, case.layer.channels
    C, K, G, P = channels.in_channels, channels.out_channels, channels.group_width, layer.pixels
    return {
        "groups 1": channels.groups == 1,
        "overlap 0": channels.step == G,
        "step 1 of several": channels.step == 1 < G,
        "three filters share a channel": 3 * channels.step <= G and K >= 3,
        "wrap inside a window": bool(np.any(channels.starts + G > C)),
        "wrap within the filters of one lap": channels.cycle > K and bool(np.any(channels.starts + G > C)),
        "K < D": channels.cycle > K,
        "K = D": channels.cycle == K,
        "K > D, not a multiple": channels.cycle < K and K % channels.cycle != 0,
        "K > 2D": channels.cycle * 2 < K,
        "K > 12": K > 12,
        "K = 1": K == 1,
        "a channel no window covers": not channels.dense_mask().any(axis=0).all(),
        "C = 1": C == 1,
        "odd C": C % 2 == 1 and C > 1,
        "P = 1": P == 1,
        "P = 0": P == 0,
        "N = 0": layer.batch == 0,
        "N > 1": layer.batch > 1,
        "P odd": P % 2 == 1 and P > 1,
        "P not a multiple of 4": P % 4 != 0,
        "P a multiple of 32": P % 32 == 0 and P > 0,
        "P past one warp, off the tile": P > 32 and P % 32 != 0,
        "P past one block of 128": P > 128,
        "no spatial dims": case.spatial == (),
        "one": len(case.spatial) == 1,
        "two": len(case.spatial) == 2,
        "three": len(case.spatial) == 3,
        "G a multiple of 16": G % 16 == 0,
        "G a multiple of 4, not of 16": G % 4 == 0 and G % 16 != 0,
        "S a multiple of 16": channels.step % 16 == 0,
        "classes of a multiple of 16": K % (16 * channels.cycle) == 0,
        "all of these, and P a multiple of 32": K % (16 * channels.cycle) == G % 16 == P % 32 == 0 < P,
        "K > 64": K > 64,
        "bias": case.bias,
        "no bias": not case.bias,
        "float32": layer.dtype == np.float32,
        "float64": layer.dtype == np.float64,
    }


def test_every_feature_occurs(drawn):
    counts = Counter(name for case in drawn for name, holds in features(case).items() if holds)
    rare = {name: counts[name] for name in features(drawn[0]) if counts[name] < DRAWN // 200}
    assert not rare, f"drawn in fewer than one layer of 200: {rare}"


def test_off_tile_is_drawn_as_often_as_round(drawn):
    filled = [case for case in drawn if case.layer.pixels > 1]
    off = sum(case.layer.pixels % 4 != 0 for case in filled)
    assert 0.4 < off / len(filled) < 0.8


def test_cases_are_consistent_and_small(drawn):
    for case in drawn:
        assert int(np.prod(case.spatial)) == case.layer.pixels
        most = MOST_OUTPUTS if case.layer.channels.group_width <= 9 else MOST_TILED_OUTPUTS
        assert max(np.prod(case.layer.output_shape), np.prod(case.layer.input_shape)) <= most


def test_layers_differ(drawn):
    assert len({case.layer for case in drawn}) > DRAWN / 2
