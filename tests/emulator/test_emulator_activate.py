"""Unmodified `@cuda.jit` programs: what the host side of Numba-CUDA answers where the emulator stands in."""

import warnings

import numpy as np
import pytest
from numba import cuda, types

from scc_numba.emulator import (
    ArgumentError,
    EmulatorError,
    FindingsError,
    FindingWarning,
    StepLimitExceeded,
    activate,
)
from scc_numba.emulator.activate import deactivate


@pytest.fixture(autouse=True)
def emulated():
    assert activate(force=True)
    yield
    deactivate()


def doubling():
    @cuda.jit
    def double(x):
        i = cuda.grid(1)
        if i < x.size:
            x[i] *= 2

    return double


def test_devices_and_contexts():
    with cuda.gpus[0] as nothing, cuda.gpus.lst[0]:
        assert nothing is None
        x = cuda.to_device(np.ones(4))
        doubling()[1, 32](x)
    assert x.copy_to_host().tolist() == [2] * 4
    assert [g.id for g in cuda.gpus] == [0]
    assert (len(cuda.gpus), cuda.gpus.current.id) == (1, 0)
    with pytest.raises(IndexError):
        cuda.gpus[1]
    context = cuda.current_context()
    assert cuda.require_context(lambda: 3)() == 3
    memory = context.get_memory_info()
    assert 0 < memory.free <= memory.total
    assert memory == (memory.free, memory.total)
    device = cuda.get_current_device()
    assert (device.compute_capability, device.name, device.WARP_SIZE) == ((9, 0), b"scc_numba emulator", 32)
    with pytest.raises(EmulatorError, match=r"MAX_PITCH.*not known"):
        device.MAX_PITCH  # noqa: B018
    with pytest.raises(AttributeError):
        device._repr_html_  # noqa: B018


def test_what_a_kernel_says_after_a_launch():
    kernel = doubling()
    assert kernel.signatures == []
    for dtype in ("f4", "f8", "f4"):
        kernel[1, 32](np.ones(4, dtype))
    f4, f8 = ((types.Array(t, 1, "C"),) for t in (types.float32, types.float64))
    assert kernel.signatures == [f4, f8]
    assert list(kernel.overloads) == [f4, f8]
    assert "add.f32" in kernel.inspect_asm(f4)
    assert ".target sm_90" in kernel.inspect_asm()[f8]
    for ask in (
        kernel.get_regs_per_thread, kernel.get_local_mem_per_thread, kernel.get_max_threads_per_block,
        kernel.inspect_sass, kernel.inspect_llvm,
    ):  # fmt: skip
        with pytest.raises(EmulatorError, match=r"not known.* emulator"):
            ask()
    assert set(kernel.get_shared_mem_per_block().values()) == {0}
    assert set(kernel.get_const_mem_size().values()) == {0}


def test_a_kernel_with_signatures_has_them_from_the_start():
    @cuda.jit("void(float32[::1])")
    def kernel(x):
        s = cuda.shared.array(32, types.float32)
        i = cuda.grid(1)
        s[i] = x[i]
        x[i] = s[i] * 2

    (signature,) = kernel.signatures
    assert ".shared" in kernel.inspect_asm(signature)
    assert kernel.get_shared_mem_per_block() == 128
    x = np.ones(32, "f4")
    kernel[1, 32](x)
    assert x.tolist() == [2] * 32
    assert len(kernel.signatures) == 1


def test_what_no_kernel_takes():
    kernel = doubling()
    for value, name in (([1.0, 2.0], "list"), ("ab", "str"), ({1: 2}, "dict"), (None, "NoneType")):
        with pytest.raises(ArgumentError, match=f"argument 0 is a {name}"):
            kernel[1, 32](value)
    with pytest.raises(ArgumentError, match=r"its result would be lost.*numpy.array"):
        kernel[1, 32]([1.0, 2.0])


class Wrapped:
    """An array of another library."""

    def __init__(self, interface):
        self.__cuda_array_interface__ = interface


def test_the_array_interface():
    x = cuda.to_device(np.arange(12, dtype="f4").reshape(3, 4))
    interface = x[:, 1:].__cuda_array_interface__
    assert (interface["shape"], interface["typestr"], interface["strides"]) == ((3, 3), "<f4", (16, 4))
    assert interface["data"] == (x.__cuda_array_interface__["data"][0] + 4, False)
    other = Wrapped(interface)
    assert cuda.is_cuda_array(x)
    assert cuda.is_cuda_array(other)
    assert not cuda.is_cuda_array(np.ones(3))
    assert cuda.as_cuda_array(other).copy_to_host().tolist() == [[1, 2, 3], [5, 6, 7], [9, 10, 11]]

    @cuda.jit
    def add(a):
        a[cuda.threadIdx.y, cuda.threadIdx.x] += 100

    add[1, (3, 3)](other)
    assert x[:, 0].tolist() == [0, 4, 8]
    assert x[1].tolist() == [4, 105, 106, 107]
    assert not hasattr(np.ones(3), "__cuda_array_interface__")
    host = Wrapped({**interface, "data": (np.ones(12).ctypes.data, False)})
    for use in (cuda.as_cuda_array, lambda a: add[1, 1](a)):
        with pytest.raises(ArgumentError, match="no emulated device array"):
            use(host)


