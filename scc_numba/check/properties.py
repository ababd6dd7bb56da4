"""What is true of every right kernel. Each property is a function of a `Trial` that raises `Broken` if it is not.

Half of them need no reference at all, so that a mistake the kernel shared with the reference would still show.
Data of small integers makes every sum exact: there, equal means equal. A result of 16 bits is then the exact sum,
rounded once.
"""

from __future__ import annotations

import dis
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np

from scc_numba.check.tolerance import errors_in_bounds, reference
from scc_numba.check.trial import OPERANDS, Array, Broken, Operands, Trial
from scc_numba.device import device_array, to_device, to_host
from scc_numba.kernels import Launch
from scc_numba.kernels.run import kernel_operands

Property = Callable[[Trial], None]


def returns_an_array(trial: Trial) -> None:
    """It raises nothing, and returns a NumPy array of the right shape and dtype."""
    trial.integer_result  # noqa: B018 — computing it is the test


def exact_on_integers(trial: Trial) -> None:
    """On small integers the result equals the reference exactly."""
    trial.expect_equal(trial.integer_result, trial.reference(trial.integers), "on small integers")


def within_the_bound(trial: Trial) -> None:
    """On Gaussian data every element is within its derived bound of the reference in wider precision."""
    result = trial(trial.gaussian)
    trial.expect(np.isfinite(result), result, np.zeros_like(result), "not finite")
    rounds_to = trial.rung.rounds_to if trial.rung is not None else None
    channels = trial.case.layer.channels
    errors = errors_in_bounds(result, trial.op, trial.gaussian, channels, zero_mean=True, rounds_to=rounds_to)
    worst = f"off by up to {errors.max(initial=0):.3g} times the bound"
    trial.expect(errors <= 1, result, trial.reference(trial.gaussian), worst)


def linear(trial: Trial) -> None:
    """f(a + b, w) = f(a, w) + f(b, w), and the same in the second operand; a bias is left out."""
    a, b = trial.few_integers(), trial.few_integers(2)
    for name in OPERANDS[trial.op]:
        both, other = {**a, name: a[name] + b[name]}, {**a, name: b[name]}
        trial.expect_equal(trial(both), trial(a) + trial(other), f"linear in {name}")


def adjoint(trial: Trial) -> None:
    """⟨A x, u⟩ = ⟨x, Aᵀ u⟩, where the kernel is one side and the reference of another operation the other."""
    operands = trial.few_integers()
    channels, dtype = trial.case.layer.channels, np.float64
    draw = trial.generator(3)
    u = draw.integers(-3, 4, trial.result_shape).astype(dtype)
    wide = {name: array.astype(dtype) for name, array in operands.items() if array is not None}
    left = float(np.vdot(trial(operands).astype(dtype), u))
    if trial.op == "forward":
        transposed = reference("grad_input", {"grad_output": u, "weight": wide["weight"]}, channels)
        right = float(np.vdot(wide["x"], transposed))
    else:
        x = u if trial.op == "grad_input" else wide["x"]
        weight = u if trial.op == "grad_weight" else wide["weight"]
        y = reference("forward", {"x": x, "weight": weight}, channels)
        right = float(np.vdot(wide["grad_output"], y))
    if left != right:
        raise Broken(f"⟨f(…), u⟩ = {left:g}, but the adjoint gives {right:g}")


def permutes_with_batch_and_pixels(trial: Trial) -> None:
    """Images and pixels in another order give the same numbers in that order (and the same sums over them)."""
    N, P = trial.case.layer.batch, trial.case.layer.pixels
    draw = trial.generator(4)
    images, pixels = draw.permutation(N), draw.permutation(P)

    def shuffled(array: Array) -> Array:
        flat = array.reshape(N, array.shape[1], P)[images][:, :, pixels]
        return np.ascontiguousarray(flat).reshape(array.shape)

    moved = {
        name: shuffled(array) if name in ("x", "grad_output") else array for name, array in trial.integers.items()
    }
    before = trial.integer_result
    expected = before if trial.op == "grad_weight" else shuffled(before)
    trial.expect_equal(trial(moved), expected, "images and pixels in another order")


