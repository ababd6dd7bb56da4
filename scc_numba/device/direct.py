"""Launching a compiled kernel without Numba's dispatch: half of what a launch costs the host.

Numba looks up the compiled kernel, turns every argument into a C value and builds the driver's configuration at
each launch. For a kernel of addresses and whole numbers all of that can be kept. It reaches into what
numba-cuda does not promise to keep as it is, so it is tried once on a kernel of one thread; where that does not
work, Numba launches.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda
from numba.cuda import types

NUMBER = 2_718_281


def direct_launch(
    dispatcher: Any, configuration: tuple[Any, ...], signature: tuple[Any, ...], fixed: tuple[Any, ...]
) -> Callable[..., None]:
    """What numba-cuda's `_Kernel.launch` comes to, as a function of the addresses.

    Args:
        dispatcher: with one signature, compiled.
        configuration: grid, block, Numba's stream and bytes of shared memory.
        signature: types of all arguments.
        fixed: those after the addresses: addresses and whole numbers too.
    """
    from numba.cuda.dispatcher import LaunchConfig, launch

    grid, block, _, shared_bytes = configuration
    config = LaunchConfig(grid=grid, block=block, shmem_size=shared_bytes)
    stream = dispatcher[configuration].stream
    (compiled,) = dispatcher.overloads.values()
    kernel = compiled._codelibrary.get_cufunc().kernel
    fixed_types = signature[len(signature) - len(fixed) :]
    values = [_c_value(kind, value) for kind, value in zip(fixed_types, fixed, strict=True)]
    return lambda *addresses: launch(stream, config, kernel, *addresses, *values)


def _c_value(kind: Any, value: Any) -> Any:
    return value if isinstance(kind, types.CPointer) else getattr(ctypes, f"c_{kind}")(value)


def _write(to, number):
    to[0] = number


@cache
def works() -> bool:
    """Whether a launch of this kind arrives, tried once in a process."""
    try:
        signature = (types.CPointer(types.uint32), types.uint32)
        dispatcher = cuda.jit(signature)(_write)
        array = cuda.to_device(np.zeros(1, np.uint32))
        configuration = ((1, 1, 1), (1, 1, 1), 0, 0)
        direct_launch(dispatcher, configuration, signature, (NUMBER,))(array.__cuda_array_interface__["data"][0])
        cuda.synchronize()
        return int(array.copy_to_host()[0]) == NUMBER
    except Exception:  # whatever a version of numba-cuda that is made otherwise raises
        return False
