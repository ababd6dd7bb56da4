"""A plain function is compiled again when what it depends on changes, as somebody working in a notebook expects."""

import types

import numpy as np
from numba import cuda

from scc_numba.emulator import launch
from scc_numba.emulator.frontend import _programs

FACTOR = 2.0
TABLE = np.array([1.0, 2.0, 3.0, 4.0])
settings = types.ModuleType("settings")
settings.OFFSET = 10.0


@cuda.jit(device=True)
def helper(x):
    return x + 1.0


def by_global(out):
    out[cuda.grid(1)] = FACTOR


def by_table(out):
    out[cuda.grid(1)] = TABLE[cuda.threadIdx.x]


def by_module(out):
    out[cuda.grid(1)] = settings.OFFSET


def by_helper(out):
    out[cuda.grid(1)] = helper(1.0)


def ran(kernel):
    out = np.zeros(4)
    launch(kernel, 1, 4, (out,))
    return out.tolist()


def test_changes_are_seen(monkeypatch):
    assert [ran(k)[1] for k in (by_global, by_table, by_module, by_helper)] == [2.0, 2.0, 10.0, 2.0]
    monkeypatch.setitem(globals(), "FACTOR", 5.0)
    TABLE[1] += 5.0
    monkeypatch.setattr(settings, "OFFSET", 11.0)

    @cuda.jit(device=True)
    def doubled(x):
        return x * 30.0

    monkeypatch.setitem(globals(), "helper", doubled)
    assert [ran(k)[1] for k in (by_global, by_table, by_module, by_helper)] == [5.0, 7.0, 11.0, 30.0]


def test_nothing_is_compiled_twice():
    first = ran(by_global), len(_programs[by_global])
    assert (ran(by_global), len(_programs[by_global])) == first


def test_a_dispatcher_keeps_what_it_was_compiled_from(monkeypatch):
    kernel = cuda.jit(by_global)
    before = ran(kernel)
    monkeypatch.setitem(globals(), "FACTOR", before[0] + 1)
    assert ran(kernel) == before  # as on a GPU
