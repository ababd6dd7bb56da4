"""Numba's simulator, in processes of its own: it must be chosen before Numba is imported."""

import os
import subprocess
import sys

CODE = """
import numpy as np
{first}
from scc_numba.device import backend, jit, to_device, device_array, to_host, profile
from numba import cuda

@jit(max_registers=32, fastmath=True)
def double(x, y):
    i = cuda.grid(1)
    if i < x.size:
        y[i] = 2 * x[i]

x, y = to_device(np.arange(10, dtype=np.float32)), device_array(10, np.float32)
with profile() as report:
    double[2, 8](x, y)
print(backend().name, to_host(y).tolist(), report.seconds, report.launches[0].counts)
"""


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}
    )


def test_it_runs_kernels_and_times_nothing():
    ran = run(CODE.format(first=""), SCC_NUMBA_DEVICE="simulator")
    assert ran.stdout.strip() == f"simulator {[2.0 * i for i in range(10)]} None None", ran.stderr


def test_numba_imported_first_is_an_error_that_says_what_to_do():
    ran = run(CODE.format(first="import numba.cuda"), SCC_NUMBA_DEVICE="simulator")
    assert "start Python with NUMBA_ENABLE_CUDASIM=1 SCC_NUMBA_DEVICE=simulator" in ran.stderr


def test_numbas_own_variable_is_enough():
    ran = run(CODE.format(first="import numba.cuda"), NUMBA_ENABLE_CUDASIM="1", SCC_NUMBA_DEVICE="")
    assert ran.stdout.startswith("simulator"), ran.stderr


def test_a_misspelt_backend_is_reported_at_the_first_use():
    ran = run(CODE.format(first=""), SCC_NUMBA_DEVICE="simulater")
    assert "did you mean 'simulator'?" in ran.stderr


def test_every_rung_is_right_in_the_simulator():
    code = """
import numpy as np
import scc_reference
from scc_reference import SlidingChannels
from scc_numba.device.number import in_numpy, number_type
from scc_numba.kernels import OPS, Layer, ladder
channels = SlidingChannels(6, 5, groups=2, overlap=0.34)
draw = np.random.default_rng(0)
x, weight, grad = (draw.integers(-3, 4, s) for s in ((1, 6, 3), (5, 3), (1, 5, 3)))
operands = {"forward": (x, weight), "grad_input": (grad, weight), "grad_weight": (grad, x)}
for op in OPS:
    expected = getattr(scc_reference, "scc_" + op)(*(a.astype("f4") for a in operands[op]), channels=channels)
    for rung in ladder(op):
        for dtype in map(number_type, in_numpy(rung.dtypes)):
            layer = Layer(channels, 1, 3, dtype)
            tile = min(rung.tiles(layer), key=lambda tile: tile[0])  # few threads: each is one of the CPU's
            result = rung.run(*(a.astype(dtype) for a in operands[op]), channels=channels, tile=tile)
            print(rung.name, dtype, result.dtype == dtype and np.array_equal(result, expected))
"""
    ran = run(code, SCC_NUMBA_DEVICE="simulator")
    from scc_numba.device.number import in_numpy
    from scc_numba.kernels import OPS, ladder

    expected = [f"{rung.name} {dtype} True" for op in OPS for rung in ladder(op) for dtype in in_numpy(rung.dtypes)]
    assert ran.stdout.splitlines() == expected, ran.stderr
