"""Arrays on the device, whichever it is."""

from __future__ import annotations

from typing import Any

import numpy as np

from scc_numba.device.backend import backend
from scc_numba.device.number import is_floating, number_type


def to_device(array: Any) -> Any:
    """Copy an array to the device. Any layout and byte order is accepted; there it is C-contiguous and native."""
    array = np.asarray(array)
    return backend().to_device(np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("=")))


def to_host(array: Any) -> np.ndarray[Any, Any]:
    """Copy a device array to a new NumPy array, once everything launched before has ended."""
    return backend().to_host(array)


def device_array(shape: int | tuple[int, ...], dtype: Any) -> Any:
    """A new device array. Its contents are undefined on a GPU; elsewhere floats start as NaN, to show."""
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    return backend().device_array(shape, number_type(dtype))


def synchronize() -> None:
    """Wait until everything launched has ended."""
    backend().synchronize()


def undefined(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """What the backends without a GPU hand out as undefined memory: NaN where the dtype has it, else all ones."""
    if is_floating(dtype) or dtype.kind == "c":
        return np.full(shape, np.nan, dtype)
    return np.full(shape, -1).astype(dtype)  # as words, NaN too
