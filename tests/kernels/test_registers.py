"""The sums of a tiled rung stay in registers: a loop that is not unrolled would put them into local memory."""

import numpy as np
import pytest
from scc_reference import SlidingChannels

from scc_numba.kernels import OPS, Layer, ladder
from scc_numba.measure.sass import missing, rung_facts

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
TILED = [rung for op in OPS for rung in ladder(op) if len(rung.tile_names) > 2]
LAYERS = {
    "round": Layer(SlidingChannels(256, 256, groups=2, overlap=0.5), 32, 1024, np.dtype(np.float32)),
    "odd": Layer(SlidingChannels(250, 130, groups=2, overlap=0.3), 32, 49, np.dtype(np.float32)),
}


@pytest.mark.parametrize("rung", TILED, ids=lambda rung: rung.name)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_nothing_is_spilt_and_nothing_is_local(rung, layer):
    facts = rung_facts(rung, layer, "sm_90")
    assert facts.spill_bytes == 0
    assert facts.resources.local_bytes == 0
