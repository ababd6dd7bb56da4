"""What kernels are given beside Numba's own words, compiled and as the simulator's plain Python."""

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from numba import cuda, float32, uint16, uint32

from scc_numba.device import backend, jit, to_device, to_host
from scc_numba.device.number import SIXTEEN_BITS, in_numpy, number_type
from scc_numba.kernels import primitives
from scc_numba.kernels.primitives import NARROW, NARROW_PAIR, WIDEN, lower_halves, simulated, upper_halves

each_dtype = pytest.mark.parametrize("dtype", in_numpy(SIXTEEN_BITS))
ALL_WORDS = np.arange(2**16, dtype=np.uint16)


def awkward_floats(dtype):
    """Every number of the type, what lies half-way to the next, and next to that; and random bits."""
    numbers = ALL_WORDS.view(number_type(dtype)).astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        ties = ((numbers.astype(np.float64) + np.roll(numbers, -1).astype(np.float64)) / 2).astype(np.float32)
    around = [np.nextafter(ties, np.float32(toward)) for toward in (-np.inf, np.inf)]
    random = np.random.default_rng(0).integers(0, 2**32, 2**14, dtype=np.uint32).view(np.float32)
    return np.concatenate([numbers, ties, *around, random])


def converted(values, dtype):
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(number_type(dtype))


def assert_same_words(words, numbers):
    """Equal bits; any NaN is as good as another."""
    nan = np.isnan(numbers)
    np.testing.assert_array_equal(words[~nan], numbers.view(np.uint16)[~nan])
    assert np.isnan(words[nan].view(numbers.dtype)).all()


@each_dtype
@pytest.mark.skipif(backend().name == "simulator", reason="65,536 threads")
def test_compiled_conversions_are_numpys(dtype):
    widen, narrow = WIDEN[dtype], NARROW[dtype]

    @jit(pointers=True)
    def both(words, wide, values, narrowed, size):
        i = uint32(cuda.grid(1))
        if i < size:
            narrowed[i] = narrow(values[i])
        if i < uint32(65536):
            wide[i] = widen(words[i])

    values = awkward_floats(dtype)
    wide, narrowed = to_device(np.zeros(2**16, np.float32)), to_device(np.zeros(values.size, np.uint16))
    both[-(-values.size // 256), 256](to_device(ALL_WORDS), wide, to_device(values), narrowed, values.size)
    np.testing.assert_array_equal(to_host(wide), ALL_WORDS.view(number_type(dtype)).astype(np.float32))
    assert_same_words(to_host(narrowed), converted(values, dtype))


@each_dtype
def test_simulated_conversions_are_numpys(dtype):
    some = np.r_[ALL_WORDS[::17], 0x7C00, 0xFC00, 0x7F80, 0xFF80, 0x7FFF]
    wide = np.array([simulated.WIDEN[dtype](word) for word in some])
    np.testing.assert_array_equal(wide, some.astype(np.uint16).view(number_type(dtype)).astype(np.float32))
    values = awkward_floats(dtype)[::23]
    with np.errstate(over="ignore"):
        words = np.array([simulated.NARROW[dtype](value) for value in values], np.uint16)
    assert_same_words(words, converted(values, dtype))


@each_dtype
def test_pairs_and_halves(dtype):
    narrow_pair = NARROW_PAIR[dtype]

    @jit(pointers=True)
    def pack(values, words, halves):
        words[0] = narrow_pair(values[0], values[1])
        halves[0] = lower_halves(uint32(0x44443333), uint32(0x66665555))
        halves[1] = upper_halves(uint32(0x44443333), uint32(0x66665555))

    words, halves = to_device(np.zeros(1, np.uint32)), to_device(np.zeros(2, np.uint32))
    pack[1, 1](to_device(np.float32([1.5, -3])), words, halves)
    assert to_host(words).view(number_type(dtype)).tolist() == [1.5, -3]
    assert [hex(word) for word in to_host(halves)] == ["0x55553333", "0x66664444"]


def fragments(numbers, dtype):
    """Matrices A (16, 16) and B (16, 8) of a number type, and the words of A, 4, and B, 2, that each lane holds."""
    words = numbers.astype(number_type(dtype)).view(np.uint16).astype(np.uint32)
    a, b = words[:16], words[16:, :8]
    pair = lambda low, high: low | high << np.uint32(16)  # noqa: E731
    held = np.zeros((32, 6), np.uint32)
    for lane in range(32):
        g, q = divmod(lane, 4)
        for register, (row, k) in enumerate(((g, 0), (g + 8, 0), (g, 8), (g + 8, 8))):
            held[lane, register] = pair(a[row, 2 * q + k], a[row, 2 * q + k + 1])
        for register, k in enumerate((0, 8)):
            held[lane, 4 + register] = pair(b[2 * q + k, g], b[2 * q + k + 1, g])
    return held


def products(numbers):
    """A·B, as the lanes hold it."""
    d = numbers[:16] @ numbers[16:, :8]
    lanes = [(lane // 4, 2 * (lane % 4)) for lane in range(32)]
    return np.array([[d[g, c], d[g, c + 1], d[g + 8, c], d[g + 8, c + 1]] for g, c in lanes], np.float32)


@each_dtype
def test_mma_multiplies_matrices(dtype):
    mma = {"float16": primitives.mma_f16, "bfloat16": primitives.mma_bf16}[dtype]

    @jit(pointers=True)
    def multiply(held, d):
        t = cuda.threadIdx.x
        h = uint32(6 * t)
        one = float32(1)
        sums = mma(one, one, one, one, held[h], held[h + 1], held[h + 2], held[h + 3], held[h + 4], held[h + 5])
        d[4 * t], d[4 * t + 1], d[4 * t + 2], d[4 * t + 3] = sums

    numbers = np.random.default_rng(0).integers(-9, 10, (32, 16)).astype(np.float64)
    d = to_device(np.zeros((32, 4), np.float32))
    multiply[1, 32](to_device(fragments(numbers, dtype)), d)
    np.testing.assert_array_equal(to_host(d), products(numbers) + 1)


@each_dtype
def test_simulated_mma_multiplies_matrices(dtype):
    mma = {"float16": simulated.mma_f16, "bfloat16": simulated.mma_bf16}[dtype]
    numbers = np.random.default_rng(1).integers(-9, 10, (32, 16)).astype(np.float64)
    held, d, block = fragments(numbers, dtype), np.zeros((32, 4), np.float32), SimpleNamespace()

    def lane(n):
        thread = threading.current_thread()
        thread.thread_id, thread._manager = n, block  # what Numba's simulator gives its threads
        d[n] = mma(*np.ones(4, np.float32), *held[n])

    threads = [threading.Thread(target=lane, args=(n,)) for n in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(d, products(numbers) + 1)


def test_words_are_moved_four_numbers_at_a_time():
    @jit(pointers=True)
    def exchange(x, y):
        tile = cuda.shared.array(8, uint16, alignment=16)
        primitives.copy_2(tile, uint32(0), x, uint32(1), True)
        primitives.copy_2(tile, uint32(1), x, uint32(0), False)
        primitives.copy_async_4(tile, uint32(2), x, uint32(2), True)
        primitives.commit_copies()
        primitives.wait_for_copies(0)
        a, b = primitives.load2_words(tile, uint32(0))
        primitives.store2_words(y, uint32(4), b, a)

    y = to_device(np.full(8, 7, np.uint16))
    exchange[1, 1](to_device(np.arange(10, 18, dtype=np.uint16)), y)
    assert to_host(y).tolist() == [7, 7, 7, 7, 12, 13, 11, 0]
