"""Atomic addition behind a flat pointer; `cuda.atomic.add` of Numba takes arrays only."""

from __future__ import annotations

from typing import Any

from numba.cuda import types
from numba.cuda.extending import intrinsic

from scc_numba.kernels.primitives.llvm import LONG, NOTHING, address, instruction


@intrinsic
def atomic_add(typing: Any, array: Any, i: Any, value: Any) -> Any:
    """`atomic_add(array, i, value)`: array[i] += value, one thread after the other. array: float32, global."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = builder.ptrtoint(address(context, builder, array, args[0], i, args[1]), LONG)
        instruction(builder, NOTHING, "red.global.add.f32 [$0], $1;", "l,f,~{memory}", [pointer, args[2]])
        return context.get_dummy_value()

    return types.void(array, i, types.float32), generate