def rotates_with_channels(trial: Trial) -> None:
    """Channels rotated by S, and weights moved on by one filter, give the results of the next filter."""
    channels = trial.case.layer.channels
    S = channels.step
    closes = channels.out_channels % channels.cycle == 0  # then the last filter's successor is the first
    before = dict(_without_bias(trial.integers))
    if trial.op == "grad_input" and not closes:
        before["grad_output"] = before["grad_output"].copy()
        before["grad_output"][:, -1] = 0
    shift = {"x": (S, 1), "grad_output": (1, 1), "weight": (1, 0)}
    after = {
        name: None if array is None else np.roll(array, shift[name][0], axis=shift[name][1])
        for name, array in before.items()
    }
    result, expected = trial(before), trial(after)
    amount, axis = shift[{"forward": "grad_output", "grad_input": "x", "grad_weight": "weight"}[trial.op]]
    result = np.roll(result, amount, axis=axis)
    if trial.op != "grad_input" and not closes:
        result, expected = np.delete(result, 0, axis=axis), np.delete(expected, 0, axis=axis)
    trial.expect_equal(expected, result, "channels rotated by S")


def local(trial: Trial) -> None:
    """A single channel (or, for grad_input, a single filter) reaches exactly the results that the windows say."""
    channels = trial.case.layer.channels
    only = trial.operands(np.ones)
    if trial.op == "forward":
        only["bias"] = None
    draw = trial.generator(5)
    if trial.op == "grad_input":
        k = int(draw.integers(channels.out_channels))
        _keep_only(only["grad_output"], k)
        reached = np.isin(np.arange(channels.in_channels), channels.channel_index[k])
        expected = np.where(_along_axis_1(reached, trial.result_shape), 1, 0)
        what = f"gradient of filter {k} alone"
    else:
        c = int(draw.integers(channels.in_channels))
        _keep_only(only["x"], c)
        filters, offsets = channels.covering(c)
        what = f"channel {c} alone"
        if trial.op == "forward":
            reached = np.isin(np.arange(channels.out_channels), filters)
            expected = np.where(_along_axis_1(reached, trial.result_shape), 1, 0)
        else:
            expected = np.zeros(trial.result_shape, dtype=int)
            expected[filters, offsets] = trial.case.layer.batch * trial.case.layer.pixels
    expected = np.broadcast_to(expected, trial.result_shape).astype(trial.case.layer.dtype)
    trial.expect_equal(trial(only), expected, what)


def accepts_any_layout(trial: Trial) -> None:
    """Read-only arrays, not contiguous or of negative stride, give the same result and stay as they were."""

    def backwards(array: Array) -> Array:
        view = array[::-1].copy()[::-1] if array.ndim < 2 else np.repeat(array[:, ::-1], 2, axis=1)[:, ::-2]
        view.flags.writeable = False
        return view

    operands = {name: None if array is None else backwards(array) for name, array in trial.integers.items()}
    trial.expect_equal(trial(operands), trial.integer_result, "strided, reversed, read-only operands")
    _expect_unchanged(operands, trial.integers)


def leaves_operands_alone(trial: Trial) -> None:
    """The operands are the same afterwards, and the result is memory of its own."""
    operands = trial.small_integers()
    result = trial(operands)
    _expect_unchanged(operands, trial.small_integers())
    for name, array in operands.items():
        if array is not None and np.shares_memory(result, array):
            raise Broken(f"its result shares memory with its operand {name}")


def repeats_to_the_bit(trial: Trial) -> None:
    """Two runs on the same Gaussian data give the same bits. Not asked of kernels with atomic additions."""
    if trial.deterministic:
        trial.expect_equal(trial(trial.gaussian), trial(trial.gaussian), "a second run")


def writes_all_and_only_its_result(trial: Trial) -> None:
    """A rung's launch overwrites a result full of NaN everywhere, and the memory around it nowhere."""
    layer, rung = trial.case.layer, trial.rung
    if rung is None or layer.is_empty:
        return
    operands = trial.integers
    arrays = kernel_operands(rung.op, operands, layer)
    fenced = [_Fenced(array) for array in arrays]
    result = _Fenced(np.full(layer.result_shape(rung.op), np.nan, layer.dtype))
    try:
        rung.build(layer, trial.tile)(*(fence.view for fence in fenced), result.view)
    except Exception as error:
        raise Broken(f"its launch raises {type(error).__name__}: {error}") from error
    written = result.check("the result").reshape(trial.result_shape)
    trial.expect_equal(written, trial.reference(operands), "into memory full of NaN")
    for number, (fence, array) in enumerate(zip(fenced, arrays, strict=True)):
        if not np.array_equal(fence.check(f"operand {number}"), array):
            raise Broken(f"the kernel changed its operand {number}")


