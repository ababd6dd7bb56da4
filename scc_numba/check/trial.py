"""One callable on one drawn case: operands of several kinds, and the results the properties compare."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np

from scc_numba.check.strategies import Case
from scc_numba.check.tolerance import accumulator, finfo, reduction_length, reference
from scc_numba.device import LaunchError, NoBackend
from scc_numba.kernels import Op, Rung, Tile

Array = np.ndarray[Any, Any]
Operands = dict[str, Any]
LARGEST_INTEGER = 3  # of those that operands are drawn from


class Broken(AssertionError):
    """A property that does not hold.

    Attributes:
        filter_: the filter k where it shows, if there is one.
        pixel: the pixel where it shows, if there is one.
    """

    def __init__(self, message: str, *, filter_: int | None = None, pixel: int | None = None) -> None:
        super().__init__(message)
        self.filter_ = filter_
        self.pixel = pixel


class Trial:
    """A callable, an operation and a case.

    Attributes:
        op: what the callable should compute.
        run: called as `Rung.run` is.
        rung: the rung, where the callable is one.
        case: the drawn layer.
        deterministic: whether two runs must give the same bits.
    """

    def __init__(self, op: Op, run: Callable[..., Any], rung: Rung | None, case: Case, deterministic: bool) -> None:
        self.op, self.run, self.rung, self.case, self.deterministic = op, run, rung, case, deterministic

    @property
    def tile(self) -> Tile | None:
        """The tile that the case chose, where the callable offers some."""
        if self.rung is None:
            return None
        offered = self.rung.tiles(self.case.layer)
        return offered[self.case.tile % len(offered)]

    def __call__(self, operands: Operands) -> Array:
        """Run on operands and look at what comes back.

        Raises:
            Broken: it raises, or returns something of another kind, shape or dtype.
        """
        channels = self.case.layer.channels
        named = dict(operands)
        positional = [named.pop(name) for name in list(named) if name != "bias"]
        if named.get("bias") is None:
            named = {}
        if self.rung is not None:
            named["tile"] = self.tile
        try:
            result = self.run(*positional, channels=channels, **named)
        except NoBackend:
            raise  # not the callable's fault
        except (Exception, SystemExit) as error:
            raise Broken(f"it raises {type(error).__name__}: {error}{_place_of(error)}") from error
        if not isinstance(result, np.ndarray):
            raise Broken(f"it returns a {type(result).__name__}, expected a NumPy array")
        expected = self.result_shape
        if result.shape != expected or result.dtype != self.case.layer.dtype:
            raise Broken(
                f"it returns shape {result.shape} of {result.dtype}, expected {expected} of {self.case.layer.dtype}"
            )
        return result

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape of the result, with the image's own dims."""
        shape = self.case.layer.result_shape(self.op)
        return shape if self.op == "grad_weight" else (*shape[:2], *self.case.spatial)

    def operands(self, draw: Callable[[tuple[int, ...]], Array]) -> Operands:
        """The operands of the operation, each made by `draw(shape)` and cast to the case's dtype."""
        layer, spatial = self.case.layer, self.case.spatial
        shapes = {
            "x": (*layer.input_shape[:2], *spatial),
            "grad_output": (*layer.output_shape[:2], *spatial),
            "weight": layer.weight_shape,
            "bias": layer.output_shape[1:2],
        }
        operands: Operands = {name: draw(shapes[name]).astype(layer.dtype) for name in OPERANDS[self.op]}
        if self.op == "forward":
            operands["bias"] = draw(shapes["bias"]).astype(layer.dtype) if self.case.bias else None
        return operands

    def generator(self, purpose: int) -> np.random.Generator:
        """Random numbers for one purpose: the same for every run of the case."""
        return np.random.default_rng((self.case.seed, purpose))

    def small_integers(self, purpose: int = 0) -> Operands:
        """Operands between −3 and 3: every sum is exact in float32, in whatever order it is taken."""
        draw = self.generator(purpose)
        return self.operands(lambda shape: draw.integers(-LARGEST_INTEGER, LARGEST_INTEGER + 1, shape))

    def few_integers(self, purpose: int = 0) -> Operands:
        """Small integers without a bias, most of them zero if need be: every *result* is exact in the case's dtype.

        The results of two of them, added, are too. A product of two is at most 2·3·3 in size, and all integers up
        to 2 ^ (bits of the significand) are exact; so the sums must not have more terms than one fits in the other.
        Of longer ones some are kept: channels of x, filters of grad_output, or the pixels that a weight sums over.
        """
        operands = self.small_integers(purpose)
        if self.op == "forward":
            operands["bias"] = None
        layer, name = self.case.layer, OPERANDS[self.op][0]
        fit = 2 ** (finfo(layer.dtype).nmant + 1) // (2 * LARGEST_INTEGER**2)
        if np.max(reduction_length(self.op, operands, layer.channels), initial=0) > fit:
            maps = operands[name].reshape(*operands[name].shape[:2], layer.pixels)
            summed = maps.shape[:1] + maps.shape[2:] if self.op == "grad_weight" else maps.shape[1:2]
            kept = np.zeros(summed, bool)
            kept.flat[self.generator(6).permutation(kept.size)[:fit]] = True  # the same for every purpose
            kept = kept[:, None, :] if self.op == "grad_weight" else kept[:, None]
            operands[name] = np.where(kept, maps, np.zeros_like(maps)).reshape(operands[name].shape)
        return operands

    @cached_property
    def integers(self) -> Operands:
        """One set of small integers, shared by the properties that need no second."""
        return self.small_integers()

    @cached_property
    def integer_result(self) -> Array:
        """The callable's result on `integers`."""
        return self(self.integers)

    @cached_property
    def gaussian(self) -> Operands:
        """Operands from the standard normal distribution."""
        draw = self.generator(1)
        return self.operands(draw.standard_normal)

    def reference(self, operands: Operands) -> Array:
        """What the reference makes of the operands: accumulated as a kernel should, and rounded to their dtype."""
        dtype = self.case.layer.dtype
        wide = {n: None if array is None else array.astype(accumulator(dtype)) for n, array in operands.items()}
        return reference(self.op, wide, self.case.layer.channels).astype(dtype)

    def expect_equal(self, result: Array, expected: Array, what: str) -> None:
        """Raise `Broken` with the first difference, unless two results are equal (NaN equals nothing)."""
        self.expect(result == expected, result, expected, what)

    def expect(self, holds: Array, result: Array, expected: Array, what: str) -> None:
        """Raise `Broken` with the first element where `holds` is False."""
        if np.all(holds):
            return
        wrong = np.argwhere(~holds)
        index = tuple(int(i) for i in wrong[0])
        letters = {"forward": "n,k,", "grad_input": "n,c,", "grad_weight": "k,j"}[self.op]
        where = f"[{letters}{'pixel' if letters.endswith(',') else ''}] = [{', '.join(map(str, index))}]"
        raise Broken(
            f"{what}: {len(wrong)} of {result.size} elements differ; first at {where}: "
            f"got {result[index]}, expected {expected[index]}"
            + (" (NaN is what memory holds that was never written)" if np.isnan(result[index]) else ""),
            filter_=index[1] if self.op == "forward" else index[0] if self.op == "grad_weight" else None,
            pixel=_flat_pixel(index[2:], self.case.spatial) if self.op != "grad_weight" else None,
        )


# The operands in which each operation is linear, in the order that `run` takes them.
OPERANDS: dict[Op, tuple[str, str]] = {
    "forward": ("x", "weight"),
    "grad_input": ("grad_output", "weight"),
    "grad_weight": ("grad_output", "x"),
}


def _place_of(error: BaseException) -> str:
    if isinstance(error, LaunchError):  # says itself where
        return ""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f" ({os.path.basename(last.filename)}:{last.lineno})"


def _flat_pixel(index: tuple[int, ...], spatial: tuple[int, ...]) -> int:
    return int(np.ravel_multi_index(index, spatial)) if spatial else 0
