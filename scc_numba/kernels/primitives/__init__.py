"""What Numba has no word for and fast kernels need: 128-bit access, asynchronous copies, tensor cores,
numbers of 16 bits, warp sums.

Each is a function to call inside a kernel. Compiled, it becomes one instruction or a few; under Numba's simulator,
which has no compiler, plain Python stands in (`simulated.py`).
"""

import os

from scc_numba.device.choice import numba_simulator_is_on

if numba_simulator_is_on(os.environ):
    from scc_numba.kernels.primitives.simulated import (
        NARROW,
        NARROW_PAIR,
        WIDEN,
        atomic_add,
        commit_copies,
        copy_2,
        copy_async_4,
        copy_async_16,
        load2,
        load2_words,
        load4,
        lower_halves,
        mma_bf16,
        mma_f16,
        mma_tf32,
        pointer_to,
        round_to_tf32,
        store2,
        store2_words,
        store4,
        upper_halves,
        wait_for_copies,
        warp_sum,
    )
else:
    from scc_numba.kernels.primitives.async_copy import (
        commit_copies,
        copy_2,
        copy_async_4,
        copy_async_16,
        wait_for_copies,
    )
    from scc_numba.kernels.primitives.atomic import atomic_add
    from scc_numba.kernels.primitives.half import NARROW, NARROW_PAIR, WIDEN, lower_halves, upper_halves
    from scc_numba.kernels.primitives.pointer import pointer_to
    from scc_numba.kernels.primitives.tensor_core import mma_bf16, mma_f16, mma_tf32, round_to_tf32
    from scc_numba.kernels.primitives.warp import warp_sum
    from scc_numba.kernels.primitives.wide import load2, load2_words, load4, store2, store2_words, store4

__all__ = [
    "NARROW",
    "NARROW_PAIR",
    "WIDEN",
    "atomic_add",
    "commit_copies",
    "copy_2",
    "copy_async_4",
    "copy_async_16",
    "load2",
    "load2_words",
    "load4",
    "lower_halves",
    "mma_bf16",
    "mma_f16",
    "mma_tf32",
    "pointer_to",
    "round_to_tf32",
    "store2",
    "store2_words",
    "store4",
    "upper_halves",
    "wait_for_copies",
    "warp_sum",
]
