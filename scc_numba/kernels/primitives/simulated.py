"""The primitives as plain Python, for Numba's simulator, where every thread of a block is a thread of the CPU."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

WARP = 32


def load2(array: Any, i: int) -> tuple[Any, Any]:
    """Elements i and i + 1."""
    if int(i) % 2:
        raise ValueError(f"index {i} of a 64-bit access is no multiple of 2")
    return array[int(i)], array[int(i) + 1]


def load4(array: Any, i: int) -> tuple[Any, Any, Any, Any]:
    """Elements i to i + 3."""
    _aligned(i)
    i = int(i)
    return array[i], array[i + 1], array[i + 2], array[i + 3]


def store2(array: Any, i: int, a: float, b: float) -> None:
    """Write elements i and i + 1."""
    load2(array, i)  # checks i
    array[int(i)], array[int(i) + 1] = a, b


def pointer_to(array: Any, i: int) -> Any:
    """The array from element i on."""
    return array[int(i) :]


def load2_words(array: Any, i: int) -> tuple[Any, Any]:
    """Elements i to i + 3 of 16 bits as two words."""
    _aligned(i)
    a, b, c, d = (np.uint32(array[int(i) + n]) for n in range(4))
    return a | b << np.uint32(16), c | d << np.uint32(16)


def store2_words(array: Any, i: int, a: Any, b: Any) -> None:
    """Write elements i to i + 3 of 16 bits from two words."""
    _aligned(i)
    for n, half in enumerate(np.array([a, b], np.uint32).view(np.uint16)):
        array[int(i) + n] = half


def store4(array: Any, i: int, a: float, b: float, c: float, d: float) -> None:
    """Write elements i to i + 3."""
    _aligned(i)
    for n, value in enumerate((a, b, c, d)):
        array[int(i) + n] = value


def copy_async_16(shared: Any, i: int, array: Any, j: int, wanted: Any) -> None:
    """Copy elements of 16 bytes together at once, though it be later on a GPU."""
    _copy(16, shared, i, array, j, wanted)


def copy_async_4(shared: Any, i: int, array: Any, j: int, wanted: Any) -> None:
    """Copy one element of 4 bytes, or two of 2."""
    _copy(4, shared, i, array, j, wanted)


def copy_2(shared: Any, i: int, array: Any, j: int, wanted: Any) -> None:
    """Copy one element of 2 bytes."""
    _copy(2, shared, i, array, j, wanted)


def _copy(size: int, shared: Any, i: int, array: Any, j: int, wanted: Any) -> None:
    elements = size // array.dtype.itemsize
    if int(i) % elements or int(j) % elements:
        raise ValueError(f"index {i} or {j} of a copy of {size} bytes is no multiple of {elements}")
    for n in range(elements):
        shared[int(i) + n] = array[int(j) + n] if wanted else 0


def atomic_add(array: Any, i: int, value: Any) -> None:
    """array[i] += value, one thread after the other."""
    with _lock:
        array[int(i)] += value


def commit_copies() -> None:
    """Nothing: copies are done at once."""


def wait_for_copies(groups: int) -> None:
    """Nothing."""


def round_to_tf32(value: Any) -> Any:
    """The bits of the float32 rounded to tf32, ties away from zero."""
    bits = np.asarray(value, np.float32).view(np.uint32)
    return ((bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000))[()]


def _widen_float16(word: Any) -> Any:
    return np.float32(np.uint16(word).view(np.float16))


def _widen_bfloat16(word: Any) -> Any:
    return (np.uint32(word) << np.uint32(16)).view(np.float32)


def _narrow_to_float16(value: Any) -> Any:
    return np.float16(value).view(np.uint16)


def _narrow_to_bfloat16(value: Any) -> Any:
    bits = int(np.float32(value).view(np.uint32))
    return np.uint16(0x7FFF if np.isnan(value) else (bits + 0x7FFF + (bits >> 16 & 1)) >> 16)


WIDEN = {"float32": lambda value: value, "float16": _widen_float16, "bfloat16": _widen_bfloat16}
NARROW = {"float32": lambda value: value, "float16": _narrow_to_float16, "bfloat16": _narrow_to_bfloat16}
NARROW_PAIR = {
    "float16": lambda low, high: lower_halves(_narrow_to_float16(low), _narrow_to_float16(high)),
    "bfloat16": lambda low, high: lower_halves(_narrow_to_bfloat16(low), _narrow_to_bfloat16(high)),
}


def lower_halves(a: Any, b: Any) -> Any:
    """The lower 16 bits of a, and above them those of b."""
    return np.uint32(a) & np.uint32(0xFFFF) | np.uint32(b) << np.uint32(16)


def upper_halves(a: Any, b: Any) -> Any:
    """The upper 16 bits of a, and above them those of b."""
    return np.uint32(a) >> np.uint32(16) | np.uint32(b) & np.uint32(0xFFFF0000)


def warp_sum(value: Any) -> Any:
    """The sum of the lanes' values, in the order in which a GPU adds them."""
    lane, values = _exchange(value)
    for distance in (16, 8, 4, 2, 1):
        values = [values[n] + values[n ^ distance] for n in range(WARP)]
    return values[lane]


