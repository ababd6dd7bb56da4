"""Occupancy, by hand and by NVIDIA's own calculator."""

import itertools
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest

from scc_numba.measure.sass.occupancy import LIMITS, occupancy


@pytest.mark.parametrize(
    ("target", "threads", "registers", "shared", "warps", "limits"),
    [
        # 65,536 registers / (125 → 128 of 32 threads) = 16 warps: 4 blocks of 4.
        ("sm_90", 128, 125, 25_088, 16, ("registers",)),
        # 64 warps of 32 registers need all 65,536.
        ("sm_80", 256, 32, 0, 64, ("registers", "threads")),
        # 32 blocks of one warp each, however small.
        ("sm_90", 32, 16, 0, 32, ("blocks",)),
        # 16 blocks of two warps: Turing's 32 warps are full, and so are its 16 blocks.
        ("sm_75", 64, 16, 0, 32, ("threads", "blocks")),
        # 48 KB and the driver's 1 KB: four times in 228 KB; three times in 164 KB.
        ("sm_90", 128, 32, 48 * 1024, 16, ("shared memory",)),
        ("sm_80", 128, 32, 48 * 1024, 12, ("shared memory",)),
        # Turing: 48 KB once in 64 KB.
        ("sm_75", 128, 32, 48 * 1024, 4, ("shared memory",)),
        # 1,024 threads of 65 registers (72 allotted) are 73,728: no block starts.
        ("sm_90", 1024, 65, 0, 0, ("registers",)),
        # 33 threads are two warps.
        ("sm_90", 33, 255, 0, 8, ("registers",)),
    ],
)
def test_by_hand(target, threads, registers, shared, warps, limits):
    found = occupancy(target, threads, registers, shared)
    assert (found.warps, found.limits) == (warps, limits)
    assert found.of == LIMITS[target].warps
    assert found.share == warps / found.of


def test_an_unknown_target():
    with pytest.raises(ValueError, match="did you mean 'sm_90'"):
        occupancy("sm_91", 128, 32, 0)


THREADS = (32, 33, 96, 128, 256, 640, 1024)
REGISTERS = (16, 31, 40, 64, 65, 128, 168, 255)
SHARED = (0, 1, 9_000, 25_088, 48 * 1024)
CALCULATOR = """
#include <stdio.h>
#include <stdlib.h>
#include "cuda_occupancy.h"
int main(int count, char **words) {
    int v[8];
    while (scanf("%d %d %d %d %d %d %d %d", v, v + 1, v + 2, v + 3, v + 4, v + 5, v + 6, v + 7) == 8) {
        struct cudaOccDeviceProp device = {
            v[0], v[1], 1024, v[2] * 32, 65536, 65536, 32, 49152, v[3], 1, v[3] - v[4], v[4]
        };
        struct cudaOccFuncAttributes kernel = {
            1024, v[6], v[7], PARTITIONED_GC_OFF, FUNC_SHMEM_LIMIT_DEFAULT, 0, 1, 0
        };
        struct cudaOccDeviceState state = {CACHE_PREFER_NONE, SHAREDMEM_CARVEOUT_DEFAULT};
        struct cudaOccResult result;
        if (cudaOccMaxActiveBlocksPerMultiprocessor(&result, &device, &kernel, &state, v[5], 0)) exit(1);
        printf("%d\\n", result.activeBlocksPerMultiprocessor);
    }
    return 0;
}
"""


def header():
    try:
        return next((Path(f.locate()) for f in files("nvidia-cuda-runtime") if f.name == "cuda_occupancy.h"), None)
    except PackageNotFoundError:
        return None


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler to build NVIDIA's calculator with")
@pytest.mark.skipif(
    header() is None, reason="the wheel nvidia-cuda-runtime, with NVIDIA's calculator, is not installed"
)
def test_by_nvidias_calculator(tmp_path):
    source, program = tmp_path / "occupancy.c", tmp_path / "occupancy"
    source.write_text(CALCULATOR)
    subprocess.run(["cc", f"-I{header().parent}", source, "-o", program], check=True)
    cases = list(itertools.product(LIMITS, THREADS, REGISTERS, SHARED))
    lines = []
    for target, threads, registers, shared in cases:
        number, limits = int(target.removeprefix("sm_")), LIMITS[target]
        device = (number // 10, number % 10, limits.warps, limits.shared_bytes, limits.reserved_bytes)
        lines.append(" ".join(map(str, (*device, threads, registers, shared))))
    told = subprocess.run(
        [program], input="\n".join(lines), capture_output=True, text=True, check=True
    ).stdout.split()
    assert len(told) == len(cases)
    for case, blocks in zip(cases, told, strict=True):
        assert occupancy(*case).blocks == int(blocks), case
