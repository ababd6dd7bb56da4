"""The same kernels through numba-cuda and numba-cuda-mlir: equal results, equal global sectors."""

import types as python_types

import numpy as np
import pytest
from numba import cuda, float32

from scc_numba.emulator import launch

mlir = pytest.importorskip("numba_cuda_mlir")


def through_mlir(function):
    """The same code with numba-cuda-mlir's `cuda` in place of numba-cuda's."""
    import numba_cuda_mlir.cuda as other
    import numba_cuda_mlir.types as other_types

    names = {**function.__globals__, "cuda": other, "float32": other_types.float32}
    return python_types.FunctionType(function.__code__, names, function.__name__, None, function.__closure__)


def naive(x, w, y, step, C, P, G):
    i = cuda.grid(1)
    n = i // (C * P)
    o = i % (C * P) // P
    p = i % P
    acc = float32(0.0)
    for j in range(G):
        acc += x[n, (o * step + j) % C, p] * w[o, j]
    y[n, o, p] = acc


def transpose(a, b):
    s = cuda.shared.array((32, 33), float32)
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    for k in range(0, 32, 8):
        s[y + k, x] = a[y + k, x]
    cuda.syncthreads()
    for k in range(0, 32, 8):
        b[y + k, x] = s[x, y + k]


def tally(index, out):
    i = cuda.grid(1)
    if i < index.shape[0]:
        cuda.atomic.add(out, index[i], 1)


def cases():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 16, 32)).astype("f4"), rng.standard_normal((16, 4)).astype("f4")
    yield naive, 8, 128, lambda: (x, w, np.zeros_like(x), 1, 16, 32, 4), 2
    a = rng.standard_normal((32, 32)).astype("f4")
    yield transpose, 1, (32, 8), lambda: (a, np.zeros_like(a)), 1
    index = rng.integers(0, 9, 100).astype("i4")
    yield tally, 4, 32, lambda: (index, np.zeros(9, "i4")), 1


@pytest.mark.parametrize("case", list(cases()), ids=lambda c: c[0].__name__)
def test_both_compilers_agree(case):
    kernel, grid, block, arguments, result = case
    outcomes = []
    for k in (kernel, through_mlir(kernel)):
        args = arguments()
        outcomes.append((launch(k, grid, block, args, strict=True), args[result]))
    (first, a), (second, b) = outcomes
    assert np.array_equal(a, b)
    # numba-cuda-mlir tells no Python names of shared arrays, so those go by their order.
    for entry, other in zip(first.arrays.values(), second.arrays.values(), strict=True):
        assert other.space == entry.space
        assert other.name == entry.name or entry.space == "shared"
        assert (other.load.sectors, other.load.wavefronts) == (entry.load.sectors, entry.load.wavefronts)
        assert (other.store.sectors, other.store.wavefronts) == (entry.store.sectors, entry.store.wavefronts)
        assert other.atomics.operations == entry.atomics.operations
