"""The errors this room raises, all of them subclasses of `EmulatorError`."""

from __future__ import annotations


class EmulatorError(Exception):
    """Anything the emulator refuses: bad arguments, unreadable PTX, an unknown instruction, a stuck
    kernel.
    """


class LaunchError(EmulatorError, ValueError):
    """A grid, block, argument or target that no device would accept."""


class ArgumentError(EmulatorError, TypeError):
    """An argument whose type, layout or writability does not fit the kernel's signature."""


class PtxError(EmulatorError, ValueError):
    """PTX that does not parse; the message carries line and column."""


class UnsupportedInstruction(EmulatorError, NotImplementedError):
    """An instruction the emulator does not know; it stops instead of computing something wrong."""


class CompileError(EmulatorError, TypeError):
    """Numba's compiler refuses the kernel for these arguments; its own words are beneath."""


class CompilerMissing(EmulatorError, ImportError):
    """Numba's CUDA compiler is not installed."""


class StepLimitExceeded(EmulatorError, RuntimeError):
    """The kernel ran longer than the step cap: most likely a livelock."""


class KernelFault(EmulatorError, RuntimeError):
    """The kernel did what would stop a GPU: a trap, or an address in no memory at all."""


class NotCounted(EmulatorError, RuntimeError):
    """A count was asked of a report whose launch had counters=False."""


class FindingsError(EmulatorError, AssertionError):
    """Raised by a strict launch that found something; `.report` holds the full report."""

    def __init__(self, message: str, report: object) -> None:
        super().__init__(message)
        self.report = report
