"""`Rung.run`: what comes in, what comes out, and what is refused."""

import functools
import sys

import numpy as np
import pytest
import scc_reference
from hypothesis import given, settings
from hypothesis import strategies as st
from scc_reference import SlidingChannels

from scc_numba.check.strategies import cases
from scc_numba.device import profile
from scc_numba.device.number import SIXTEEN_BITS, in_numpy, number_type
from scc_numba.kernels import OPS, ladder

CHANNELS = SlidingChannels(8, 6, groups=2, overlap=0.5)
RUNGS = [rung for op in OPS for rung in ladder(op)]
each_rung = pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
each_rung_and_dtype = pytest.mark.parametrize(
    ("rung", "dtype"),
    [(rung, dtype) for rung in RUNGS for dtype in in_numpy(rung.dtypes)],
    ids=lambda value: getattr(value, "name", value),
)
each_rung_and_tensor = pytest.mark.parametrize(
    ("rung", "dtype"),
    [(rung, dtype) for rung in RUNGS for dtype in rung.dtypes],  # torch has them all
    ids=lambda value: getattr(value, "name", value),
)
OTHERS = ("int32", "complex64", "float16", "bfloat16", "float32", "float64")
NAMES = {"forward": ("x", "weight"), "grad_input": ("grad_output", "weight"), "grad_weight": ("grad_output", "x")}


def operands(op, batch=2, spatial=(3, 3), dtype="float32"):
    draw = np.random.default_rng(0)
    shapes = {"x": (batch, 8, *spatial), "grad_output": (batch, 6, *spatial), "weight": (6, 4)}
    return {name: draw.integers(-3, 4, shapes[name]).astype(number_type(dtype)) for name in NAMES[op]}


def expected(op, named):
    return getattr(scc_reference, f"scc_{op}")(**named, channels=CHANNELS)


@each_rung_and_dtype
def test_by_position_and_by_name(rung, dtype):
    named = operands(rung.op, dtype=dtype)
    np.testing.assert_array_equal(rung.run(*named.values(), channels=CHANNELS), expected(rung.op, named))
    np.testing.assert_array_equal(rung.run(**named, channels=CHANNELS), expected(rung.op, named))


@each_rung
@pytest.mark.parametrize(("batch", "spatial"), [(0, (3, 3)), (2, (0, 3)), (0, (0,)), (3, (5, 0))])
def test_empty_means_no_launch(rung, batch, spatial):
    named = operands(rung.op, batch, spatial, rung.dtypes[0])
    with profile() as report:
        result = rung.run(**named, channels=CHANNELS)
    assert report.launches == []
    np.testing.assert_array_equal(result, expected(rung.op, named))
    assert result.dtype == rung.dtypes[0]


@each_rung
@pytest.mark.parametrize("spatial", [(), (5,), (2, 3), (1, 2, 3)])
def test_any_number_of_spatial_dims(rung, spatial):
    named = operands(rung.op, spatial=spatial, dtype=rung.dtypes[0])
    result = rung.run(**named, channels=CHANNELS)
    assert result.shape == expected(rung.op, named).shape
    np.testing.assert_array_equal(result, expected(rung.op, named))


@pytest.mark.parametrize(
    ("rung", "dtype"),
    [(rung, dtype) for rung in RUNGS for dtype in in_numpy(OTHERS) if dtype not in rung.dtypes],
    ids=lambda value: getattr(value, "name", value),
)
def test_other_dtypes_are_refused_by_name(rung, dtype):
    with pytest.raises(TypeError, match=dtype):
        rung.run(**operands(rung.op, dtype=dtype), channels=CHANNELS)


@each_rung
def test_mixed_dtypes_are_refused(rung):
    named = operands(rung.op, dtype=rung.dtypes[0])
    second = NAMES[rung.op][1]
    with pytest.raises(TypeError, match=f"{second} float64"):
        rung.run(**{**named, second: named[second].astype(np.float64)}, channels=CHANNELS)


@each_rung
def test_shapes_that_disagree_are_named(rung):
    named = operands(rung.op)
    first = NAMES[rung.op][0]
    with pytest.raises(ValueError, match=f"{first} has shape .*expected"):
        rung.run(**{**named, first: named[first][:, :-1]}, channels=CHANNELS)


@each_rung
def test_lists_are_refused(rung):
    named = operands(rung.op)
    second = NAMES[rung.op][1]
    with pytest.raises(TypeError, match=f"{second} must be a NumPy array or a torch tensor, not list"):
        rung.run(**{**named, second: named[second].tolist()}, channels=CHANNELS)


@each_rung
def test_a_missing_or_unknown_operand_is_a_type_error(rung):
    named = operands(rung.op)
    with pytest.raises(TypeError, match=rf"{rung.op} takes \({', '.join(NAMES[rung.op])}"):
        rung.run(next(iter(named.values())), channels=CHANNELS)
    with pytest.raises(TypeError, match="wieght"):
        rung.run(**named, channels=CHANNELS, wieght=1)