def strides_over_few_blocks(trial: Trial) -> None:
    """A kernel that strides over its grid in y or z, for sizes past 65,535, does so with only 2 blocks too."""
    layer, rung = trial.case.layer, trial.rung
    if rung is None or layer.is_empty:
        return
    launch = rung.build(layer, trial.tile)
    if not isinstance(launch, Launch):
        return  # whatever stands in for one has no grid
    cut = _cut(launch)
    if cut.grid == launch.grid:
        return
    arrays = [to_device(array) for array in kernel_operands(rung.op, trial.integers, layer)]
    result = device_array(layer.result_shape(rung.op), layer.dtype)
    try:
        cut(*arrays, result)
    except Exception as error:
        raise Broken(f"its launch raises {type(error).__name__}: {error}") from error
    where = f"with grid {cut.grid} in place of {launch.grid}"
    trial.expect_equal(to_host(result).reshape(trial.result_shape), trial.reference(trial.integers), where)


def _cut(launch: Launch) -> Launch:
    """The launch with at most 2 blocks along those of y and z whose number the kernel asks for."""
    code = pairwise(dis.get_instructions(launch.kernel.function))
    asked = {second.argval for first, second in code if first.argval == "gridDim"}
    x, y, z = launch.grid
    return replace(launch, grid=(x, min(y, 2) if "y" in asked else y, min(z, 2) if "z" in asked else z))


def sums_the_bias_too(trial: Trial) -> None:
    """A rung that offers it sums grad_bias in the same pass: exactly on small integers, and grad_weight as well."""
    rung = trial.rung
    if rung is None or not rung.with_bias:
        return
    operands = trial.integers
    given = [operands[name] for name in OPERANDS[trial.op]]
    try:
        weight, bias = rung.run(*given, channels=trial.case.layer.channels, tile=trial.tile, bias=True)
    except Exception as error:
        raise Broken(f"with bias=True it raises {type(error).__name__}: {error}") from error
    trial.expect_equal(weight, trial.reference(operands), "grad_weight, with bias=True")
    maps = operands["grad_output"]
    expected = maps.sum(axis=(0, *range(2, maps.ndim)))  # (K,)
    if not np.array_equal(bias, expected):
        k = int(np.argmax(bias != expected))
        raise Broken(f"grad_bias[{k}] = {bias[k]}, expected {expected[k]}", filter_=k)


class _Fenced:
    """An array on the device between two fences of known numbers."""

    LENGTH = 64  # elements: keeps the array as aligned as an allocation

    def __init__(self, array: Array) -> None:
        self.shape, self.fence = array.shape, np.full(self.LENGTH, 12345, array.dtype)
        self.memory = to_device(np.concatenate([self.fence, array.ravel(), self.fence]))
        self.view = self.memory[self.LENGTH : self.LENGTH + array.size].reshape(array.shape)

    def check(self, name: str) -> Array:
        host = to_host(self.memory)
        before, inside, after = np.split(host, [self.LENGTH, host.size - self.LENGTH])
        for side, fence in (("before", before), ("after", after)):
            if not np.array_equal(fence, self.fence):
                raise Broken(f"the kernel wrote outside: memory {side} {name} changed")
        return inside.reshape(self.shape)


def _without_bias(operands: Operands) -> Operands:
    return {**operands, "bias": None} if "bias" in operands else operands


def _expect_unchanged(operands: Operands, originals: Operands) -> None:
    for name, array in operands.items():
        if array is not None and not np.array_equal(array, originals[name]):
            raise Broken(f"it changed its operand {name}")


def _keep_only(maps: Array, channel: int) -> None:
    kept = maps[:, channel].copy()
    maps[...] = 0
    maps[:, channel] = kept


def _along_axis_1(values: Array, shape: tuple[int, ...]) -> Array:
    return values.reshape(1, -1, *[1] * (len(shape) - 2))


# Where one of these breaks, the window may have been misread, and a picture of it helps.
ABOUT_WINDOWS: tuple[Property, ...] = (
    exact_on_integers,
    within_the_bound,
    local,
    rotates_with_channels,
    permutes_with_batch_and_pixels,
    linear,
    adjoint,
)

# A failure is named by the first of these that breaks. A callable that changes its operands would make every
# comparison after it meaningless, so that comes early; then the most telling.
PROPERTIES: tuple[Property, ...] = (
    returns_an_array,
    leaves_operands_alone,
    exact_on_integers,
    within_the_bound,
    local,
    rotates_with_channels,
    permutes_with_batch_and_pixels,
    linear,
    adjoint,
    accepts_any_layout,
    repeats_to_the_bit,
    writes_all_and_only_its_result,
    strides_over_few_blocks,
    sums_the_bias_too,
)
