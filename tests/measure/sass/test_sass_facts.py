"""Machine code of real kernels, by the real tools."""

import numpy as np
import pytest
from numba import cuda, types
from scc_reference import SlidingChannels

from scc_numba.device import jit
from scc_numba.emulator import targets
from scc_numba.kernels import Launch, Layer, find_rung
from scc_numba.measure.evidence import SASS_LAYER
from scc_numba.measure.sass import NoTools, ToolFailed, facts, missing, occupancy, rung_facts, tools
from scc_numba.measure.sass.assemble import assemble
from scc_numba.measure.sass.show import loop_rows

pytestmark = pytest.mark.skipif(missing() is not None, reason=str(missing()))
FLOATS = types.CPointer(types.float32)
LAYER = Layer(SlidingChannels(8, 8, 2, 0.5), 1, 64, np.dtype(np.float32))


def sums(x, weight, bias, y, step):
    i = cuda.grid(1)
    parts = cuda.local.array(64, types.float32)
    for j in range(64):
        parts[j] = x[0, 0, i + j]
    for j in range(64):
        parts[j] = parts[j] * weight[0, 0] + parts[63 - j]
    total = bias[0]
    for j in range(64):
        total += parts[j]
    y[0, 0, i] = total


def test_few_registers_spill():
    launch = Launch(jit(max_registers=24)(sums), (1, 1, 1), (128, 1, 1), scalars=(1,))
    squeezed = facts(launch, "forward", LAYER, "sm_90")
    assert squeezed.resources.registers <= 24
    assert squeezed.spill_bytes > 0
    assert squeezed.resources.local_bytes > 0
    roomy = facts(Launch(jit(sums), (1, 1, 1), (128, 1, 1), scalars=(1,)), "forward", LAYER, "sm_90")
    assert roomy.spill_bytes == 0
    assert roomy.resources.registers > 24


@pytest.mark.parametrize("target", ["sm_75", "sm_80", "sm_90"])
def test_the_naive_rungs(target):
    naive, three_d = (rung_facts(find_rung(name), SASS_LAYER, target) for name in ("f0", "f1"))
    for found in (naive, three_d):
        assert found.target == target
        assert found.spill_bytes == found.resources.local_bytes == found.shared_bytes == 0
        assert found.k_loop.products == 4  # unrolled four times
        assert found.k_loop.classes["LDG"] == 2 * 4  # a pixel and a weight each
        assert found.k_loop == found.k_tile_loop
        assert sum(found.k_loop.classes.values()) == len(found.k_loop.instructions)
    # Two 64-bit divisions less per multiply-add; the rest is the index arithmetic of arrays.
    assert 70 < naive.k_loop.per_product < 95
    assert 40 < three_d.k_loop.per_product < 50
    assert len(naive.k_loop_sizes) == 4  # unrolled and remainder, each once more for a divisor of zero


def test_reductions_have_a_loop_around_the_k_loop():
    found = rung_facts(find_rung("w1"), SASS_LAYER)
    assert found.k_loop.classes["STS"] == 0
    assert found.k_tile_loop.classes["STS"] > 0
    assert found.k_tile_loop.loops_inside > 0
    assert found.resources.shared_bytes == 4 * found.threads


def test_the_loop_beside_its_python_lines():
    rows = list(loop_rows(rung_facts(find_rung("f1"), SASS_LAYER)))
    assert len(rows) == len(rung_facts(find_rung("f1"), SASS_LAYER).k_tile_loop.instructions)
    assert any("total += x[n, c, p] * weight[k, j]" in row.python for row in rows)
    assert all(row.in_k_loop for row in rows)
    assert {row.kind for row in rows} >= {"FFMA", "integer", "LDG", "control"}


def test_a_tile_of_the_rungs():
    few = rung_facts(find_rung("f0"), SASS_LAYER, "sm_90", (32,))
    assert (few.threads, few.occupancy.limits) == (32, ("blocks",))
    with pytest.raises(ValueError, match="not offered by rung f0"):
        rung_facts(find_rung("f0"), SASS_LAYER, "sm_90", (31,))


def test_targets_that_cannot_be_had():
    with pytest.raises(ValueError, match=r"target='sm_91' is unknown: did you mean 'sm_90'"):
        rung_facts(find_rung("f0"), SASS_LAYER, "sm_91")
    with pytest.raises(TypeError, match="float16"):
        rung_facts(find_rung("f0"), Layer(LAYER.channels, 1, 4, np.dtype(np.float16)))


@pytest.mark.parametrize("target", ["sm_70", "sm_91"])  # the compiler refuses one, and builds sm_90 for the other
def test_a_target_that_the_compiler_does_not_build(target, monkeypatch):
    monkeypatch.setitem(occupancy.LIMITS, target, occupancy.LIMITS["sm_75"])
    monkeypatch.setitem(targets.TARGETS, target, targets.Target(target))
    with pytest.raises(ValueError, match=f"target='{target}': the compiler here cannot build for it"):
        facts(find_rung("f0").build(LAYER), "forward", LAYER, target)


def test_too_much_shared_memory_is_said():
    def greedy(y):
        room = cuda.shared.array(13_000, types.float32)
        room[cuda.threadIdx.x] = y[0]
        cuda.syncthreads()
        y[cuda.threadIdx.x] = room[127 - cuda.threadIdx.x]

    ptx, _ = cuda.compile_ptx(greedy, (FLOATS,), cc=(9, 0))
    with pytest.raises(ToolFailed, match=r"too much shared data \(0xcb20 bytes, 0xc000 max\)"):
        assemble(ptx, "sm_90")


def test_an_assembler_that_is_older_than_the_ptx_is_said():
    def copy(x, y):
        y[0] = x[0]

    ptx, _ = cuda.compile_ptx(copy, (FLOATS, FLOATS), cc=(9, 0))
    later = ptx.replace(".version ", ".version 9", 1)
    assert later != ptx
    with pytest.raises(ToolFailed, match="older than the compiler; pip install -U nvidia-cuda-nvcc"):
        assemble(later, "sm_90")


def test_without_the_tools_it_says_what_to_install(monkeypatch):
    def absent(wheel):
        raise tools.PackageNotFoundError(wheel)

    tools.find_tool.cache_clear()
    monkeypatch.setattr(tools, "distribution", absent)
    try:
        assert "pip install 'scc_numba[sass]'" in missing()
        with pytest.raises(NoTools, match=r"ptxas is not installed.*One on the PATH is not used"):
            facts(find_rung("f0").build(LAYER), "forward", LAYER, "sm_90")
    finally:
        tools.find_tool.cache_clear()


def test_the_tools_are_those_of_the_wheels():
    for name, wheel in tools.WHEELS.items():
        assert "site-packages" in str(tools.find_tool(name).path) or wheel in str(tools.find_tool(name).path)
        said, _ = tools.find_tool(name).run("--version")
        assert f"V{tools.find_tool(name).version}" in said
