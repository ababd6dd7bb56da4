"""What a dispatcher tells of a kernel compiled for some types, while the emulator stands in for a driver."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any

from .errors import EmulatorError, LaunchError
from .frontend import Loaded
from .targets import Target


class Overload:
    """Stands where Numba keeps a compiled kernel: `kernel.overloads[types]`.

    Attributes:
        signature: the types it was compiled for.
    """

    objectmode = False

    def __init__(self, signature: Any, load: Callable[[], Loaded], target: Target) -> None:
        self.signature = signature
        self._load, self._target = load, target

    @cached_property
    def _loaded(self) -> Loaded:
        return self._load()

    def inspect_asm(self, cc: Any = None) -> str:
        """The PTX that runs."""
        return self._loaded.text

    @property
    def shared_mem_per_block(self) -> int:
        """Bytes of static shared memory."""
        return self._loaded.program.static_shared

    @property
    def const_mem_size(self) -> int:
        """Bytes of the kernel's constants."""
        return len(self._loaded.program.constants)

    def max_cooperative_grid_blocks(self, blockdim: Any, dynsmemsize: int = 0) -> int:
        """A bound on the blocks of a cooperative launch, for the one multiprocessor that the emulated device has.

        It follows from the target's threads, blocks and shared memory of a multiprocessor. Registers, which only
        the assembler knows, may make it fewer on a GPU; more multiprocessors make it more.
        """
        threads = math.prod(blockdim) if isinstance(blockdim, tuple) else int(blockdim)
        threads = -(-threads // 32) * 32  # whole warps
        if not 1 <= threads <= self._target.threads:
            raise LaunchError(f"blockdim={blockdim!r} must be between 1 and {self._target.threads:,} threads")
        shared = self.shared_mem_per_block + int(dynsmemsize) + self._target.reserved_shared
        fitting = [self._target.resident_blocks, self._target.resident_threads // threads]
        fitting.append(self._target.resident_shared // shared if shared else fitting[0])
        return min(fitting)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise EmulatorError(
            f"{name} of a kernel is not known to the emulator, which stops at PTX: NVIDIA's assembler decides it "
            "(`ptxas -v` on the PTX of kernel.inspect_asm() prints registers and spills)"
        )
