"""Launches that were prepared: the same results, and prepared once for operands of the same shapes."""

import contextlib
import sys
from dataclasses import replace

import numpy as np
import pytest
import scc_reference
from fake_gpu import FakeGpu
from scc_reference import SlidingChannels
from test_best import LAYER, draw_operands

from scc_numba.device import LaunchError, NoBackend, backend, profile
from scc_numba.device.number import SIXTEEN_BITS
from scc_numba.kernels import OPS, best, find_rung, ladder, run_best
from scc_numba.kernels.torch_launch import TorchLaunch

torch = pytest.importorskip("torch")
if backend().name == "gpu":
    pytest.skip("there is a real one", allow_module_level=True)
POINTERS = [rung for op in OPS for rung in ladder(op) if rung.build(LAYER).kernel.pointers]


@pytest.fixture
def gpu(monkeypatch):
    fake = FakeGpu()
    fake.install(monkeypatch)
    return fake


def tensors_of(op, seed=0):
    operands = draw_operands(op, LAYER, seed, spatial=(7, 7))
    return {name: torch.from_numpy(array) for name, array in operands.items()}


def expected(op, tensors, **more):
    wide = {name: tensor.numpy().astype(np.float64) for name, tensor in {**tensors, **more}.items()}
    return getattr(scc_reference, f"scc_{op}")(**wide, channels=LAYER.channels)


@pytest.mark.parametrize("op", OPS)
def test_the_result_is_that_of_the_reference_and_is_prepared_once(gpu, op):
    for seed in range(3):
        tensors = tensors_of(op, seed)
        gpu.shapes = LAYER.shapes(op)
        result = run_best(op, *tensors.values(), channels=LAYER.channels)
        np.testing.assert_allclose(result.numpy(), expected(op, tensors), rtol=1e-4, atol=1e-4)
    assert set(gpu.streams) == {7}
    rung, tile = best(LAYER, op)
    kernels = 1 + (rung.build(LAYER, tile).then is not None)
    assert len(gpu.prepared) == (kernels if rung in POINTERS else 0)


@pytest.mark.parametrize("dtype", SIXTEEN_BITS)
@pytest.mark.parametrize("recorded", [False, True])
def test_tensors_of_16_bits_are_read_where_they_lie(gpu, monkeypatch, dtype, recorded):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)  # as if it were not installed
    draw = np.random.default_rng(0)
    shapes = {"x": (2, 32, 7, 7), "weight": (48, 16), "bias": (48,)}
    exact = {name: draw.integers(-3, 4, shape).astype(np.float32) for name, shape in shapes.items()}
    tensors = {name: torch.from_numpy(array).to(getattr(torch, dtype)) for name, array in exact.items()}
    gpu.shapes = replace(LAYER, batch=2, pixels=49).shapes("forward")
    with profile() if recorded else contextlib.nullcontext():
        result = run_best("forward", *tensors.values(), channels=LAYER.channels)
    assert result.dtype == tensors["x"].dtype
    np.testing.assert_array_equal(
        result.double().numpy(), scc_reference.scc_forward(**exact, channels=LAYER.channels)
    )


def test_other_windows_of_the_same_shapes_are_another_layer(gpu):
    gpu.shapes = LAYER.shapes("forward")
    tensors = tensors_of("forward")
    for overlap in (0.5, 0.25, 0.5):
        channels = SlidingChannels(32, 48, 2, overlap)
        for tf32 in (False, True):
            result = run_best("forward", *tensors.values(), channels=channels, allow_tf32=tf32)
            wide = {name: tensor.numpy().astype(np.float64) for name, tensor in tensors.items()}
            want = scc_reference.scc_forward(**wide, channels=channels)
            assert (np.abs(result.numpy() - want).max() < 1e-4) == (not tf32)
            np.testing.assert_allclose(result.numpy(), want, rtol=2e-2, atol=2e-2)
    assert len(gpu.prepared) == 4


