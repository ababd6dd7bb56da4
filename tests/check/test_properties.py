"""Each property catches, by itself, a mistake of the kind it is there for; and the reference breaks none."""

from dataclasses import replace

import numpy as np
import pytest
import scc_reference
from hypothesis import HealthCheck, Phase, given, seed, settings
from scc_reference import SlidingChannels

from scc_numba.check import check, errors_in_bounds, properties
from scc_numba.check.properties import PROPERTIES
from scc_numba.check.strategies import Case, cases
from scc_numba.check.tolerance import finfo, reference
from scc_numba.check.trial import LARGEST_INTEGER, OPERANDS, Broken, Trial
from scc_numba.device import backend
from scc_numba.device.number import SIXTEEN_BITS, in_numpy
from scc_numba.kernels import OPS, Layer, find_rung


def first_broken(holds, op, run, deterministic=True, layers=60, dtypes=("float32", "float64")):
    """What the property says of the first drawn layer on which it breaks, or None."""
    found = []

    @seed(0)
    @settings(
        max_examples=layers,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(dtypes))
    def search(case):
        if not found:
            try:
                holds(Trial(op, run, None, case, deterministic))
            except Broken as broken:
                found.append(str(broken))

    search()
    return found[0] if found else None


def right(op):
    return getattr(scc_reference, f"scc_{op}")


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_the_reference_breaks_none(op, holds):
    assert first_broken(holds, op, right(op)) is None


def one_window_too_far(op):
    """Every filter reads the window of the next."""

    def run(*operands, channels, **bias):
        shift = {"forward": (0, "x"), "grad_input": (None, "grad_input"), "grad_weight": (1, "x")}[op][0]
        operands = list(operands)
        if shift is not None:
            operands[shift] = np.roll(operands[shift], -channels.step, axis=1)
        result = right(op)(*operands, channels=channels, **bias)
        return np.roll(result, channels.step, axis=1) if op == "grad_input" else result

    return run


def last_pixel_forgotten(op):
    def run(*operands, channels, **bias):
        if op == "grad_weight":
            operands = (operands[0].copy(), operands[1])
            if operands[0].size:
                operands[0].reshape(*operands[0].shape[:2], -1)[:, :, -1] = 0
            return right(op)(*operands, channels=channels)
        result = right(op)(*operands, channels=channels, **bias)
        if result.size:
            result.reshape(*result.shape[:2], -1)[:, :, -1] = 0
        return result

    return run


def first_filter_doubled(op):
    """Not equivariant: filter 0 (or channel 0) counts twice."""

    def run(*operands, channels, **bias):
        result = right(op)(*operands, channels=channels, **bias)
        result[(slice(None), 0) if op != "grad_weight" else 0] *= 2
        return result

    return run


def squared(op):
    def run(*operands, channels, **bias):
        return right(op)(operands[0] ** 2, operands[1], channels=channels, **bias)

    return run


def in_half_precision(op):
    def run(*operands, channels, **bias):
        half = [operand.astype(np.float16) for operand in operands]
        bias = {name: value.astype(np.float16) for name, value in bias.items()}
        return right(op)(*half, channels=channels, **bias).astype(operands[0].dtype)

    return run


def not_finite(op):
    def run(*operands, channels, **bias):
        result = right(op)(*operands, channels=channels, **bias)
        if result.size:
            result.flat[-1] = np.nan
        return result

    return run


def counts_its_calls(op):
    calls = 0

    def run(*operands, channels, **bias):
        nonlocal calls
        calls += 1
        return right(op)(*operands, channels=channels, **bias) * operands[0].dtype.type(1 + calls % 2)

    return run


def changes_its_first_operand(op):
    def run(*operands, channels, **bias):
        result = right(op)(*operands, channels=channels, **bias)
        operands[0][...] += 1
        return result

    return run


def ignores_strides(op):
    def run(*operands, channels, **bias):
        # as a kernel does that is handed the address where the memory begins
        memory = [operand if operand.base is None else operand.base for operand in operands]
        flat = [m.ravel()[: operand.size] for m, operand in zip(memory, operands, strict=True)]
        shaped = [f.reshape(operand.shape) for f, operand in zip(flat, operands, strict=True)]
        return right(op)(*shaped, channels=channels, **bias)

    return run


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("holds", "mistake"),
    [
        (properties.exact_on_integers, one_window_too_far),
        (properties.exact_on_integers, last_pixel_forgotten),
        (properties.exact_on_integers, not_finite),
        (properties.within_the_bound, one_window_too_far),
        (properties.within_the_bound, in_half_precision),
        (properties.within_the_bound, not_finite),
        (properties.local, one_window_too_far),
        (properties.rotates_with_channels, first_filter_doubled),
        (properties.permutes_with_batch_and_pixels, last_pixel_forgotten),
        (properties.linear, squared),
        (properties.adjoint, one_window_too_far),
        (properties.adjoint, squared),
        (properties.leaves_operands_alone, changes_its_first_operand),
        (properties.accepts_any_layout, ignores_strides),
        (properties.repeats_to_the_bit, counts_its_calls),
    ],
    ids=lambda value: value.__name__,
)
def test_each_catches_its_kind_by_itself(op, holds, mistake):
    assert first_broken(holds, op, mistake(op)) is not None


