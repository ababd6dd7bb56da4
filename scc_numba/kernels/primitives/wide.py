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

FOUR = ir.VectorType(FLOAT, 4)
ALIGNED = 16  # bytes


@intrinsic
def load4(typing: Any, array: Any, i: Any) -> Any:
    """`load4(array, i)`: elements i to i + 3 as a tuple. array: float32, shared or a flat pointer; i % 4 == 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = address(context, builder, array, args[0], i, args[1])
        loaded = builder.load(builder.bitcast(pointer, FOUR.as_pointer()), align=ALIGNED)
        parts = [builder.extract_element(loaded, ir.Constant(WORD, n)) for n in range(4)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(types.float32, 4)(array, i), generate


@intrinsic
def store4(typing: Any, array: Any, i: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    """`store4(array, i, a, b, c, d)`: write elements i to i + 3. As for `load4`, i % 4 == 0."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = address(context, builder, array, args[0], i, args[1])
        packed = ir.Constant(FOUR, ir.Undefined)
        for n in range(4):
            packed = builder.insert_element(packed, args[2 + n], ir.Constant(WORD, n))
        builder.store(packed, builder.bitcast(pointer, FOUR.as_pointer()), align=ALIGNED)
        return context.get_dummy_value()

    return types.void(array, i, *[types.float32] * 4), generate
