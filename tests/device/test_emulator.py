"""What the emulator adds to a launch: findings become errors, and compiled kernels are what runs."""

import numpy as np
import pytest
from numba import cuda

from scc_numba.device import LaunchError, backend, device_array, jit, to_device, to_host

pytestmark = pytest.mark.skipif(backend().name != "emulator", reason="another backend is chosen")


@jit
def read_neighbour(x, y):
    i = cuda.grid(1)
    y[i] = x[i + 1]


@jit
def copy(x, y):
    i = cuda.grid(1)
    y[i] = x[i]


def test_out_of_bounds_is_an_error():
    with pytest.raises(LaunchError, match="out-of-bounds"):
        read_neighbour[1, 32](to_device(np.ones(32, np.float32)), device_array(32, np.float32))


def test_reading_what_was_never_written_is_an_error():
    x, y = device_array(32, np.float32), device_array(32, np.float32)
    with pytest.raises(LaunchError, match="uninitialised-global"):
        copy[1, 32](x, y)


def test_a_view_of_written_memory_is_written():
    x, y, z = to_device(np.ones(64, np.float32)), device_array(64, np.float32), device_array(32, np.float32)
    copy[2, 32](x, y)
    copy[1, 32](y[32:], z)
    assert to_host(z).tolist() == [1] * 32
    filled = device_array(32, np.float32)
    filled.copy_to_device(np.full(32, 3, np.float32))
    copy[1, 32](filled.reshape(2, 16).reshape(32), z)
    assert z.copy_to_host().tolist() == [3] * 32