def rounded_once(op, run=None):
    """Right for numbers of 16 bits: accumulated in float32, and rounded to them at the end."""
    run = run or right(op)

    def rounds(*operands, channels, **bias):
        wide = [operand.astype(np.float32) for operand in operands]
        bias = {name: value.astype(np.float32) for name, value in bias.items()}
        return run(*wide, channels=channels, **bias).astype(operands[0].dtype)

    return rounds


def accumulated_in_16_bits(op):
    """Every sum is rounded to the operands' type after each term."""

    def run(*operands, channels, **bias):
        def part(c):
            one = {"forward": 0, "grad_input": 0, "grad_weight": 1}[op]
            kept = [operand if i != one else np.zeros_like(operand) for i, operand in enumerate(operands)]
            kept[one][:, c] = operands[one][:, c]
            return rounded_once(op)(*kept, channels=channels)

        if op == "grad_weight":  # image by image, pixel by pixel
            total = 0
            flat = [operand.reshape(*operand.shape[:2], -1) for operand in operands]
            for n, p in np.ndindex(flat[0].shape[0], flat[0].shape[2]):
                total = total + rounded_once(op)(*(f[n : n + 1, :, p : p + 1] for f in flat), channels=channels)
            return total if np.ndim(total) else rounded_once(op)(*operands, channels=channels)
        total = part(0)
        for c in range(1, operands[0].shape[1]):
            total = total + part(c)
        return total if not bias else total + bias["bias"].reshape(-1, *[1] * (total.ndim - 2))

    return run


def cut_off(op):
    """The float32 sum loses its lower bits, instead of being rounded."""

    def run(*operands, channels, **bias):
        wide = [operand.astype(np.float32) for operand in operands]
        bias = {name: value.astype(np.float32) for name, value in bias.items()}
        sums = right(op)(*wide, channels=channels, **bias)
        dtype = operands[0].dtype
        rounded = sums.astype(dtype)
        too_far = np.abs(rounded.astype(np.float32)) > np.abs(sums)
        towards_zero = rounded.view(np.uint16) - too_far.astype(np.uint16)
        return towards_zero.view(dtype)

    return run


each_16_bit_type = pytest.mark.parametrize("dtype", in_numpy(SIXTEEN_BITS))


@each_16_bit_type
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("holds", PROPERTIES, ids=lambda holds: holds.__name__)
def test_sums_rounded_once_to_16_bits_break_none(op, holds, dtype):
    assert first_broken(holds, op, rounded_once(op), dtypes=[dtype]) is None


@each_16_bit_type
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize(
    ("holds", "mistake"),
    [
        (properties.exact_on_integers, one_window_too_far),
        (properties.exact_on_integers, last_pixel_forgotten),
        (properties.exact_on_integers, not_finite),
        (properties.within_the_bound, one_window_too_far),
        (properties.within_the_bound, last_pixel_forgotten),
        (properties.within_the_bound, not_finite),
        (properties.local, one_window_too_far),
        (properties.rotates_with_channels, first_filter_doubled),
        (properties.permutes_with_batch_and_pixels, last_pixel_forgotten),
        (properties.linear, squared),
        (properties.adjoint, one_window_too_far),
        (properties.adjoint, squared),
        (properties.leaves_operands_alone, changes_its_first_operand),
        (properties.accepts_any_layout, ignores_strides),
        (properties.repeats_to_the_bit, counts_its_calls),
    ],
    ids=lambda value: value.__name__,
)
def test_each_catches_its_kind_in_16_bits(op, holds, mistake, dtype):
    # the operands themselves reach those three; the others compute in float32, as they should
    own = (changes_its_first_operand, ignores_strides, counts_its_calls)
    run = mistake(op) if mistake in own else rounded_once(op, mistake(op))
    assert first_broken(holds, op, run, dtypes=[dtype]) is not None


@each_16_bit_type
@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("mistake", [accumulated_in_16_bits, cut_off], ids=lambda value: value.__name__)
def test_sums_in_16_bits_are_too_coarse(op, mistake, dtype):
    assert "times the bound" in first_broken(properties.within_the_bound, op, mistake(op), dtypes=[dtype])