def test_profiling_and_compiling():
    cuda.profile_start()
    cuda.profile_stop()
    with cuda.profiling():
        pass

    @cuda.jit(device=True)
    def one(x):
        return x + 1

    def kernel(x):
        x[0] = one(x[0])

    signature = types.void(types.float32[::1])
    for text, _ in (cuda.compile_ptx(kernel, signature), cuda.compile_ptx_for_current_device(kernel, signature)):
        assert ".entry" in text
    assert ".target sm_80" in cuda.compile_ptx(kernel, signature, cc=(8, 0))[0]


def test_a_warning_names_the_line_of_the_launch():
    @cuda.jit
    def beyond(x):
        x[cuda.grid(1)] = 1

    x = np.zeros(4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        beyond[1, 32](x)
        beyond.forall(32)(x)
    found = [w for w in caught if issubclass(w.category, FindingWarning)]
    assert len(found) == 2
    assert {w.filename for w in found} == {__file__}


def test_everything_is_given_back():
    kernel = doubling()
    kernel[1, 32](np.ones(4))
    deactivate()
    assert kernel.signatures == []
    assert cuda.gpus.__class__.__name__ == "_DeviceList"
    activate(force=True)


class TooFar(Exception):
    """A program's own exception."""


def test_an_exception_of_a_debug_kernel_is_raised_at_the_launch():
    @cuda.jit(debug=True, opt=False)
    def refuses(x, n):
        i = cuda.grid(1)
        if i == n:
            raise IndexError("beyond")
        if i == n + 1:
            raise TooFar("further")
        x[i] = 1

    x = np.zeros(64, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(IndexError, match=r"tid=\[5, 0, 0\] ctaid=\[0, 0, 0\]: beyond"):
            refuses[1, 32](x, 5)
        with pytest.raises(TooFar, match=r"tid=\[0, 0, 0\] ctaid=\[0, 0, 0\]: further"):
            refuses[1, 1](x, -1)
    assert x[:8].tolist() == [1, 1, 1, 1, 1, 0, 0, 1]
    activate(strict=True)
    with pytest.raises(IndexError):  # the program may catch it, strict or not
        refuses[1, 32](x, 5)


def overrun(x):
    x[cuda.grid(1) + 1] = 0


def test_strict_and_target_outlive_a_second_activate():
    activate("sm_80", strict=True, max_steps=7)
    activate()
    with pytest.raises(FindingsError):
        cuda.jit(overrun)[1, 32](np.zeros(32, np.float32))
    assert cuda.get_current_device().compute_capability == (8, 0)
    seen = []
    activate(on_report=seen.append)
    doubling()[1, 32](np.zeros(32, np.float32))
    assert seen[0].target == "sm_80"


def test_a_long_kernel_may_have_more_steps(monkeypatch):
    @cuda.jit
    def counts(x, n):
        for k in range(n):
            x[0] += k

    x = np.zeros(1)
    activate(max_steps=50)
    with pytest.raises(StepLimitExceeded, match=r"no end after 50 steps.*--max-steps.*SCC_NUMBA_MAX_STEPS"):
        counts[1, 1](x, 1000)
    activate(max_steps=50_000)
    counts[1, 1](x, 1000)
    deactivate()
    monkeypatch.setenv("SCC_NUMBA_MAX_STEPS", "60")
    activate(force=True)
    with pytest.raises(StepLimitExceeded, match="no end after 60 steps"):
        counts[1, 1](x, 1000)
    monkeypatch.setenv("SCC_NUMBA_MAX_STEPS", "many")
    with pytest.raises(EmulatorError, match="SCC_NUMBA_MAX_STEPS='many' must be a whole number"):
        counts[1, 1](x, 1)


def test_a_bound_on_cooperative_blocks():
    @cuda.jit
    def fill(x):
        s = cuda.shared.array(8192, types.float32)
        s[cuda.threadIdx.x] = 1
        x[0] = s[cuda.threadIdx.x]

    fill[1, 32](np.zeros(1))
    (known,) = fill.overloads.values()
    # sm_90: 2,048 threads, 32 blocks and 228 KiB a multiprocessor; 1 KiB of each block's is the system's.
    assert known.max_cooperative_grid_blocks(32) == 228 // (32 + 1)
    assert known.max_cooperative_grid_blocks(1024) == 2
    assert known.max_cooperative_grid_blocks((32, 8), 64 * 1024) == 228 // (32 + 64 + 1)
    with pytest.raises(EmulatorError, match="blockdim=2048 must be between 1 and 1,024"):
        known.max_cooperative_grid_blocks(2048)


def test_ufuncs_compile_without_a_word_about_missing_sources():
    from numba import vectorize

    with warnings.catch_warnings():
        warnings.simplefilter("error")

        @vectorize(["float32(float32,float32)"], target="cuda")
        def add_twice(a, b):
            return a + b + b

        assert add_twice(np.arange(4, dtype=np.float32), np.float32(1)).tolist() == [2, 3, 4, 5]
