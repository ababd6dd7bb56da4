"""Which threads of a batch take part: a boolean array of shape (blocks | 1, warps | 1, 32 | 1), with its
counts.

`None` stands for all threads wherever a mask is expected; it is by far the commonest case.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import access as ac

NO_MASK = np.zeros(0, np.uint8)
NO_MASK_LAYOUT = (NO_MASK, 0, 0, 0)


def strides(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Element strides of a flat C-ordered value, 0 along axes where it is the same."""
    b, w, lanes = shape
    return (w * lanes if b > 1 else 0), (lanes if w > 1 else 0), (1 if lanes > 1 else 0)


class Mask:
    """Threads that take part, and how many threads and warps they are."""

    __slots__ = ("_layout", "bits", "threads", "warps")

    def __init__(self, bits: Any, blocks: int, warps: int) -> None:
        self.bits = bits
        flat = np.ascontiguousarray(bits).reshape(-1).view(np.uint8)
        self._layout = (flat, *strides(bits.shape))
        self.threads, self.warps = ac.mask_size(*self._layout, blocks, warps)

    @property
    def layout(self) -> tuple[Any, int, int, int]:
        """The mask as the compiled loops take it: flat bytes and three strides."""
        return self._layout
