"""Names of number types, with and without the package that brings bfloat16 to NumPy."""

import sys

import numpy as np
import pytest

from scc_numba.device.number import Bfloat16, as_words, has_sixteen_bits, in_numpy, is_floating, number_type


def test_a_dtype_is_native():
    assert number_type(">f4") == np.dtype("float32")
    assert number_type(np.float16) == np.float16
    with pytest.raises(TypeError):
        number_type("float8")


def test_bfloat16_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    assert number_type("bfloat16") == np.dtype(ml_dtypes.bfloat16)
    assert number_type(ml_dtypes.bfloat16).name == "bfloat16"


def test_bfloat16_without_ml_dtypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    dtype = number_type("bfloat16")
    assert isinstance(dtype, Bfloat16)
    assert (dtype.name, dtype.itemsize, str(dtype)) == ("bfloat16", 2, "bfloat16")
    assert number_type(dtype) == dtype
    assert is_floating(dtype)
    assert has_sixteen_bits(dtype)
    assert in_numpy(("float32", "bfloat16", "float16")) == ("float32", "float16")


@pytest.mark.parametrize(
    ("dtype", "floating", "sixteen"),
    [("float16", True, True), ("bfloat16", True, True), ("float64", True, False), ("int16", False, False),
     ("complex64", False, False), ("V2", False, False)],
)  # fmt: skip
def test_kinds(dtype, floating, sixteen):
    dtype = number_type(dtype)
    assert (is_floating(dtype), has_sixteen_bits(dtype)) == (floating, sixteen)


def test_words_are_the_same_memory():
    numbers = np.zeros((2, 3), np.float16)
    as_words(numbers)[1, 2] = 0x3C00
    assert numbers[1, 2] == 1
    for other in (np.zeros(2, np.float32), np.float16(1), 7, None):
        assert as_words(other) is other
