"""Bounds by hand, on a GPU with round figures."""

import dataclasses
import math

import pytest

from scc_numba.model import Gpu, Work, speed_of_light

# 10 multiprocessors at 1 GHz: 10 L1 passes, 40 warp instructions, 20 warp FMA a nanosecond.
GPU = Gpu(
    "round", "sm_80", 10, 1e9, 1e12, 1000, "made up", fp32_lanes=64, fp64_lanes=32, tensor_flops={"tf32": 1e14}
)
NOTHING = Work(
    multiply_adds=0,
    blocks=10,
    blocks_per_multiprocessor=1,
    dram_bytes=0,
    l2_bytes=0,
    l2_bytes_without_l1=0,
    l1_passes=0,
    shared_wavefronts=0,
    issue_slots=0,
    fp32_instructions=0,
)


def light(**work):
    return speed_of_light(dataclasses.replace(NOTHING, **work), GPU)


@pytest.mark.parametrize(
    ("work", "resource", "seconds"),
    [
        ({"dram_bytes": 1e12}, "DRAM", 1.0),
        ({"l2_bytes": 1e12}, "L2", 1.0),  # 1,000 bytes a clock
        ({"l1_passes": 1e10}, "L1", 1.0),
        ({"shared_wavefronts": 1e10}, "shared memory", 1.0),
        ({"issue_slots": 4e10}, "issue", 1.0),
        ({"fp32_instructions": 2e10}, "FMA pipes", 1.0),
        ({"fp64_instructions": 1e10}, "FMA pipes", 1.0),
        ({"tensor_flop": {"tf32": 1e14}}, "tensor cores", 1.0),
        ({"longest_queue": 1e9}, "atomics", 1.0),
    ],
)
def test_each_resource_by_itself(work, resource, seconds):
    found = light(**work)
    assert found.binding == resource
    assert found.seconds == pytest.approx(seconds)
    assert sum(bound.seconds for bound in found.bounds) == pytest.approx(seconds)


def test_the_largest_binds():
    found = light(multiply_adds=5e11, dram_bytes=1e12, l2_bytes=3e12, issue_slots=4e10)
    assert (found.binding, found.seconds) == ("L2", pytest.approx(3.0))
    assert found.flops == pytest.approx(1e12 / 3)
    assert found.intensity == 1.0


def test_tensor_cores_that_a_gpu_does_not_have_never_finish():
    found = light(tensor_flop={"bfloat16": 1.0})
    assert math.isinf(found.seconds)
    assert found.flops == 0


def test_a_kernel_of_unknown_machine_code_has_no_issue_bound():
    assert "issue" not in {bound.resource for bound in light(issue_slots=None).bounds}


@pytest.mark.parametrize(
    ("blocks", "at_once", "number", "tail"),
    [
        (10, 1, 1.0, 1.0),  # one each
        (11, 1, 1.1, 20 / 11),  # one of them has two
        (11, 2, 0.55, 20 / 11),  # even if both run at once, its work is double
        (1, 4, 0.025, 10.0),  # nine are idle
        (1000, 5, 20.0, 1.0),
        (1001, 0, None, 1010 / 1001),
    ],
)
def test_the_last_wave(blocks, at_once, number, tail):
    found = light(blocks=blocks, blocks_per_multiprocessor=at_once, issue_slots=4e10, dram_bytes=1e11)
    assert found.waves.number == (None if number is None else pytest.approx(number))
    assert found.waves.tail == pytest.approx(tail)
    # What multiprocessors do by themselves takes as long as the busiest of them; DRAM serves all.
    seconds = {bound.resource: bound.seconds for bound in found.bounds}
    assert seconds["issue"] == pytest.approx(tail)
    assert seconds["DRAM"] == pytest.approx(0.1)


def test_nothing_to_do_takes_no_time():
    found = light(blocks=0)
    assert (found.seconds, found.flops, found.waves.tail) == (0, 0, 1)
    assert math.isinf(found.intensity)
