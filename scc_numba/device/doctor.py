"""What this machine has: facts for `scc-numba doctor`, and for a bug report."""

from __future__ import annotations

import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from scc_numba.device.backend import backend
from scc_numba.device.choice import NoBackend, choose, compiler_problem, driver, emulator_problem

SASS = "only to read machine code (scc-numba sass): pip install 'scc_numba[sass]'"


@dataclass(frozen=True)
class Fact:
    """One line of the doctor's report.

    Attributes:
        name: of what.
        found: what there is.
        advice: what to do to have it, or "" where nothing is missing.
    """

    name: str
    found: str
    advice: str = ""


def examine() -> list[Fact]:
    """Look at everything that decides where kernels run. Never raises."""
    found = driver()
    facts = [
        Fact("Python", f"{platform.python_version()} on {sys.platform} {platform.machine()}"),
        _package("numpy"),
        _package("numba"),
        _package("numba-cuda", "pip install 'numba-cuda[cu13]'"),
        Fact("compiler libraries", *_absent(compiler_problem(), "found (kernels compile without a GPU)")),
        Fact("CUDA driver", found.version or "none", "" if found.version else _driver_advice()),
        Fact("GPU", ", ".join(found.gpus) or "none", found.problem or ""),
        Fact("emulator", *_absent(emulator_problem(), "ready")),
        _package("nvidia-cuda-nvcc", SASS),
        _package("nvidia-cuda-nvdisasm", SASS),
        _package("torch", "only for the tests and the PyTorch layer: pip install torch"),
    ]
    try:
        backend()
        choice = choose()
        facts.append(Fact("backend", f"{choice.backend}, since {choice.reason}"))
    except NoBackend as error:
        facts.append(Fact("backend", "none", str(error)))
    return facts


def _package(name: str, advice: str = "pip install scc_numba") -> Fact:
    try:
        return Fact(name, version(name))
    except PackageNotFoundError:
        return Fact(name, "not installed", advice)


def _absent(problem: str | None, found: str) -> tuple[str, str]:
    return ("missing", problem) if problem else (found, "")


def _driver_advice() -> str:
    if sys.platform == "darwin":
        return "CUDA does not exist on macOS: use a Linux container or Colab, or stay with the simulator"
    return "only for a GPU: install NVIDIA's driver"
