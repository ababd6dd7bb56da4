"""The data sheets' figures agree with each other."""

import pytest

from scc_numba.model import GPUS, find_gpu

# FP32 and FP64 peaks as the data sheets print them, TFLOP/s. (The T4's gives no FP64.)
PRINTED = {"T4": (8.1, None), "A100": (19.5, 9.7), "H100": (67, 34), "H200": (67, 34)}


@pytest.mark.parametrize("name", PRINTED)
def test_clock_and_lanes_give_the_printed_peaks(name):
    gpu, (fp32, fp64) = GPUS[name], PRINTED[name]
    assert gpu.fp32_flops / 1e12 == pytest.approx(fp32, rel=0.02)
    if fp64 is not None:
        assert gpu.fp64_flops / 1e12 == pytest.approx(fp64, rel=0.02)


def test_tensor_cores():
    assert GPUS["A100"].tensor_flops["tf32"] * 2 == GPUS["A100"].tensor_flops["bfloat16"]
    assert "tf32" not in GPUS["T4"].tensor_flops
    for gpu in GPUS.values():
        assert all(peak > gpu.fp32_flops for peak in gpu.tensor_flops.values())


def test_what_is_assumed_is_said():
    for gpu in GPUS.values():
        assert ("assumed" in gpu.l2_source) == (gpu.name != "A100")
        assert gpu.l2_bandwidth > gpu.dram_bandwidth


def test_finding():
    assert find_gpu("h200") is GPUS["H200"]
    with pytest.raises(ValueError, match="gpu='H20' is not one that the model knows: did you mean 'H200'"):
        find_gpu("H20")
    with pytest.raises(ValueError, match="there are T4, A100, H100, H200"):
        find_gpu("quantum")
