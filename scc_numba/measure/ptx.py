"""A kernel's PTX from the real compiler, with no GPU and no driver, and what can be read off it."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from scc_numba.emulator.compiler import compile_ptx
from scc_numba.emulator.targets import find_target
from scc_numba.kernels import Launch, Layer, Op

TARGETS = ("sm_75", "sm_80", "sm_90")
_INSTRUCTION = re.compile(r"^\s+(?:@!?%p\d+\s+)?([a-z]\w*)((?:\.\w+(?:::\w+)?)*)\s", re.MULTILINE)


def compile_to_ptx(launch: Launch, op: Op, layer: Layer, target: str) -> str:
    """PTX of a launch's kernel, for the types it is launched with.

    Args:
        launch: what the rung built for the layer.
        op: the operation, which says what arrays there are.
        layer: its dtype is the arrays'.
        target: "sm_90" and the like.
    """
    arrays = [np.empty((0,) * ndim, layer.dtype) for ndim in _ARRAY_DIMS[op]]
    workspace = [np.empty(0, np.float32)] if launch.workspace else []
    return _compile(launch, (*arrays, *launch.tables, *workspace, *launch.scalars), target)


def compile_zeroing_to_ptx(launch: Launch, layer: Layer, target: str) -> str:
    """PTX of the launch that sets a result to zero."""
    return _compile(launch, (np.empty(0, layer.dtype),), target)


def integer_divisions(ptx: str) -> int:
    """How many integer divisions and remainders stand in the text. A GPU has no instruction for them."""
    return sum(m[1] in ("div", "rem") and m[2][-3:] in _INTEGERS for m in _INSTRUCTION.finditer(ptx))


_INTEGERS = ("s32", "u32", "s64", "u64")
_ARRAY_DIMS: dict[Op, tuple[int, ...]] = {
    "forward": (3, 2, 1, 3),  # x, weight, bias, y
    "grad_input": (3, 2, 3),  # grad_output, weight, grad_input
    "grad_weight": (3, 3, 2),  # grad_output, x, grad_weight
}


def _compile(launch: Launch, arguments: tuple[Any, ...], target: str) -> str:
    import numba

    types = launch.kernel.signature(arguments) or tuple(map(numba.typeof, arguments))
    return compile_ptx(launch.kernel.function, types, find_target(target), launch.kernel.options)
