"""Addresses that a loop starts from: what stays the same in it is added once.

                        in the source          as compiled, in the loop
    array[i + j]        i + j, then load       add i, shift by 2, add the address of array: of 64 bits each
    p = pointer_to(array, i); p[j]             one IMAD.WIDE: p + 4 · j

The compiler would turn the second into the first: it puts a constant addition off until something else is added.
"""

from __future__ import annotations

from typing import Any

from numba.cuda.extending import intrinsic

from scc_numba.kernels.primitives.llvm import GLOBAL_SPACE, LONG, address, instruction


@intrinsic
def pointer_to(typing: Any, array: Any, i: Any) -> Any:
    """`pointer_to(array, i)`: the flat pointer into global memory whose element 0 is array[i]."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = address(context, builder, array, args[0], i, args[1])
        # Written as PTX, it is a number whose origin the compiler does not know.
        hidden = instruction(
            builder, LONG, "mov.b64 $0, $1;", "=l,l", [builder.ptrtoint(pointer, LONG)], effect=False
        )
        in_global = builder.inttoptr(hidden, pointer.type.pointee.as_pointer(GLOBAL_SPACE))
        return builder.addrspacecast(in_global, pointer.type)

    return array(array, i), generate
