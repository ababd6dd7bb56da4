"""128-bit access: four neighbouring float32 by one instruction (LDG.128, STG.128, LDS.128, STS.128).

             i    i+1   i+2   i+3        i a multiple of 4: the address is aligned to 16 bytes
    array  [ a  |  b  |  c  |  d  ]      a warp moves 512 bytes, in 4 wavefronts of 8 lanes each

The compiler does not join loads from global memory by itself: it cannot know that the address is aligned.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

from scc_numba.kernels.primitives.llvm import FLOAT, WORD, address

TWO, FOUR, TWO_WORDS = ir.VectorType(FLOAT, 2), ir.VectorType(FLOAT, 4), ir.VectorType(WORD, 2)
NUMBA_TYPES = {FLOAT: types.float32, WORD: types.uint32}
BYTES = 4  # of an element


def _load(array: Any, i: Any, kind: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = address(context, builder, array, args[0], i, args[1])
        loaded = builder.load(builder.bitcast(pointer, kind.as_pointer()), align=BYTES * kind.count)
        parts = [builder.extract_element(loaded, ir.Constant(WORD, n)) for n in range(kind.count)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(NUMBA_TYPES[kind.element], kind.count)(array, i), generate


def _store(array: Any, i: Any, kind: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = address(context, builder, array, args[0], i, args[1])
        packed = ir.Constant(kind, ir.Undefined)
        for n, value in enumerate(args[2:]):
            packed = builder.insert_element(packed, value, ir.Constant(WORD, n))
        builder.store(packed, builder.bitcast(pointer, kind.as_pointer()), align=BYTES * kind.count)
        return context.get_dummy_value()

    return types.void(array, i, *[NUMBA_TYPES[kind.element]] * kind.count), generate


@intrinsic
def load2(typing: Any, array: Any, i: Any) -> Any:
    """`load2(array, i)`: elements i and i + 1 as a tuple, by 64 bits at once; i % 2 == 0."""
    return _load(array, i, TWO)


@intrinsic
def load2_words(typing: Any, array: Any, i: Any) -> Any:
    """`load2_words(array, i)`: elements i to i + 3 of 16 bits as two uint32, lower halves first; i % 4 == 0."""
    return _load(array, i, TWO_WORDS)


@intrinsic
def load4(typing: Any, array: Any, i: Any) -> Any:
    """`load4(array, i)`: elements i to i + 3 as a tuple. array: float32, shared or a flat pointer; i % 4 == 0."""
    return _load(array, i, FOUR)


@intrinsic
def store2(typing: Any, array: Any, i: Any, a: Any, b: Any) -> Any:
    """`store2(array, i, a, b)`: write elements i and i + 1; i % 2 == 0."""
    return _store(array, i, TWO)


@intrinsic
def store2_words(typing: Any, array: Any, i: Any, a: Any, b: Any) -> Any:
    """`store2_words(array, i, a, b)`: write elements i to i + 3 of 16 bits from two uint32; i % 4 == 0."""
    return _store(array, i, TWO_WORDS)


@intrinsic
def store4(typing: Any, array: Any, i: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """`store4(array, i, a, b, c, d)`: write elements i to i + 3; i % 4 == 0."""
    return _store(array, i, FOUR)
