"""Numbers of 16 bits, float16 and bfloat16: kernels with flat pointers see them as words, `uint16`.

NumPy has no bfloat16, and Numba no arrays of it. A word is what both have; a kernel widens it to float32 when it
loads it, and narrows the sum when it stores it. So an array of bfloat16 may come from the package ml_dtypes, which
teaches NumPy the type, or from a torch tensor, for which nothing more needs to be installed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

SIXTEEN_BITS = ("float16", "bfloat16")
WORD = np.dtype(np.uint16)


@dataclass(frozen=True)
class Bfloat16:
    """Stands in for NumPy's dtype of bfloat16 where the package ml_dtypes, which brings it, is not installed."""

    name: str = "bfloat16"
    itemsize: int = 2

    def __str__(self) -> str:
        return self.name


def number_type(dtype: Any) -> Any:
    """The dtype in this machine's byte order: NumPy's, ml_dtypes' for bfloat16, or its stand-in.

    Args:
        dtype: a dtype, or what NumPy takes for one; "bfloat16" too.
    """
    if isinstance(dtype, Bfloat16):
        return dtype
    if isinstance(dtype, str) and dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError:
            return Bfloat16()
        return np.dtype(ml_dtypes.bfloat16)
    return np.dtype(dtype).newbyteorder("=")


def in_numpy(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the types that NumPy has here: without the package ml_dtypes, all but bfloat16."""
    return tuple(name for name in names if not isinstance(number_type(name), Bfloat16))


def is_floating(dtype: Any) -> bool:
    """Whether numbers of the dtype are real floating-point numbers, bfloat16 among them."""
    return getattr(dtype, "kind", "") == "f" or dtype.name == "bfloat16"


def has_sixteen_bits(dtype: Any) -> bool:
    """Whether the dtype is float16 or bfloat16, which kernels see as words."""
    return dtype.name in SIXTEEN_BITS


def as_words(array: Any) -> Any:
    """The same memory as words where it holds numbers of 16 bits, else the array, or whatever it is, itself."""
    is_array = hasattr(array, "dtype") and not isinstance(array, np.generic)
    return array.view(WORD) if is_array and has_sixteen_bits(array.dtype) else array
