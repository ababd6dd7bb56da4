"""Element-wise functions that NumPy lacks, compiled as NumPy ufuncs: the fused multiply-add above all.

`fma` rounds once. A product in float32 added in float64 and rounded back would round twice, and be wrong
for about one operand triple in 2**29; LLVM's own `fma` is exact, on processors without the instruction too.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import vectorize
from numba.core import types
from numba.extending import intrinsic


@intrinsic
def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """LLVM's fused multiply-add on three floats of one type."""
    if not (isinstance(a, types.Float) and a == b == c):
        return None

    def code(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = context.get_value_type(signature.return_type)
        name = f"llvm.fma.f{signature.return_type.bitwidth}"
        function = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(kind, [kind] * 3))
        return builder.call(function, args)

    return a(a, b, c), code


class _Elementwise:
    """A ufunc for float32 and one for float64, each compiled (or read from Numba's cache) when first needed.

    They are two and not one, so that which of them is there already cannot decide how operands are converted.
    """

    def __init__(self, function: Callable[..., Any], operands: int) -> None:
        self.function, self.operands = function, operands
        self.loops: dict[str, Any] = {}
        functools.update_wrapper(self, function)

    def __call__(self, *values: Any) -> Any:
        kind = values[0].dtype.name
        loop = self.loops.get(kind)
        if loop is None:
            signature = f"{kind}({','.join([kind] * self.operands)})"
            loop = self.loops[kind] = vectorize([signature], cache=True)(self.function)
        return loop(*values)


def _fused(a: Any, b: Any, c: Any) -> Any:
    """a*b + c, rounded once to nearest even."""
    return _fma(a, b, c)


def _minimum(a: Any, b: Any) -> Any:
    """PTX min: the number if one operand is NaN, and −0 < +0."""
    if a != a:
        return b
    if b != b:
        return a
    if a == b:
        return a if math.copysign(1.0, a) < 0 else b
    return a if a < b else b


def _maximum(a: Any, b: Any) -> Any:
    """PTX max: the number if one operand is NaN, and −0 < +0."""
    if a != a:
        return b
    if b != b:
        return a
    if a == b:
        return b if math.copysign(1.0, a) < 0 else a
    return a if a > b else b


fma = _Elementwise(_fused, 3)
minimum = _Elementwise(_minimum, 2)
maximum = _Elementwise(_maximum, 2)
