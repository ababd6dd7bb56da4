"""mma.sync: a warp multiplies two small matrices that are spread over its lanes' registers.

Fragment layouts are those of the PTX manual (section "Matrix multiply-accumulate operation using mma").
Products are exact; their sum is taken in float64 and rounded once. Hardware sums in an undocumented order
with fewer bits, so its last bits may differ. Operands in tf32 lose the 13 bits that the hardware ignores.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .machine_state import State
from .mask import Mask
from .values import bfloat_to_float, halves, to_tf32

_GROUP = np.arange(32) >> 2
_MEMBER = np.arange(32) & 3


def _layout(shape: str, half: bool) -> tuple[int, list[tuple[Any, Any]], list[tuple[Any, Any]]]:
    """K, and per element of A and B (registers in order, low half first) its (row, column) by lane."""
    k = int(shape.split("k")[1])
    g, t = _GROUP, _MEMBER
    a: list[tuple[Any, Any]] = []
    b: list[tuple[Any, Any]] = []
    if half:
        for register in range(k // 4):
            for h in (0, 1):
                a.append((g + 8 * (register % 2), 2 * t + 8 * (register // 2) + h))
        for register in range(k // 8):
            for h in (0, 1):
                b.append((2 * t + 8 * register + h, g))
    else:
        for register in range(k // 2):
            a.append((g + 8 * (register % 2), t + 4 * (register // 2)))
        for register in range(k // 4):
            b.append((t + 4 * register, g))
    return k, a, b


class TensorCores(State):
    """The part of the machine that multiplies tiles."""

    def matrix_multiply(
        self, index: int, shape: str, kind: str, out: str, a: Any, b: Any, c: Any, M: Mask | None
    ) -> list[Any]:
        """D = A·B + C for every warp; returns the registers of D."""
        full = (self.nb, self.nw, 32)
        if self.checks and M is not None:
            bits = np.broadcast_to(M.bits, full)
            partial = bits.any(axis=2) & ~bits.all(axis=2)
            if partial.any():
                block, warp = (int(v[0]) for v in np.nonzero(partial))
                self.add_finding(
                    "divergent-warp-operation", self.program.instructions[index],
                    "mma.sync needs all 32 lanes of the warp", position=(block * self.nw + warp) * 32,
                    count=int(np.count_nonzero(partial)),
                )  # fmt: skip
        k, a_places, b_places = _layout(shape, kind != "tf32")
        left = np.zeros((self.nb, self.nw, 16, k))
        right = np.zeros((self.nb, self.nw, k, 8))
        for matrix, registers, places in ((left, a, a_places), (right, b, b_places)):
            elements: list[Any] = []
            for r in registers:
                r = np.broadcast_to(r, full)
                if kind == "tf32":
                    elements.append(to_tf32(r.view(np.float32), "rz"))
                elif kind == "f16":
                    elements.extend(halves(r, np.dtype(np.float16)))
                else:
                    elements.extend(bfloat_to_float(h) for h in halves(r, np.dtype(np.uint16)))
            for value, (row, column) in zip(elements, places, strict=True):
                matrix[:, :, row, column] = value
        total = left @ right
        g, t = _GROUP, _MEMBER
        result = []
        if out == "f32":
            for register in range(4):
                row, column = g + 8 * (register // 2), 2 * t + register % 2
                d = total[:, :, row, column] + np.broadcast_to(c[register], full)
                result.append(d.astype(np.float32))
            return result
        for register in range(2):
            low, high = halves(np.ascontiguousarray(np.broadcast_to(c[register], full)), np.dtype(np.float16))
            row = g + 8 * register
            d0 = (total[:, :, row, 2 * t] + low).astype(np.float16).view(np.uint16).astype(np.uint32)
            d1 = (total[:, :, row, 2 * t + 1] + high).astype(np.float16).view(np.uint16).astype(np.uint32)
            result.append(d0 | d1 << np.uint32(16))
        return result