def mma_tf32(c0: Any, c1: Any, c2: Any, c3: Any, *fragments: Any) -> tuple[Any, ...]:
    """This lane's part of A·B + C."""
    lane, lanes = _exchange(fragments)
    return _mma([c0, c1, c2, c3], lane, np.array(lanes, np.uint32).view(np.float32).reshape(32, 6, 1))


def mma_f16(c0: Any, c1: Any, c2: Any, c3: Any, *fragments: Any) -> tuple[Any, ...]:
    """The same with two float16 in a word of A and B."""
    lane, lanes = _exchange(fragments)
    halves = np.array(lanes, np.uint32).view(np.float16).astype(np.float32)
    return _mma([c0, c1, c2, c3], lane, halves.reshape(32, 6, 2))


def mma_bf16(c0: Any, c1: Any, c2: Any, c3: Any, *fragments: Any) -> tuple[Any, ...]:
    """The same with two bfloat16."""
    lane, lanes = _exchange(fragments)
    halves = np.array(lanes, np.uint32).view(np.uint16).astype(np.uint32) << np.uint32(16)
    return _mma([c0, c1, c2, c3], lane, halves.view(np.float32).reshape(32, 6, 2))


def _mma(sums: list[Any], lane: int, numbers: Any) -> tuple[Any, ...]:
    """A lane's part, where numbers[lane, register] are those that the words of A, 4, and B, 2, hold."""
    g, q = lane // 4, lane % 4
    for row in (0, 1):
        a = numbers[4 * g : 4 * g + 4, [row, 2 + row]]
        for column in (0, 1):
            b = numbers[4 * (2 * q + column) : 4 * (2 * q + column) + 4, [4, 5]]
            sums[2 * row + column] = np.float32(sums[2 * row + column] + np.sum(a * b, dtype=np.float32))
    return tuple(sums)


class _Warp:
    def __init__(self) -> None:
        self.barrier, self.values = threading.Barrier(WARP), [None] * WARP


_lock = threading.Lock()
_warps: dict[tuple[int, int], _Warp] = {}


def _exchange(value: Any) -> tuple[int, list[Any]]:
    """This thread's lane, and what all lanes of its warp gave."""
    thread: Any = threading.current_thread()
    lane = thread.thread_id % WARP
    with _lock:
        warp = _warps.setdefault((id(thread._manager), thread.thread_id // WARP), _Warp())
    warp.barrier.wait()
    warp.values[lane] = value
    warp.barrier.wait()
    return lane, list(warp.values)


def _aligned(i: int) -> None:
    if int(i) % 4:
        raise ValueError(f"index {i} of a 128-bit access is no multiple of 4")
