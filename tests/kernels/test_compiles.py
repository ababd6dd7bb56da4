"""The real compiler takes every kernel, for three generations of GPUs, on a machine that has none."""

import json
import os
import subprocess
import sys

import pytest
from scc_reference import SlidingChannels

from scc_numba.device.number import in_numpy, number_type
from scc_numba.kernels import OPS, Layer, ladder
from scc_numba.measure.ptx import TARGETS

DTYPES = ("float32", "float64", "float16", "bfloat16")
LAYERS = {d: Layer(SlidingChannels(12, 10, 3, 0.5), 2, 49, number_type(d)) for d in in_numpy(DTYPES)}
CODE = """
import json, sys
import scc_numba
from scc_reference import SlidingChannels
from scc_numba.device.number import in_numpy, number_type
from scc_numba.kernels import OPS, Layer, ladder
from scc_numba.measure.ptx import TARGETS, compile_to_ptx, compile_zeroing_to_ptx

found = []
for dtype in in_numpy(sys.argv[1:]):
    layer = Layer(SlidingChannels(12, 10, 3, 0.5), 2, 49, number_type(dtype))
    for op in OPS:
        for rung in ladder(op):
            for target in TARGETS:
                if rung.supports(layer, target):
                    continue
                launch = rung.build(layer)
                ptx = compile_to_ptx(launch, op, layer, target)
                words = [line.strip() for line in ptx.splitlines()]
                found.append({
                    "rung": rung.name, "dtype": dtype, "target": target, "pointers": launch.kernel.pointers,
                    "said": next(w.split()[1] for w in words if w.startswith(".target")).rstrip(","),
                    "fma": {width: sum(w.startswith("fma.rn." + width) for w in words) for width in ("f32", "f64")},
                    "mma": any(w.startswith("mma.sync") for w in words),
                    "narrow_products": sum(w.startswith(("mul.lo.s32", "mad.lo.s32", "mul.lo.u32")) for w in words),
                    "narrow_divisions": sum(w.startswith(("div.u32", "rem.u32")) for w in words),
                })
                if launch.zeroed is not None:
                    assert "st.global" in compile_zeroing_to_ptx(launch.zeroed, layer, target)
json.dump(found, sys.stdout)
"""


@pytest.fixture(scope="module")
def compiled():
    environment = {**os.environ, "SCC_NUMBA_DEVICE": "emulator"}  # not the simulator, which has no compiler
    environment.pop("NUMBA_ENABLE_CUDASIM", None)
    ran = subprocess.run([sys.executable, "-c", CODE, *DTYPES], capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_every_rung_dtype_and_target_is_there(compiled):
    found = {(row["rung"], row["dtype"], row["target"]) for row in compiled}
    for rung in (rung for op in OPS for rung in ladder(op)):
        for dtype in set(rung.dtypes) & set(LAYERS):
            supported = [target for target in TARGETS if rung.supports(LAYERS[dtype], target) is None]
            assert "sm_90" in supported
            assert {(rung.name, dtype, target) for target in supported} <= found


def test_the_target_is_the_one_asked_for(compiled):
    assert all(row["said"] == row["target"] for row in compiled)


def test_arithmetic_is_of_the_operands_width(compiled):
    for row in compiled:  # numbers of 16 bits are widened to float32
        own, other = ("f64", "f32") if row["dtype"] == "float64" else ("f32", "f64")
        assert row["fma"][other] == 0, row
        if row["rung"] not in ("x0", "w0") and not row["mma"]:  # those two leave the addition to the atomic
            assert row["fma"][own] > 0, row


def test_index_arithmetic_is_64_bit(compiled):
    # So arrays past 2³² elements are indexed right; there is no memory to run one here. The only 32-bit products
    # belong to the quick divisions, which the compiler guards: both numbers must fit into 32 bits.
    # Kernels with flat pointers widen by hand, row by row of memory, and use 32 bits where that is safe.
    for row in (row for row in compiled if not row["pointers"]):
        assert row["narrow_products"] <= row["narrow_divisions"], row
