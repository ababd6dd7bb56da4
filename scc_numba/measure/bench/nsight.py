"""The best rungs under NVIDIA's profiler, Nsight Compute.

    python -m scc_numba.measure.bench.nsight FOLDER [--seconds 500]    a report of each, where `ncu` is installed
    python -m scc_numba.measure.bench.nsight --launch f8 NAME          what it profiles: one rung on one layer

A report that is there already is not made again.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from scc_numba.device import device_array, synchronize, to_device
from scc_numba.kernels import OPS, Rung, find_rung, ladder
from scc_numba.measure.bench.layers import BenchLayer, layer_set
from scc_numba.measure.files import writable_folder

# A layer that computing limits, one that memory does, and one of tiny images and classes of two.
LAYERS = (
    "ResNet18-ImageNet-N32-256x256-14-g2-o0.5",
    "VGG16-ImageNet-N32-64x64-224-g2-o0.5",
    "MobileNet-ImageNet-N32-1024x1024-7-g8-o0.33",
)
WARM_UP = 2


def rungs() -> list[Rung]:
    """The highest of each ladder, in float32 and where there is one in tf32."""
    found = []
    for op in OPS:
        for rounds_to in (None, "tf32"):
            found += [rung for rung in ladder(op) if rung.rounds_to == rounds_to][-1:]
    return found


def launch(rung: Rung, bench: BenchLayer) -> None:
    """Run a rung a few times on a layer; the last launch is the one to be profiled."""
    layer, draw = bench.layer, np.random.default_rng(0)
    *operands, result = layer.shapes(rung.op)
    arrays = [to_device(draw.standard_normal(shape, np.float32)) for shape in operands]
    arrays.append(device_array(result, layer.dtype))
    run = rung.build(layer)
    for _ in range(WARM_UP + 1):
        run(*arrays)
    synchronize()


def command(ncu: str, rung: Rung, bench: BenchLayer, report: Path) -> list[str]:
    """The profiler's command line: all launches of the rung's kernel but those that warm up."""
    kernel = rung.build(bench.layer).kernel.name
    profile = [ncu, "--set", "full", "--clock-control", "none", "--kernel-name", f"regex:{kernel}"]
    profile += ["--launch-skip", str(WARM_UP), "--launch-count", "1", "--force-overwrite", "--export", str(report)]
    return [*profile, sys.executable, "-m", "scc_numba.measure.bench.nsight", "--launch", rung.name, bench.name]


def profile_all(folder: Path, seconds: float) -> int:
    """Make the reports that are missing; return how many could not be made.

    Raises:
        OSError: the folder cannot be written to.
    """
    ncu = shutil.which("ncu")
    if ncu is None:
        print("ncu is not installed: nothing was profiled (it comes with the CUDA toolkit, as Nsight Compute)")
        return 0
    writable_folder(folder)
    named = {layer.name: layer for layer in layer_set("full")}
    end, failed = time.monotonic() + seconds, 0
    for rung in rungs():
        for name in LAYERS:
            report = folder / f"{rung.name}_{name}.ncu-rep"
            if report.exists():
                continue
            if time.monotonic() > end:
                print("the time is over: the same command goes on")
                return failed
            print(f"{rung.name} on {name}", flush=True)
            if (
                subprocess.run(command(ncu, rung, named[name], report), check=False).returncode
                or not report.exists()
            ):
                failed += 1
    return failed


def main(arguments: Sequence[str]) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="nsight", description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--seconds", type=float, default=500.0)
    parser.add_argument("--launch", nargs=2, metavar=("RUNG", "LAYER"))
    given = parser.parse_args(arguments)
    if given.launch:
        named = {layer.name: layer for layer in layer_set("full")}
        launch(find_rung(given.launch[0]), named[given.launch[1]])
        return 0
    if given.folder is None:
        parser.error("name a folder for the reports")
    failed = profile_all(given.folder, given.seconds)
    if failed:
        print(f"{failed} reports could not be made: ncu says why above (often: it may not read the GPU's counters)")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
