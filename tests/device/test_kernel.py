"""Launching: the same rules and the same errors on every backend."""

import numpy as np
import pytest
from numba import cuda, float32

from scc_numba.device import LaunchError, backend, device_array, jit, profile, synchronize, to_device, to_host
from scc_numba.device.number import SIXTEEN_BITS, in_numpy, number_type


@jit
def double(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = 2 * x[i]


@jit
def broken(x):
    x[cuda.grid(1)] = no_such_name  # noqa: F821


def test_a_kernel_runs():
    x = to_device(np.arange(100, dtype=np.float32))
    y = device_array(100, np.float32)
    double[4, 32](x, y)
    synchronize()
    np.testing.assert_array_equal(to_host(y), 2 * np.arange(100))


def test_options_reach_the_compiler():
    @jit(fastmath=True)
    def halve(x):
        x[cuda.grid(1)] /= float32(2)

    x = to_device(np.ones(32, np.float32))
    halve[1, 32](x)
    assert to_host(x).tolist() == [0.5] * 32


def test_to_device_copies_and_makes_contiguous():
    host = np.arange(12, dtype=np.float32).reshape(3, 4)
    device = to_device(host[::-1, ::2])
    host[...] = 0
    np.testing.assert_array_equal(to_host(device), np.arange(12).reshape(3, 4)[::-1, ::2])


def test_read_only_host_arrays_are_accepted():
    host = np.ones(4, np.float32)
    host.flags.writeable = False
    assert to_host(to_device(host)).flags.writeable


@pytest.mark.skipif(backend().name == "gpu", reason="memory of a GPU is undefined, and left so")
def test_undefined_memory_shows():
    assert np.isnan(to_host(device_array((2, 3), np.float64))).all()
    assert (to_host(device_array(3, np.int32)) == -1).all()
    assert (to_host(device_array(3, np.uint16)) == 0xFFFF).all()


@pytest.mark.parametrize("dtype", in_numpy(SIXTEEN_BITS))
def test_numbers_of_16_bits(dtype):
    numbers = np.float32([[0, 1], [-2.5, 65_000]]).astype(number_type(dtype))
    device = to_device(numbers)
    assert device.dtype == numbers.dtype
    back = to_host(device)
    assert back.dtype == numbers.dtype
    np.testing.assert_array_equal(back, numbers)
    undefined = device_array((2, 3), dtype)
    assert undefined.dtype == numbers.dtype
    if backend().name != "gpu":
        assert np.isnan(to_host(undefined)).all()
        assert np.isnan(np.full(1, 0xFFFF, np.uint16).view(numbers.dtype)).all(), "words that were never written"


@pytest.mark.parametrize(
    ("grid", "block", "words"),
    [
        (0, 32, "grid=0: x=0 is outside 1 to"),
        (1, 0, "block=0: x=0 is outside"),
        (1, -1, "block=-1"),
        (1, 1025, "x=1025 is outside 1 to 1024"),
        (1, (32, 64), r"block=\(32, 64, 1\) has 2048 threads, the most is 1024"),
        (1, (1, 1, 65), "z=65 is outside 1 to 64"),
        ((1, 65_536), 32, "y=65536 is outside 1 to 65535"),
        ((1, 1, 65_536), 32, "z=65536"),
        ((1, 1, 1, 1), 32, "4 dims"),
        (1.5, 32, "grid=1.5 must be an integer"),
        ((), 32, "0 dims"),
    ],
)
def test_a_configuration_that_no_gpu_takes_is_refused(grid, block, words):
    x = to_device(np.ones(32, np.float32))
    with pytest.raises(LaunchError, match=words) as raised:
        double[grid, block](x, x)
    message = str(raised.value)
    assert f"kernel double failed on the {backend().name}" in message
    assert "grid=" in message
    assert "block=" in message


def test_too_much_shared_memory_is_refused():
    x = to_device(np.ones(32, np.float32))
    with pytest.raises(LaunchError, match="shared_bytes=49153"):
        double[1, 32, None, 49_153](x, x)


def test_a_failing_launch_says_where():
    with pytest.raises(LaunchError, match=rf"kernel broken failed on the {backend().name} with grid=\(1, 1, 1\)"):
        broken[1, 4](to_device(np.ones(4, np.float32)))


def test_a_kernel_needs_a_configuration():
    with pytest.raises(TypeError, match=r"double\[grid, block\]"):
        double(1, 2)
    with pytest.raises(TypeError, match="takes"):
        double[1]


@pytest.mark.parametrize("given", ["void(float32[:])", (float32,), 3])
def test_signatures_are_not_taken(given):
    with pytest.raises(TypeError, match="types come from the arguments"):
        jit(given)


def test_profile_records_each_launch():
    x, y = to_device(np.ones(100, np.float32)), device_array(100, np.float32)
    with profile() as report:
        double[4, 32](x, y)
        double[2, 64](y, x)
    assert [(launch.kernel, launch.grid, launch.block) for launch in report.launches] == [
        ("double", (4, 1, 1), (32, 1, 1)),
        ("double", (2, 1, 1), (64, 1, 1)),
    ]
    assert report.backend == backend().name
    if report.backend == "gpu":
        assert report.seconds > 0
    else:
        assert report.seconds is None, "no time but a GPU's is reported"
    if report.backend == "emulator":
        assert [launch.counts.global_load.requests for launch in report.launches] == [4, 4]


def test_profile_leaves_out_what_failed_and_what_came_after():
    x = to_device(np.ones(4, np.float32))
    with profile() as report, pytest.raises(LaunchError):
        broken[1, 4](x)
    double[1, 4](x, x)
    assert report.launches == []