def test_bias_and_gaps_in_memory(gpu):
    gpu.shapes = LAYER.shapes("forward")
    tensors = tensors_of("forward")
    gaps = {name: torch.stack([t, t], -1)[..., 0] for name, t in tensors.items()}
    assert not any(t.is_contiguous() for t in gaps.values())
    bias = torch.arange(48, dtype=torch.float32)
    result = run_best("forward", *gaps.values(), bias, channels=LAYER.channels)
    np.testing.assert_allclose(result.numpy(), expected("forward", tensors, bias=bias), rtol=1e-4, atol=1e-4)


def test_gradients_need_not_be_off(gpu):
    gpu.shapes = LAYER.shapes("forward")
    tensors = {name: t.requires_grad_() for name, t in tensors_of("forward").items()}
    result = run_best("forward", *tensors.values(), channels=LAYER.channels)
    assert not result.requires_grad  # it computes one operation; what autograd makes of it is not its business


def test_empty_batches(gpu):
    x, weight = torch.zeros(0, 32, 7, 7), torch.zeros(48, 16)
    assert run_best("forward", x, weight, channels=LAYER.channels).shape == (0, 48, 7, 7)
    assert gpu.prepared == gpu.streams == []


def test_wrong_shapes_are_refused(gpu):
    x, weight = torch.zeros(1, 32, 7, 7), torch.zeros(48, 15)
    with pytest.raises(ValueError, match="weight"):
        run_best("forward", x, weight, channels=LAYER.channels)


def test_no_more_is_kept_than_a_limit(gpu, monkeypatch):
    module = sys.modules["scc_numba.kernels.run_best"]
    monkeypatch.setattr(module, "MOST_KEPT", 2)
    for batch in range(1, 6):
        x, weight = torch.zeros(batch, 4, 2), torch.zeros(3, 2)
        gpu.shapes = ((batch, 4, 2), (3, 2), (3,), (batch, 3, 2))
        run_best("forward", x, weight, channels=SlidingChannels(4, 3, 2, 0.5))
        assert len(module._READY) <= 2


@pytest.mark.parametrize("rung", [rung for op in OPS for rung in ladder(op)], ids=lambda rung: rung.name)
def test_every_rung_runs_on_tensors(gpu, rung):
    tensors = tensors_of(rung.op)
    gpu.shapes = LAYER.shapes(rung.op)
    more = {"bias": torch.zeros(48)} if rung.op == "forward" else {}
    result = torch.full(LAYER.result_shape(rung.op), torch.nan)
    TorchLaunch(rung.build(LAYER), rung.op, LAYER)(*tensors.values(), *more.values(), result, stream=7)
    want = expected(rung.op, tensors).reshape(result.shape)
    tolerance = 1e-4 if rung.rounds_to is None else 2e-2
    np.testing.assert_allclose(result.numpy(), want, rtol=tolerance, atol=tolerance * np.abs(want).max())
    assert gpu.streams[-1] == 7


def test_under_a_profile_launches_are_entered(gpu):
    tensors = tensors_of("forward")
    gpu.shapes = LAYER.shapes("forward")
    with profile() as report:
        run_best("forward", *tensors.values(), channels=LAYER.channels)
    assert len(report.launches) == 1


def test_on_a_backend_without_addresses_it_says_so():
    with pytest.raises(NoBackend, match="launches are prepared for a GPU; here is the emulator"):
        find_rung("f2").build(LAYER).prepare([LAYER.dtype] * 4)
    assert find_rung("f0").build(LAYER).prepare([LAYER.dtype] * 4) is None  # takes arrays
    with pytest.raises(TypeError, match="takes arrays, not addresses"):
        find_rung("f0").build(LAYER).kernel.prepare(1, 32, 0, [], ())


def test_an_impossible_configuration_is_refused(gpu):
    kernel = find_rung("f2").build(LAYER).kernel
    with pytest.raises(LaunchError, match="y=70000 is outside 1 to 65535"):
        kernel.prepare((1, 70_000, 1), 32, 0, [LAYER.dtype] * 4, (1, 1, 1, 1, 1, 1))
