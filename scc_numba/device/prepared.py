"""A launch with all done beforehand that can be: what is left is to tell the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class PreparedLaunch:
    """A pointer kernel, compiled, with its grid and block, that takes addresses of GPU memory.

    `kernel[grid, block, stream](*arrays)` looks at its dims, finds the types of its arguments and the kernel
    compiled for them, and asks each array for its address, at every launch. Here that was done once. A launch
    is told to the GPU and not waited for; it is not entered in a profile.

    Args:
        on_stream: gives the launch on a stream, as a function of addresses.
        kept: what must live as long as this does, for its address is used.
    """

    def __init__(self, on_stream: Callable[[int], Callable[..., None]], kept: tuple[Any, ...]) -> None:
        self._on_stream = on_stream
        self._kept = kept
        self._launches: dict[int, Callable[..., None]] = {}

    def __call__(self, *addresses: int, stream: int = 0) -> None:
        """Launch.

        Args:
            addresses: of the arrays, each C-contiguous and of the dtype that was prepared for; `tensor.data_ptr()`.
            stream: the stream's handle, as torch's `stream.cuda_stream`; 0 for the default one.
        """
        launch = self._launches.get(stream)
        if launch is None:
            launch = self._launches[stream] = self._on_stream(stream)
        launch(*addresses)
