"""What the primitives share: addresses of elements, and instructions written as PTX."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.cuda import types

FLOAT, HALF_WORD, WORD, LONG, NOTHING = (
    ir.FloatType(),
    ir.IntType(16),
    ir.IntType(32),
    ir.IntType(64),
    ir.VoidType(),
)
GLOBAL_SPACE, SHARED_SPACE = 1, 3  # LLVM's numbers for these memories


def address(context: Any, builder: Any, kind: Any, array: Any, index_kind: Any, index: Any) -> Any:
    """LLVM pointer to an element of an array or a flat pointer."""
    base = (
        array if isinstance(kind, types.CPointer) else context.make_array(kind)(context, builder, value=array).data
    )
    if index_kind.bitwidth < LONG.width:
        index = builder.sext(index, LONG) if index_kind.signed else builder.zext(index, LONG)
    return builder.gep(base, [index])


def shared_address(builder: Any, pointer: Any) -> Any:
    """The 32-bit address inside shared memory that PTX's shared instructions take."""
    return builder.ptrtoint(builder.addrspacecast(pointer, pointer.type.pointee.as_pointer(SHARED_SPACE)), WORD)


def instruction(
    builder: Any, result: Any, text: str, constraints: str, values: list[Any], *, effect: bool = True
) -> Any:
    """One PTX instruction; `effect` keeps it where it stands though its result be unused."""
    kind = ir.FunctionType(result, [value.type for value in values])
    return builder.call(ir.InlineAsm(kind, text, constraints, side_effect=effect), values)


def compute_capability() -> tuple[int, int]:
    """What is being compiled for, (8, 0) or the like; known while Numba compiles."""
    from numba.cuda.core import targetconfig

    major, minor = targetconfig.ConfigStack().top().compute_capability[:2]
    return major, minor
