"""Launches without Numba's dispatch: what numba-cuda's own launch hands over is what is handed over here."""

import ctypes

import numpy as np
import pytest

from scc_numba.device import backend, direct

if backend().name == "simulator":
    pytest.skip("nothing is launched in the simulator", allow_module_level=True)
from numba.cuda import dispatcher as numba_dispatcher
from numba.cuda import types

GRID, BLOCK = (3, 2, 1), (64, 1, 1)
SIGNATURE = (types.CPointer(types.float32), types.CPointer(types.uint32), types.uint32, types.uint64)
FIXED = (4096, 7, np.uint64(2**40))


class Library:
    """Stands for a compiled kernel's."""

    def get_cufunc(self):
        return type("Function", (), {"kernel": "the kernel", "name": "name"})


def compiled():
    """A dispatcher with a kernel that was compiled, as numba-cuda makes it, but for the driver's part."""
    kernel = object.__new__(numba_dispatcher._Kernel)
    kernel.signature = types.void(*SIGNATURE)
    kernel._codelibrary, kernel.debug, kernel.cooperative, kernel.extensions = Library(), False, False, []
    dispatcher = numba_dispatcher.CUDADispatcher(lambda a, b, c, d: None, {"extensions": []})
    dispatcher.overloads[SIGNATURE] = kernel
    dispatcher._specialized = True
    return dispatcher, kernel


@pytest.fixture
def launched(monkeypatch):
    """What reaches the driver."""
    found = []
    monkeypatch.setattr(numba_dispatcher, "launch", lambda *given: found.append(given))
    monkeypatch.setattr(numba_dispatcher.driver, "_to_core_stream", lambda stream: f"stream {stream}")
    return found


def plain(given):
    stream, config, kernel, *arguments = given
    numbers = [(type(a).__name__, a.value) if isinstance(a, ctypes._SimpleCData) else a for a in arguments]
    return stream, (config.grid, config.block, config.shmem_size), kernel, numbers


@pytest.mark.filterwarnings("ignore:Grid size")
def test_the_same_reaches_the_driver_as_by_numbas_own_launch(launched):
    dispatcher, _ = compiled()
    configuration = (GRID, BLOCK, 5, 512)
    dispatcher[configuration](1024, *FIXED)
    direct.direct_launch(dispatcher, configuration, SIGNATURE, FIXED)(1024)
    by_numba, by_us = map(plain, launched)
    assert by_us == by_numba
    assert by_us[1] == (GRID, BLOCK, 512)
    assert by_us[3] == [1024, 4096, ("c_uint", 7), ("c_ulong", 2**40)]


def test_the_trial_says_no_where_nothing_arrives(monkeypatch):
    monkeypatch.setattr(direct.cuda, "jit", lambda signature: lambda function: None)
    direct.works.cache_clear()
    assert direct.works() is False
    direct.works.cache_clear()


@pytest.mark.gpu
def test_it_works_here():
    if backend().name != "gpu":
        pytest.skip("needs a CUDA GPU")
    assert direct.works()
