"""What the model is told of a rung: counts of small batches extended to large ones, and issue slots."""

import dataclasses

import numpy as np
import pytest
from numba import cuda
from scc_reference import SlidingChannels

from scc_numba.device import jit
from scc_numba.kernels import OPS, Launch, Layer, find_rung, ladder
from scc_numba.kernels.primitives import mma_tf32, round_to_tf32
from scc_numba.measure.line_view import profile_rung
from scc_numba.measure.sass import missing
from scc_numba.measure.work import count_work, mma_flop, operand_type
from scc_numba.model import find_gpu, speed_of_light

NEEDS_TOOLS = pytest.mark.skipif(missing() is not None, reason=str(missing()))
FLOAT32 = np.dtype(np.float32)
RUNGS = [rung for op in OPS for rung in ladder(op)]
# Middling layers, counted in full and from two small batches: (batch, pixels), and the small batches.
MIDDLING = {
    "whole periods of pixels": (Layer(SlidingChannels(32, 48, 2, 0.33), 12, 256, FLOAT32), (1, 2)),
    "a remainder": (Layer(SlidingChannels(24, 32, 4, 0.5), 13, 64, FLOAT32), (1, 5)),
}


@pytest.mark.parametrize("case", MIDDLING)
@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_counts_extend_to_larger_batches(rung, case):
    layer, batches = MIDDLING[case]
    whole, extended = count_work(rung, layer, whole=True), count_work(rung, layer, whole=False)
    assert whole.batches == (layer.batch,)
    assert extended.batches in (batches, (layer.batch,))
    assert extended.work == whole.work


def test_a_grid_that_is_not_in_proportion_is_counted_whole():
    def build(layer, tile=None):
        launch = find_rung("f1").build(layer, tile)  # its blocks walk over images in strides of the grid
        return dataclasses.replace(launch, grid=(*launch.grid[:2], min(layer.batch, 3)))

    capped = dataclasses.replace(find_rung("f1"), build=build)
    layer = Layer(SlidingChannels(8, 8, 2, 0.5), 8, 256, FLOAT32)
    assert count_work(capped, layer, whole=False).batches == (8,)
    assert count_work(find_rung("f1"), layer, whole=False).batches == (1, 2)


def test_a_batch_of_odd_images_is_counted_whole():
    layer = Layer(SlidingChannels(8, 8, 2, 0.5), 5, 49, FLOAT32)  # 256 images make up whole periods
    assert count_work(find_rung("f1"), layer, whole=False).batches == (5,)


def test_counts_of_the_naive_rung_by_hand():
    layer = Layer(SlidingChannels(16, 16, 2, 0.5), 2, 256, FLOAT32)
    work = count_work(find_rung("f0"), layer).work
    products = 2 * 16 * 256 * 8
    assert work.multiply_adds == products
    assert work.fp32_instructions == products / 32
    values = 2 * 16 * 256 * 2 + 16 * 8 + 16  # x, y; weight; bias
    assert work.dram_bytes == 4 * values
    assert work.l2_bytes == 4 * values
    # A pixel and a weight for each product, and bias and result for each output.
    assert work.l1_passes == (2 * products + 2 * 2 * 16 * 256) / 32
    assert work.blocks == 2 * 16 * 256 / 128
    assert (work.shared_wavefronts, work.longest_queue, work.tensor_flop) == (0, 0, {})


def test_atomics_pass_l2_and_queue_up():
    layer = Layer(SlidingChannels(16, 16, 2, 0.5), 2, 256, FLOAT32)
    work = count_work(find_rung("w0"), layer).work
    assert work.longest_queue == 2 * 256  # each weight sums over all pixels
    plain = profile_rung(find_rung("w0"), layer)
    result = 4 * 16 * 8  # bytes, which a launch of its own sets to zero
    assert work.dram_bytes == 32 * plain.unique_sectors + result
    read = 2 * 4 * 2 * 16 * 256  # grad_output and x
    assert work.l2_bytes == read + 32 * plain.atomics.sectors + result
    assert plain.atomics.sectors == 16 * 8 * 2 * 256 / 32  # a warp adds to one address


