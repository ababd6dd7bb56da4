"""Kernels that take flat pointers in place of arrays: the types of their arguments, and what a GPU is given.

An array of Numba's brings its shape and strides along, and every index passes through a test for negative
numbers. A pointer has neither: the kernel does the index arithmetic itself, from sizes that are handed over as
unsigned 32-bit numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from scc_numba.device.number import WORD, has_sixteen_bits

LARGEST_SCALAR = 2**32 - 1


def pointer_types(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """Numba types of a launch's arguments, for a kernel made with `jit(pointers=True)`.

    Args:
        arguments: arrays become pointers to their elements' type, those of float16 and bfloat16 to words, uint16;
            Python integers become unsigned 32-bit numbers, NumPy numbers what they are.

    Raises:
        TypeError: an argument is none of these.
        ValueError: an integer does not fit.
    """
    return tuple(_pointer_type(number, argument) for number, argument in enumerate(arguments))


def _pointer_type(number: int, argument: Any) -> Any:
    from numba.cuda import types

    if is_array(argument):
        if not argument.flags["C_CONTIGUOUS"]:
            raise ValueError(
                f"argument {number} has gaps in memory; a kernel with flat pointers takes C-contiguous arrays"
            )
        element = WORD if has_sixteen_bits(argument.dtype) else argument.dtype
        return types.CPointer(getattr(types, element.name))
    if isinstance(argument, np.generic):
        return getattr(types, argument.dtype.name)
    if isinstance(argument, int) and not isinstance(argument, bool):
        if not 0 <= argument <= LARGEST_SCALAR:
            raise ValueError(f"argument {number} is {argument}, outside 0 to {LARGEST_SCALAR}; pass an np.uint64")
        return types.uint32
    raise TypeError(
        f"argument {number} is a {type(argument).__name__}; a pointer kernel takes arrays and whole numbers"
    )


def is_array(argument: Any) -> bool:
    """Whether an argument is an array, of whichever backend."""
    return hasattr(argument, "flags") and not isinstance(argument, np.generic)


def addresses(arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments as numba-cuda takes them for pointer parameters: an array is its address on the GPU."""
    return tuple(
        argument.__cuda_array_interface__["data"][0] if is_array(argument) else argument for argument in arguments
    )