@each_16_bit_type
@pytest.mark.parametrize("op", OPS)
def test_few_integers_have_exact_results(op, dtype):
    case = Case(Layer(SlidingChannels(48, 200, 2, 0.5), 5, 300, dtype), (300,), False, 0, 0)
    trial = Trial(op, right(op), None, case, True)
    a, b = trial.few_integers(), trial.few_integers(2)
    first, second = OPERANDS[op]
    largest = {**a, first: 2 * LARGEST_INTEGER * (a[first] != 0), second: np.full(a[second].shape, LARGEST_INTEGER)}
    wide = {name: None if array is None else array.astype(float) for name, array in largest.items()}
    assert 0 < reference(op, wide, case.layer.channels).max() <= 2 ** (finfo(case.layer.dtype).nmant + 1)
    both = {**a, first: a[first] + b[first]}
    assert np.array_equal(trial.reference(both), trial.reference(a) + trial.reference({**a, first: b[first]}))
    assert np.count_nonzero(a[second]) > 0.7 * a[second].size


@pytest.mark.parametrize("mistake", [lambda y: y[:-1], lambda y: y.astype(np.float16), lambda y: y.tolist()])
def test_another_shape_dtype_or_kind_is_named(mistake):
    def run(x, weight, bias=None, *, channels):
        return mistake(scc_reference.scc_forward(x, weight, bias, channels=channels))

    assert "it returns" in first_broken(properties.returns_an_array, "forward", run)


def test_what_it_raises_is_named():
    def run(x, weight, bias=None, *, channels):
        raise KeyError("oops")

    assert "it raises KeyError: 'oops'" in first_broken(properties.returns_an_array, "forward", run)


def test_the_bound_is_the_narrow_one():
    # off by 1.5 of the narrow bound, where the one for any data is at least twice as wide
    def run(x, weight, bias=None, *, channels):
        operands = {"x": x, "weight": weight, "bias": bias}
        wide = {name: None if a is None else a.astype(np.float64) for name, a in operands.items()}
        y = scc_reference.scc_forward(**wide, channels=channels)
        if channels.group_width < 8 or x.dtype != np.float32 or not (x % 1).any():
            return y.astype(x.dtype)
        unit = errors_in_bounds(y + 1, "forward", operands, channels, zero_mean=True) * 2.0**-53 * 2.0**24
        return (y + 1.5 / unit).astype(x.dtype)

    assert "times the bound" in first_broken(properties.within_the_bound, "forward", run, layers=300)


def fake_rung(act):
    """F0, but with a launch that computes on the host and then does something more to the arrays."""
    right_rung = find_rung("f0")

    def build(layer, tile=None):
        def launch(x, weight, bias, y, stream=None):
            y[...] = scc_reference.scc_forward(*map(np.asarray, (x, weight, bias)), channels=layer.channels)
            act(x, weight, bias, y)

        return launch

    return replace(right_rung, build=build)


def nothing_more(x, weight, bias, y):
    pass


def one_element_never_written(x, weight, bias, y):
    y[..., -1] = np.nan


def beyond_the_end(x, weight, bias, y):
    if y.base is not None and y.base.ndim == 1:  # a view between fences
        y.base[-64] = 1


def before_the_start(x, weight, bias, y):
    if y.base is not None and y.base.ndim == 1:
        y.base[63] = 1


def changed_weight(x, weight, bias, y):
    weight[...] += 1


@pytest.mark.skipif(backend().name == "gpu", reason="reaches behind views, as only host memory allows")
@pytest.mark.parametrize(
    ("act", "said"),
    [
        (nothing_more, None),
        (one_element_never_written, "into memory full of NaN"),
        (beyond_the_end, "memory after the result changed"),
        (before_the_start, "memory before the result changed"),
        (changed_weight, "changed its operand 1"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_fences_and_nan(act, said):
    rung = fake_rung(act)
    case = Case(Layer(SlidingChannels(4, 3, 2, 0.5), 1, 5, np.dtype(np.float32)), (5,), True, 0, 0)
    trial = Trial("forward", rung.run, rung, case, deterministic=True)
    if said is None:
        properties.writes_all_and_only_its_result(trial)
    else:
        with pytest.raises(Broken, match=said):
            properties.writes_all_and_only_its_result(trial)


def test_a_rung_that_calls_itself_deterministic_is_held_to_it():
    calls = 0

    def every_second_time_another_bit(x, weight, bias, y):
        nonlocal calls
        calls += 1
        if (np.asarray(x) % 1).any() and calls % 2:
            y[...] = np.nextafter(y, np.inf)

    result = check(fake_rung(every_second_time_another_bit), "forward", max_examples=40)
    assert result.failure.property == "repeats_to_the_bit"
    relaxed = replace(fake_rung(every_second_time_another_bit), deterministic=False)
    assert check(relaxed, "forward", max_examples=40).passed