@NEEDS_TOOLS
def test_issue_slots_are_instructions_per_multiply_add_times_multiply_adds():
    layer = Layer(SlidingChannels(16, 16, 2, 0.5), 2, 256, FLOAT32)
    counted = count_work(find_rung("f1"), layer)
    assert counted.work.issue_slots == counted.facts.k_loop.per_product * layer.multiply_adds / 32
    assert counted.work.blocks_per_multiprocessor == counted.facts.occupancy.blocks > 0


@NEEDS_TOOLS
def test_issue_slots_around_the_k_loop_are_counted_by_barriers():
    layer = Layer(SlidingChannels(16, 16, 2, 0.5), 2, 256, FLOAT32)
    counted = count_work(find_rung("w1"), layer)
    inner = counted.facts.k_loop.per_product * layer.multiply_adds / 32
    assert counted.work.issue_slots > inner


def test_empty_and_unsupported_layers():
    with pytest.raises(ValueError, match="nothing to launch"):
        count_work(find_rung("f0"), Layer(SlidingChannels(8, 8, 2, 0.5), 0, 4, FLOAT32))
    with pytest.raises(TypeError, match="float16"):
        count_work(find_rung("f0"), Layer(SlidingChannels(8, 8, 2, 0.5), 1, 4, np.dtype(np.float16)))


@NEEDS_TOOLS
def test_work_of_tensor_cores():
    @jit(pointers=True)
    def products(x, weight, bias, y, steps):
        t = cuda.grid(1)
        c = (x[t], x[t], x[t], x[t])
        a, b = round_to_tf32(weight[0]), round_to_tf32(bias[0])
        for _ in range(steps):
            c = mma_tf32(c[0], c[1], c[2], c[3], a, a, a, a, b, b)
        y[t] = c[0] + c[1] + c[2] + c[3]

    launch = Launch(products, (2, 1, 1), (64, 1, 1), scalars=(40,))
    rung = dataclasses.replace(find_rung("f0"), build=lambda layer, tile=None: launch)
    counted = count_work(rung, Layer(SlidingChannels(16, 16, 2, 0.5), 2, 256, FLOAT32))
    instructions = 4 * 40  # four warps
    assert counted.work.tensor_flop == {"tf32": instructions * 2048}
    assert counted.facts.k_loop.on_tensor_cores
    assert counted.work.issue_slots == counted.facts.k_loop.per_product * instructions
    seconds = {bound.resource: bound.seconds for bound in speed_of_light(counted.work, find_gpu("H200")).bounds}
    assert seconds["tensor cores"] == pytest.approx(instructions * 2048 / 494.7e12 * 132 / 2)  # two blocks of 132


def test_tensor_core_instructions():
    tf32 = "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32"
    bf16 = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32"
    assert (mma_flop(tf32), operand_type(tf32)) == (2048, "tf32")
    assert (mma_flop(bf16), operand_type(bf16)) == (4096, "bfloat16")


def test_without_the_tools_only_issue_and_waves_are_missing(monkeypatch):
    from scc_numba.measure import work

    layer = Layer(SlidingChannels(16, 16, 2, 0.5), 2, 256, FLOAT32)
    with_tools = count_work(find_rung("f1"), layer).work
    monkeypatch.setattr(work, "missing", lambda: "ptxas is not installed")
    without = count_work(find_rung("f1"), layer)
    assert without.facts is None
    assert (without.work.issue_slots, without.work.blocks_per_multiprocessor) == (None, 0)
    unknown = {"issue_slots": None, "blocks_per_multiprocessor": 0}
    assert dataclasses.replace(with_tools, **unknown) == without.work
