"""Runs, counts and checks Numba CUDA kernels on a machine with no GPU.

    from scc_numba.emulator import launch
    report = launch(kernel, grid, block, (x, y))
    report.show()

The kernel is compiled by Numba's own compiler to PTX, and the PTX runs here, vectorised over threads.
"""

from .activate import FindingWarning, activate
from .errors import (
    ArgumentError,
    CompileError,
    CompilerMissing,
    EmulatorError,
    FindingsError,
    KernelFault,
    LaunchError,
    NotCounted,
    PtxError,
    StepLimitExceeded,
    UnsupportedInstruction,
)
from .findings import KINDS, Finding
from .launch import launch
from .report import Report
from .signatures import PtxKernel

__all__ = [
    "KINDS",
    "ArgumentError",
    "CompileError",
    "CompilerMissing",
    "EmulatorError",
    "Finding",
    "FindingWarning",
    "FindingsError",
    "KernelFault",
    "LaunchError",
    "NotCounted",
    "PtxError",
    "PtxKernel",
    "Report",
    "StepLimitExceeded",
    "UnsupportedInstruction",
    "activate",
    "launch",
]