@each_rung
def test_bytes_in_the_other_order_are_accepted(rung):
    native = operands(rung.op, dtype=rung.dtypes[0])
    named = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in native.items()}
    result = rung.run(**named, channels=CHANNELS)
    assert result.dtype == rung.dtypes[0]
    np.testing.assert_array_equal(result, expected(rung.op, native))


@pytest.mark.parametrize("rung", ladder("grad_weight"), ids=lambda rung: rung.name)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_the_gradient_of_the_bias_comes_with_that_of_the_weight(rung, data):
    case = data.draw(cases(["float32"]))
    draw, layer = np.random.default_rng(case.seed), case.layer
    grad_output, x = (draw.integers(-3, 4, s).astype(np.float32) for s in (layer.output_shape, layer.input_shape))
    run = functools.partial(rung.run, grad_output, x, channels=layer.channels, bias=True)
    if not rung.with_bias:
        with pytest.raises(TypeError, match=f"rung {rung.name} does not sum the gradient of the bias"):
            run()
        return
    tile = rung.tiles(layer)[case.tile % len(rung.tiles(layer))]
    grad_weight, grad_bias = run(tile=tile)
    np.testing.assert_array_equal(grad_bias, scc_reference.scc_grad_bias(grad_output))
    expected = scc_reference.scc_grad_weight(grad_output, x, channels=layer.channels)
    np.testing.assert_array_equal(grad_weight, expected)


@each_rung
def test_masked_arrays_are_refused(rung):
    named = {name: np.ma.asarray(array) for name, array in operands(rung.op).items()}
    with pytest.raises(TypeError, match="is a MaskedArray"):
        rung.run(**named, channels=CHANNELS)


def test_a_bias_of_the_wrong_length_is_named():
    named = operands("forward")
    with pytest.raises(ValueError, match=r"bias has shape \(5,\), expected .*\(6,\)"):
        ladder("forward")[0].run(**named, bias=np.zeros(5, np.float32), channels=CHANNELS)


def tensors_of(torch, op, dtype, **more):
    named = operands(op, **more)
    return named, {name: torch.from_numpy(array).to(getattr(torch, dtype)) for name, array in named.items()}


@each_rung_and_tensor
def test_torch_tensors_in_and_out(rung, dtype):
    torch = pytest.importorskip("torch")
    named, tensors = tensors_of(torch, rung.op, dtype)
    result = rung.run(**{name: tensor.requires_grad_() for name, tensor in tensors.items()}, channels=CHANNELS)
    assert isinstance(result, torch.Tensor)
    assert result.dtype == getattr(torch, dtype)
    assert not result.requires_grad
    np.testing.assert_array_equal(result.double().numpy(), expected(rung.op, named))


@pytest.mark.parametrize("dtype", SIXTEEN_BITS)
@pytest.mark.parametrize("spatial", [(), (0, 3), (2, 3)])
def test_torch_tensors_of_16_bits_need_no_other_package(monkeypatch, dtype, spatial):
    torch = pytest.importorskip("torch")
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)  # as if it were not installed
    named, tensors = tensors_of(torch, "forward", dtype, spatial=spatial)
    bias = np.arange(6, dtype=np.float32)
    rung = next(rung for rung in ladder("forward") if dtype in rung.dtypes)
    result = rung.run(**tensors, bias=torch.from_numpy(bias).to(tensors["x"].dtype), channels=CHANNELS)
    assert result.dtype == tensors["x"].dtype
    np.testing.assert_array_equal(result.double().numpy(), expected("forward", {**named, "bias": bias}))
    if result.numel():
        strided = tensors["x"].transpose(0, 1).contiguous().transpose(0, 1)
        result = rung.run(strided, tensors["weight"], channels=CHANNELS)
        np.testing.assert_array_equal(result.double().numpy(), expected("forward", named))


def test_torch_and_numpy_do_not_mix():
    torch = pytest.importorskip("torch")
    named = operands("forward")
    with pytest.raises(TypeError, match="weight is a ndarray, but the other operands are torch tensors"):
        ladder("forward")[0].run(torch.from_numpy(named["x"]), named["weight"], channels=CHANNELS)


def test_torch_bfloat16_is_refused_by_name_where_a_rung_does_not_take_it():
    torch = pytest.importorskip("torch")
    named = {name: torch.from_numpy(array).bfloat16() for name, array in operands("forward").items()}
    with pytest.raises(TypeError, match="bfloat16"):
        ladder("forward")[0].run(**named, channels=CHANNELS)


@pytest.mark.gpu
@each_rung_and_tensor
def test_torch_tensors_on_a_gpu_are_not_copied(rung, dtype):
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA GPU")
    named, tensors = tensors_of(torch, rung.op, dtype)
    tensors = {name: tensor.cuda() for name, tensor in tensors.items()}
    before = torch.cuda.memory_allocated()
    result = rung.run(**tensors, channels=CHANNELS)
    assert result.device == tensors[NAMES[rung.op][0]].device
    np.testing.assert_array_equal(result.cpu().double().numpy(), expected(rung.op, named))
    bias = 512 if rung.op == "forward" else 0  # torch allocates in blocks of 512 bytes
    assert torch.cuda.memory_allocated() - before <= 512 * -(-result.nbytes // 512) + bias
