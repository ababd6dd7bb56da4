"""Kernels with flat pointers: what they are given, and what is refused."""

import numpy as np
import pytest
from numba import cuda, uint32

from scc_numba.device import LaunchError, jit, to_device, to_host
from scc_numba.device.number import SIXTEEN_BITS, in_numpy, number_type
from scc_numba.device.pointers import LARGEST_SCALAR, pointer_types


@jit(pointers=True)
def add_rows(x, y, rows, columns):
    # x: (rows, columns), y: (columns,)
    c = uint32(cuda.grid(1))
    if c < columns:
        total = x[c]
        r = uint32(1)
        while r < rows:
            total += x[uint32(r * columns + c)]
            r = uint32(r + uint32(1))
        y[c] = total


@pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
def test_arrays_of_any_shape_and_dtype_arrive_flat(dtype):
    x = np.arange(15).reshape(3, 5).astype(dtype)
    y = to_device(np.zeros(5, dtype))
    add_rows[1, 32](to_device(x), y, 3, 5)
    np.testing.assert_array_equal(to_host(y), x.sum(0))


def test_types():
    names = [str(t) for t in pointer_types((np.zeros((2, 2), np.float32), 7, np.uint64(2**40)))]
    assert names == ["float32*", "uint32", "uint64"]


@pytest.mark.parametrize("dtype", in_numpy(SIXTEEN_BITS))
def test_numbers_of_16_bits_arrive_as_words(dtype):
    @jit(pointers=True)
    def words(x, y, size):
        i = cuda.grid(1)
        if i < size:
            y[i] = x[i]

    numbers = np.float32([0, 1, -2.5, np.inf]).astype(number_type(dtype))
    assert [str(t) for t in pointer_types((numbers,))] == ["uint16*"]
    same, bits = to_device(np.zeros(4, numbers.dtype)), to_device(np.zeros(4, np.int32))
    words[1, 32](to_device(numbers), same, 4)
    words[1, 32](to_device(numbers), bits, 4)
    np.testing.assert_array_equal(to_host(same), numbers)
    np.testing.assert_array_equal(to_host(bits), numbers.view(np.uint16))


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        (np.zeros((4, 4), np.float32)[:, ::2], "argument 0 has gaps in memory"),
        (-1, f"argument 0 is -1, outside 0 to {LARGEST_SCALAR}"),
        (2**32, "pass an np.uint64"),
        ([1.0], "argument 0 is a list"),
        (True, "argument 0 is a bool"),
        (0.5, "argument 0 is a float"),
    ],
)
def test_bad_arguments_are_refused(argument, words):
    with pytest.raises((TypeError, ValueError), match=words):
        pointer_types((argument,))
    with pytest.raises(LaunchError, match="kernel add_rows failed"):
        add_rows[1, 32](argument, argument, 1, 1)
