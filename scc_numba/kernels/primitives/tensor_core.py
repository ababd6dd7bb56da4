"""mma.sync: a warp multiplies two small matrices, D = A·B + C, on the tensor cores.

Who holds what, for m16n8k8 in tf32. g = lane // 4 counts rows of A and columns of B, q = lane % 4 the rest:

    A (16 × 8)   a0: row g,     column q         B (8 × 8)   b0: row q,     column g
                 a1: row g + 8, column q                     b1: row q + 4, column g
                 a2: row g,     column q + 4
                 a3: row g + 8, column q + 4     C, D (16 × 8)  c0, c1: row g,     columns 2q, 2q + 1
                                                                c2, c3: row g + 8, columns 2q, 2q + 1

and for m16n8k16 in float16 and bfloat16, of which a register holds two, the one of lower k in its lower half:

    A (16 × 16)  a0: row g,     columns 2q, 2q + 1           B (16 × 8)   b0: rows 2q, 2q + 1,         column g
                 a1: row g + 8, columns 2q, 2q + 1                        b1: rows 2q + 8, 2q + 9,     column g
                 a2: row g,     columns 2q + 8, 2q + 9
                 a3: row g + 8, columns 2q + 8, 2q + 9       C, D (16 × 8) as above

tf32 keeps 10 bits of a float32's 23; the products are summed in float32. From sm_80 on.
Source: PTX ISA, "Matrix Fragments for mma.m16n8k8" and "… for mma.m16n8k16 with floating point type".
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

from scc_numba.kernels.primitives.llvm import FLOAT, WORD, instruction

FOUR_FLOATS = ir.LiteralStructType([FLOAT] * 4)


@intrinsic
def round_to_tf32(typing: Any, value: Any) -> Any:
    """`round_to_tf32(value)`: the float32 rounded to nearest tf32, ties away from zero, as the bits mma takes."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return instruction(builder, WORD, "cvt.rna.tf32.f32 $0, $1;", "=r,f", list(args), effect=False)

    return types.uint32(types.float32), generate


def _mma(text: str) -> Any:
    """Types and code of an mma with 4 float32 to add to, 4 words of A and 2 of B."""
    F, W = types.float32, types.uint32

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        operands = f"{text} {{$0,$1,$2,$3}}, {{$4,$5,$6,$7}}, {{$8,$9}}, {{$10,$11,$12,$13}};"
        constraints = "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f"
        result = instruction(builder, FOUR_FLOATS, operands, constraints, [*args[4:], *args[:4]])
        parts = [builder.extract_value(result, n) for n in range(4)]
        return context.make_tuple(builder, signature.return_type, parts)

    return types.UniTuple(F, 4)(F, F, F, F, W, W, W, W, W, W), generate


@intrinsic
def mma_tf32(
    typing: Any, c0: Any, c1: Any, c2: Any, c3: Any, a0: Any, a1: Any, a2: Any, a3: Any, b0: Any, b1: Any
) -> Any:
    """`mma_tf32(c0, …, c3, a0, …, a3, b0, b1)`: (d0, …, d3), this lane's part of A·B + C."""
    return _mma("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32")


@intrinsic
def mma_f16(
    typing: Any, c0: Any, c1: Any, c2: Any, c3: Any, a0: Any, a1: Any, a2: Any, a3: Any, b0: Any, b1: Any
) -> Any:
    """`mma_f16(c0, …, c3, a0, …, a3, b0, b1)`: the same for m16n8k16 in float16, two to a register of A and B."""
    return _mma("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32")


@intrinsic
def mma_bf16(
    typing: Any, c0: Any, c1: Any, c2: Any, c3: Any, a0: Any, a1: Any, a2: Any, a3: Any, b0: Any, b1: Any
) -> Any:
    """`mma_bf16(c0, …, c3, a0, …, a3, b0, b1)`: the same in bfloat16."""
    return _mma("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32")
