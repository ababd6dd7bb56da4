"""What GPUs can do at best, with the source of each figure.

Data sheets: "NVIDIA T4 Tensor Core GPU" (2019), "NVIDIA A100 Tensor Core GPU" (2022, the SXM4 board with 80 GB),
"NVIDIA H100 Tensor Core GPU" (2023, SXM5), "NVIDIA H200 Tensor Core GPU" (2024, SXM5). They give bandwidths and
peaks; tensor-core figures with sparsity are halved here. Multiprocessors and clocks are of the architecture
whitepapers and product briefs; each clock is checked by the tests: it must give the data sheet's FP32 peak.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

# CUDA C++ Programming Guide, "Multiprocessor Level" of each compute capability: four schedulers, one warp
# instruction a clock each.
ISSUE_PER_CLOCK = 4
# The same guide: 32 banks of 4 bytes, one pass ("wavefront") a clock. The L1 cache shares that memory; that it
# passes as many bytes is assumed (Turing's may pass 64).
L1_BYTES_PER_CLOCK = 128
# NVIDIA publishes no rate for atomics on one address later than Kepler's whitepaper ("GK110", 2012: one update a
# clock), which is assumed for all.
ATOMICS_PER_CLOCK_ON_ONE_ADDRESS = 1


@dataclass(frozen=True)
class Gpu:
    """A GPU at its best.

    Attributes:
        name: "H200".
        target: what kernels are compiled for, "sm_90".
        multiprocessors: how many.
        clock: boost clock, Hz.
        dram_bandwidth: bytes a second, of the data sheet.
        l2_bytes_per_clock: what the L2 cache can pass in a clock; see `l2_source`.
        l2_source: where that figure is from.
        fp32_lanes: float32 multiply-adds of a multiprocessor in a clock; fp64_lanes: float64. CUDA C++ Programming
            Guide, "Throughput of Native Arithmetic Instructions".
        tensor_flops: peaks of the tensor cores by type of operand, FLOP/s, dense, float32 accumulators.
    """

    name: str
    target: str
    multiprocessors: int
    clock: float
    dram_bandwidth: float
    l2_bytes_per_clock: int
    l2_source: str
    fp32_lanes: int
    fp64_lanes: int
    tensor_flops: dict[str, float]

    @property
    def fp32_flops(self) -> float:
        """Peak of float32, FLOP/s; a multiply-add is two."""
        return 2 * self.fp32_lanes * self.multiprocessors * self.clock

    @property
    def fp64_flops(self) -> float:
        """Peak of float64 without tensor cores, FLOP/s."""
        return 2 * self.fp64_lanes * self.multiprocessors * self.clock

    @property
    def l2_bandwidth(self) -> float:
        """Bytes a second of the L2 cache."""
        return self.l2_bytes_per_clock * self.clock


_A100_WHITEPAPER = "NVIDIA A100 whitepaper (2020), table of L2 caches: 5,120 bytes a clock"
_HOPPER_L2 = "assumed as the A100's (5,120 bytes a clock); NVIDIA publishes none for Hopper"
_HOPPER_TENSOR = {"float16": 989.5e12, "bfloat16": 989.5e12, "tf32": 494.7e12}  # data sheet, halved: sparsity

GPUS = {
    gpu.name: gpu
    for gpu in (
        Gpu(
            "T4",
            "sm_75",
            multiprocessors=40,  # 2,560 cores by 64
            clock=1.59e9,  # product brief; 8.1 TFLOPS FP32 in the data sheet
            dram_bandwidth=320e9,  # data sheet
            l2_bytes_per_clock=1024,
            l2_source="assumed: half of the V100's 2,048 bytes a clock (NVIDIA A100 whitepaper), for half as many "
            "multiprocessors; NVIDIA publishes none for Turing",
            fp32_lanes=64,
            fp64_lanes=2,
            tensor_flops={"float16": 65e12},  # data sheet, mixed precision; it knows neither bfloat16 nor tf32
        ),
        Gpu(
            "A100",
            "sm_80",
            multiprocessors=108,  # whitepaper
            clock=1.41e9,  # whitepaper; 19.5 TFLOPS FP32 in the data sheet
            dram_bandwidth=2039e9,  # data sheet, 80 GB SXM
            l2_bytes_per_clock=5120,
            l2_source=_A100_WHITEPAPER,
            fp32_lanes=64,
            fp64_lanes=32,
            tensor_flops={"float16": 312e12, "bfloat16": 312e12, "tf32": 156e12},  # data sheet
        ),
        Gpu(
            "H100",
            "sm_90",
            multiprocessors=132,  # whitepaper, SXM5
            clock=1.98e9,  # what gives the data sheet's 67 TFLOPS FP32
            dram_bandwidth=3.35e12,  # data sheet
            l2_bytes_per_clock=5120,
            l2_source=_HOPPER_L2,
            fp32_lanes=128,
            fp64_lanes=64,
            tensor_flops=_HOPPER_TENSOR,
        ),
        Gpu(
            "H200",
            "sm_90",
            multiprocessors=132,
            clock=1.98e9,  # what gives the data sheet's 67 TFLOPS FP32
            dram_bandwidth=4.8e12,  # data sheet
            l2_bytes_per_clock=5120,
            l2_source=_HOPPER_L2,
            fp32_lanes=128,
            fp64_lanes=64,
            tensor_flops=_HOPPER_TENSOR,
        ),
    )
}


def find_gpu(name: str) -> Gpu:
    """The GPU of that name, in any case.

    Raises:
        ValueError: it is not known; the message names the nearest.
    """
    known = {key.lower(): gpu for key, gpu in GPUS.items()}
    if name.lower() in known:
        return known[name.lower()]
    nearest = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    hint = f"did you mean {known[nearest[0]].name!r}?" if nearest else f"there are {', '.join(GPUS)}"
    raise ValueError(f"gpu={name!r} is not one that the model knows: {hint}")
