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


def store4(array: Any, i: int, a: float, b: float, c: float, d: float) -> None:
    """Write elements i to i + 3."""
    _aligned(i)
    for n, value in enumerate((a, b, c, d)):
        array[int(i) + n] = value


def copy_async_16(shared: Any, i: int, array: Any, j: int, wanted: Any) -> None:
    """Copy four elements of 4 bytes at once, though it be later on a GPU."""
    _aligned(i)
    _aligned(j)
    for n in range(4):
        shared[int(i) + n] = array[int(j) + n] if wanted else 0


def copy_async_4(shared: Any, i: int, array: Any, j: int, wanted: Any) -> None:
    """Copy one element of 4 bytes."""
    shared[int(i)] = array[int(j)] if wanted else 0


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


def warp_sum(value: Any) -> Any:
    """The sum of the lanes' values, in the order in which a GPU adds them."""
    lane, values = _exchange(value)
    for distance in (16, 8, 4, 2, 1):
        values = [values[n] + values[n ^ distance] for n in range(WARP)]
    return values[lane]


def mma_tf32(c0: Any, c1: Any, c2: Any, c3: Any, *fragments: Any) -> tuple[Any, ...]:
    """This lane's part of A·B + C."""
    lane, lanes = _exchange(fragments)
    words = np.array(lanes, np.uint32).view(np.float32)  # (32, 6)
    g, q = lane // 4, lane % 4
    sums = [c0, c1, c2, c3]
    for row in (0, 1):
        a = [words[4 * g + k % 4, 2 * (k // 4) + row] for k in range(8)]
        for column in (0, 1):
            b = [words[4 * (2 * q + column) + k % 4, 4 + k // 4] for k in range(8)]
            products = [np.float32(x) * np.float32(y) for x, y in zip(a, b, strict=True)]
            sums[2 * row + column] = np.float32(sums[2 * row + column] + np.sum(products, dtype=np.float32))
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
