"""float16 and bfloat16: kernels hold them as words, widen what they load to float32, and narrow what they store.

               sign  exponent  mantissa
    float32      1       8        23
    float16      1       5        10      half the exponents: from 6·10⁻⁸ to 65,504
    bfloat16     1       8         7      float32 without its lower half

Widening is exact; narrowing rounds to nearest, ties to even. The functions for a number type are picked by its name
when a kernel is made; those for float32 do nothing.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

from scc_numba.kernels.primitives.llvm import FLOAT, HALF_WORD, WORD, instruction

HALF = ir.HalfType()
NAN = 0x7FFF  # of bfloat16


@intrinsic
def _same(typing: Any, value: Any) -> Any:
    return value(value), lambda context, builder, signature, args: args[0]


@intrinsic
def _widen_float16(typing: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fpext(builder.bitcast(args[0], HALF), FLOAT)

    return types.float32(types.uint16), generate


@intrinsic
def _widen_bfloat16(typing: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits = builder.shl(builder.zext(args[0], WORD), ir.Constant(WORD, 16))
        return builder.bitcast(bits, FLOAT)

    return types.float32(types.uint16), generate


@intrinsic
def _narrow_to_float16(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(builder.fptrunc(args[0], HALF), HALF_WORD)

    return types.uint16(types.float32), generate


@intrinsic
def _narrow_to_bfloat16(typing: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        bits, sixteen = builder.bitcast(args[0], WORD), ir.Constant(WORD, 16)
        odd = builder.and_(builder.lshr(bits, sixteen), ir.Constant(WORD, 1))
        # Carries into the upper half from just above a tie on, and from a tie if the upper half is odd.
        carried = builder.add(bits, builder.add(odd, ir.Constant(WORD, 0x7FFF)))
        rounded = builder.trunc(builder.lshr(carried, sixteen), HALF_WORD)
        return builder.select(builder.fcmp_unordered("uno", args[0], args[0]), ir.Constant(HALF_WORD, NAN), rounded)

    return types.uint16(types.float32), generate


def _pair(number: str) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        text = f"cvt.rn.{number}x2.f32 $0, $2, $1;"  # PTX names the upper half first
        return instruction(builder, WORD, text, "=r,f,f", list(args), effect=False)

    return types.uint32(types.float32, types.float32), generate


@intrinsic
def _narrow_pair_to_float16(typing: Any, low: Any, high: Any) -> Any:
    return _pair("f16")


@intrinsic
def _narrow_pair_to_bfloat16(typing: Any, low: Any, high: Any) -> Any:
    return _pair("bf16")


def _byte_permutation(selector: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return instruction(builder, WORD, f"prmt.b32 $0, $1, $2, {selector};", "=r,r,r", list(args), effect=False)

    return types.uint32(types.uint32, types.uint32), generate


@intrinsic
def lower_halves(typing: Any, a: Any, b: Any) -> Any:
    """`lower_halves(a, b)`: the lower 16 bits of a, and above them those of b."""
    return _byte_permutation(0x5410)


@intrinsic
def upper_halves(typing: Any, a: Any, b: Any) -> Any:
    """`upper_halves(a, b)`: the upper 16 bits of a, and above them those of b."""
    return _byte_permutation(0x7632)


WIDEN = {"float32": _same, "float16": _widen_float16, "bfloat16": _widen_bfloat16}
"""By the name of a number type: the function `widen(word)` from its word, uint16, to float32."""

NARROW = {"float32": _same, "float16": _narrow_to_float16, "bfloat16": _narrow_to_bfloat16}
"""By the name of a number type: the function `narrow(value)` from float32 to its word."""

NARROW_PAIR = {"float16": _narrow_pair_to_float16, "bfloat16": _narrow_pair_to_bfloat16}
"""By name: `narrow_pair(low, high)`, two float32 as the halves of a word of 32 bits. From sm_80 on."""
