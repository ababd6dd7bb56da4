"""Operations in which the lanes of a warp exchange values.

Each names the lanes that must take part. Lanes that are named, alive and elsewhere make the operation
divergent: on a GPU the result would be undefined or the warp would hang.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .machine_state import State
from .mask import Mask

_LANES = np.arange(32)
_BITS = np.uint32(1) << np.arange(32, dtype=np.uint32)


def _pack(bits: Any) -> Any:
    """(..., 32) booleans as one uint32 a warp."""
    return np.ascontiguousarray(np.packbits(bits, axis=-1, bitorder="little")).view("<u4")


class WarpOperations(State):
    """The part of the machine that runs shfl, vote, match, redux and bar.warp."""

    def _active(self, M: Mask | None) -> Any:
        return np.broadcast_to(True if M is None else M.bits, (self.nb, self.nw, 32))

    def _full(self, x: Any) -> Any:
        return np.broadcast_to(x, (self.nb, self.nw, 32))

    def _members(self, index: int, named: Any, M: Mask | None) -> Any:
        """Lanes of the operation; reports named lanes that are not here."""
        active = self._active(M)
        if not self.checks:
            return active
        here = _pack(active)[..., 0]
        alive = _pack(self.alive)[..., 0]
        mask = np.where(active, self._full(named), np.uint32(0)).max(axis=2)
        missing = (here != 0) & ((mask & alive & ~here) != 0)
        # A lane that calls but is not named, or named lanes that have returned, are mistakes as well.
        unnamed = (active & ((mask[..., None] & _BITS) == 0)).any(axis=2) & (here != 0)
        exists = _pack(np.broadcast_to(True if self.base is None else self.base.bits, active.shape))[..., 0]
        gone = (here != 0) & ((mask & exists & ~alive) != 0)
        bad = missing | unnamed | gone
        if bad.any():
            block, warp = (int(v[0]) for v in np.nonzero(bad))
            lane = int(np.flatnonzero(active[block, warp])[0])
            absent = int(mask[block, warp]) & int(exists[block, warp]) & ~int(here[block, warp])
            other = None
            if absent:
                other = self.thread(warp * 32 + (absent & -absent).bit_length() - 1)
                why = "have returned" if gone[block, warp] else "took another branch"
                message = f"names lanes {int(mask[block, warp]):#010x}, of which {absent:#010x} {why}"
            else:
                message = f"is run by a lane that its mask {int(mask[block, warp]):#010x} does not name"
            self.add_finding(
                "divergent-warp-operation", self.program.instructions[index], message,
                position=(block * self.nw + warp) * 32 + lane, other=other, count=int(np.count_nonzero(bad)),
            )  # fmt: skip
        return active

    def shuffle(self, index: int, mode: str, value: Any, b: Any, c: Any, named: Any, M: Mask | None) -> Any:
        """shfl.sync: (value read, whether the source lane is in range)."""
        active = self._members(index, named, M)
        if value.ndim == 0:
            value = self._full(value)
        value, b, c = self._full(value), self._full(b).astype(np.int64) & 31, self._full(c).astype(np.int64)
        clamp, segment = c & 31, (c >> 8) & 31
        low = _LANES & segment
        high = low | (clamp & ~segment)
        if mode == "up":
            source = _LANES - b
            valid = source >= high
        elif mode == "down":
            source = _LANES + b
            valid = source <= high
        elif mode == "bfly":
            source = _LANES ^ b
            valid = source <= high
        else:
            source = low | (b & ~segment)
            valid = source <= high
        source = np.where(valid, source, _LANES)
        if self.checks:
            absent = active & ~np.take_along_axis(active, source, 2)
            if absent.any():
                position = int(np.flatnonzero(absent)[0])
                lane = int(source.reshape(-1)[position])
                self.add_finding(
                    "divergent-warp-operation", self.program.instructions[index],
                    f"reads lane {lane}, which does not take part", position=position,
                    other=self.thread(position % (self.nw * 32) // 32 * 32 + lane),
                    count=int(np.count_nonzero(absent)),
                )  # fmt: skip
        return np.take_along_axis(value, source, 2), valid

    def vote(self, index: int, mode: str, predicate: Any, named: Any, M: Mask | None) -> Any:
        """vote.sync: all, any, uni or ballot."""
        active = self._members(index, named, M)
        p = self._full(predicate)
        if mode == "ballot":
            return _pack(p & active)
        if mode == "any":
            return (p & active).any(axis=2, keepdims=True)
        everyone = (p | ~active).all(axis=2, keepdims=True)
        if mode == "all":
            return everyone
        return everyone | ~(p & active).any(axis=2, keepdims=True)

    def match(self, index: int, mode: str, value: Any, named: Any, M: Mask | None) -> Any:
        """match.sync: which lanes hold the same value, and for .all whether all do."""
        active = self._members(index, named, M)
        value = self._full(value)
        equal = (value[..., :, None] == value[..., None, :]) & active[..., None, :]
        bits = _pack(equal)[..., 0]
        if mode == "any":
            return bits, None
        everyone = ((equal | ~active[..., None, :]).all(axis=3) | ~active).all(axis=2, keepdims=True)
        return np.where(everyone, _pack(active), np.uint32(0)), everyone

    def active_mask(self, M: Mask | None) -> Any:
        """The lanes that run together here: what a GPU shows when it reconverges as the emulator does."""
        return _pack(self._active(M) & self.alive)

    def reduce_warp(self, index: int, operation: str, value: Any, named: Any, M: Mask | None) -> Any:
        """redux.sync over integers."""
        active = self._members(index, named, M)
        value = self._full(value)
        info = np.iinfo(value.dtype)
        neutral = {
            "add": 0,
            "or": 0,
            "xor": 0,
            "and": -1 if info.min else info.max,
            "min": info.max,
            "max": info.min,
        }
        functions = {
            "add": np.add, "or": np.bitwise_or, "xor": np.bitwise_xor, "and": np.bitwise_and,
            "min": np.minimum,
            "max": np.maximum,
        }  # fmt: skip
        held = np.where(active, value, value.dtype.type(neutral[operation]))
        return functions[operation].reduce(held, axis=2, keepdims=True, dtype=value.dtype)

    def sync_warp(self, block: Any, named: Any, M: Mask | None, go: Any) -> None:
        """bar.warp.sync: a warp goes on once all lanes it names, and that are alive, stand at some warp
        barrier.

        Not necessarily at the same one: compilers copy the instruction into both sides of a branch.
        """
        if M is None and self.base is None:
            self._warps_passed(None)
            go(block.next, None)
            return
        here = self._active(M)
        standing = here
        for held in self.held:
            standing = standing | held[1]
        lanes = (np.broadcast_to(named, here.shape)[..., None] >> np.arange(32, dtype=np.uint32)) & np.uint32(1)
        wanted = (lanes.astype(bool) & here[..., None]).any(axis=2) & self.alive
        ready = ~(wanted & ~standing).any(axis=2, keepdims=True)
        passed = here & ready
        rest = here & ~ready
        if passed.any():
            warps = passed.any(axis=2)
            released = []
            for held in self.held:
                with_us = held[1] & warps[..., None]
                if with_us.any():
                    released.append((held[0], with_us))
                    held[1] = held[1] & ~warps[..., None]
            self.held = [h for h in self.held if h[1].any()]
            self._warps_passed(warps)
            go(block.next, M if not rest.any() else Mask(passed, self.nb, self.nw))
            for other, bits in released:
                go(other.next, Mask(np.ascontiguousarray(bits), self.nb, self.nw))
        if rest.any():
            self.held.append([block, rest])

    def _warps_passed(self, warps: Any) -> None:
        if warps is None:
            self.warp_epochs += 1
            return
        if self.nb > 1 and not (warps == warps[:1]).all() and getattr(self, "follow_shared", False):
            self._split_shadow()  # type: ignore[attr-defined]
        self.warp_epochs += warps

    def give_up_warps(self, go: Any) -> None:
        """Nobody else can run: lanes that a warp barrier waits for will not come."""
        standing = np.logical_or.reduce([bits for _, bits in self.held])
        missing = self.alive & ~standing  # lanes that have returned hold up nobody
        for block, bits in self.held:
            stuck = bits.any(axis=2) & missing.any(axis=2)
            if self.checks and stuck.any():
                b, w = (int(v[0]) for v in np.nonzero(stuck))
                absent = int(_pack(missing)[b, w, 0])
                lane = int(np.flatnonzero(bits[b, w])[0])
                self.add_finding(
                    "divergent-warp-operation", block.instructions[-1],
                    f"waits for lanes {absent:#010x}, which never reach a warp barrier",
                    position=(b * self.nw + w) * 32 + lane,
                    other=self.thread(w * 32 + (absent & -absent).bit_length() - 1),
                    count=int(np.count_nonzero(stuck)),
                )  # fmt: skip
        held, self.held = self.held, []
        for block, bits in held:
            self._warps_passed(bits.any(axis=2))
            go(block.next, Mask(np.ascontiguousarray(bits), self.nb, self.nw))
