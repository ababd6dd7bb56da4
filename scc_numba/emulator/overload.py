"""What a dispatcher tells of a kernel compiled for some types, while the emulator stands in for a driver."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from .errors import EmulatorError
from .frontend import Loaded


class Overload:
    """Stands where Numba keeps a compiled kernel: `kernel.overloads[types]`.

    Attributes:
        signature: the types it was compiled for.
    """

    objectmode = False

    def __init__(self, signature: Any, load: Callable[[], Loaded]) -> None:
        self.signature = signature
        self._load = load

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

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        raise EmulatorError(
            f"{name} of a kernel is not known to the emulator, which stops at PTX: NVIDIA's assembler decides it "
            "(`ptxas -v` on the PTX of kernel.inspect_asm() prints registers and spills)"
        )
