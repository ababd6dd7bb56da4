"""The compiled inner loops: one pass over the lanes of a memory instruction checks it and counts it.

Everything else in the emulator is NumPy; here a single compiled pass replaces a dozen array operations.
Addresses and masks arrive flat with one stride per axis (block, warp, lane), 0 where the value is the same
along that axis, so that an address common to all blocks is looked at once and counted for all.

Counting rules (the same as a profiler's): a *request* is one warp executing one memory instruction; a
*sector* is 32 bytes of global memory, counted once per request; a *wavefront* is one pass of shared
memory's 32 four-byte banks.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit, types

# Columns of a site's statistics.
REQUESTS, SECTORS, LANES, WAVEFRONTS, IDEAL, WORST = range(6)
COLUMNS = 6

# Rows of a fault record; each row is: how many, thread (flat position in the batch), other thread, address.
(OUT_OF_BOUNDS, MISALIGNED, UNINITIALISED, READ_AFTER_WRITE, WRITE_AFTER_READ, WRITE_AFTER_WRITE, SAME_WRITE,
 IN_FLIGHT, WRITE_AND_ATOMIC) = range(9)  # fmt: skip
FAULT_ROWS = 9

# How an access touches memory.
LOAD, STORE, ATOMIC = 0, 1, 2

# A shadow entry is epoch << 32 | warp epoch << 16 | thread; these stand in the thread's place, and the thread (of
# several readers the last, or who did the atomic) in the warp epoch's.
NOBODY, SEVERAL, BY_ATOMIC = 0xFFFF, 0xFFFE, 0xFFFD

_OFFSET = (1 << 40) - 1  # an address without its window, see program.py

# One letter an argument: a = flat int64 array, s = flat int32, m = flat bytes, t = table, c = cube, i = int64.
_TYPES = {
    "a": types.Array(types.int64, 1, "C"),
    "m": types.Array(types.uint8, 1, "C"),
    "t": types.Array(types.int64, 2, "C"),
    "c": types.Array(types.int64, 3, "C"),
    "s": types.Array(types.int32, 1, "C"),
    "i": types.int64,
}


def compiled(arguments: str) -> Any:
    """Compile for exactly these argument types, once per machine, when first called.

    Loading one loop from Numba's cache makes Numba import and register all it knows (a third of a second): a
    process that only imports this package, or never uses shared memory, need not wait for that.
    """

    def later(function: Any) -> Any:
        ready: list[Any] = []

        @functools.wraps(function)
        def first(*args: Any) -> Any:
            if not ready:
                ready.append(
                    njit([tuple(_TYPES[c] for c in arguments if c != " ")], cache=True, nogil=True)(function)
                )
                function.__globals__[function.__name__] = ready[0]  # the next call goes straight there
            return ready[0](*args)

        return first

    return later


@compiled("aiiii miii iiiittmimat i")
def global_access(  # noqa: D417
    addr,
    base,
    a0,
    a1,
    a2,
    mask,
    m0,
    m1,
    m2,
    blocks,
    warps,
    size,
    shift,
    spans,
    stats,
    touched,
    mark,
    defined,
    index,
    fault,
    counting,
):
    """Check and count one global access.

    Args:
        addr: addresses, flat; base: that of the arena; a0, a1, a2: strides of addr.
        mask: 1 where a lane takes part (length 0: all do); m0, m1, m2: its strides.
        shift: log2 of the element size.
        spans: (k, 4): first byte, end, row of stats, defined-from-the-start; the arrays this instruction
            may touch.
        stats: (sites, COLUMNS), counted into.
        touched: one byte a sector, `mark` is or-ed in.
        defined: one byte an arena byte, 0 where nothing was written yet (length 0: not tracked); stores set
            it.
        index: element numbers, laid out like addr; 0 (a spare cell) for lanes that must not touch memory.
        fault: (FAULT_ROWS, 4).
        counting: 0 to check only, and leave stats and touched alone.

    Returns:
        How many lanes were at fault.
    """
    bad = 0
    sectors = np.empty(32, np.int64)
    alone = a0 == 0 and m0 == 0
    rounds = 1 if alone else blocks
    scale = blocks if alone else 1
    masked = len(mask) > 0
    is_store = mark == 2
    plain = not masked and spans.shape[0] == 1 and len(defined) == 0 and a2 == 1
    low, high, row = spans[0, 0], spans[0, 1], spans[0, 2]
    for b in range(rounds):
        for w in range(warps):
            if plain:
                # The common case in two short loops: all lanes take part, in one array, without fault.
                start = b * a0 + w * a1
                least = addr[start] - base
                most = least
                union = least
                for lane in range(32):
                    a = addr[start + lane] - base
                    index[start + lane] = a >> shift
                    least = min(least, a)
                    most = max(most, a)
                    union |= a
                if least >= low and most + size <= high and union & (size - 1) == 0:
                    if not counting:
                        continue
                    distinct = 1
                    last = (addr[start] - base) >> 5
                    touched[last] |= mark
                    rising = True
                    if least >> 5 != most >> 5:
                        for lane in range(1, 32):
                            sector = (addr[start + lane] - base) >> 5
                            if sector != last:
                                if sector < last:
                                    rising = False
                                    break
                                distinct += 1
                                last = sector
                                touched[sector] |= mark
                    if rising:
                        stats[row, REQUESTS] += scale
                        stats[row, SECTORS] += scale * distinct
                        stats[row, LANES] += scale * 32
                        stats[row, IDEAL] += scale * min(distinct, size)
                        continue
                for lane in range(32):
                    index[start + lane] = 0
            count = 0
            distinct = 0
            last = np.int64(-1)
            rising = True
            site = np.int64(-1)
            if a2 == 0:
                for lane in range(32):
                    if not masked or mask[b * m0 + w * m1 + lane * m2]:
                        count += 1
            lanes = 32
            if a2 == 0:
                lanes = 1 if count > 0 else 0
            for lane in range(lanes):
                if a2 != 0 and masked and not mask[b * m0 + w * m1 + lane * m2]:
                    continue
                where = b * a0 + w * a1 + lane * a2
                a = addr[where] - base
                here = -1
                for k in range(spans.shape[0]):
                    if a >= spans[k, 0] and a + size <= spans[k, 1]:
                        here = k
                        break
                if here < 0:
                    bad += 1
                    if fault[OUT_OF_BOUNDS, 0] == 0:
                        fault[OUT_OF_BOUNDS, 1] = (b * warps + w) * 32 + lane
                        fault[OUT_OF_BOUNDS, 3] = a
                    fault[OUT_OF_BOUNDS, 0] += scale * (count if a2 == 0 else 1)
                    continue
                if a & (size - 1) != 0:
                    bad += 1
                    if fault[MISALIGNED, 0] == 0:
                        fault[MISALIGNED, 1] = (b * warps + w) * 32 + lane
                        fault[MISALIGNED, 3] = a
                    fault[MISALIGNED, 0] += scale * (count if a2 == 0 else 1)
                    continue
                if len(defined) > 0:
                    if is_store:
                        for j in range(size):
                            defined[a + j] = 1
                    elif spans[here, 3] == 0:
                        for j in range(size):
                            if defined[a + j] == 0:
                                bad += 1
                                if fault[UNINITIALISED, 0] == 0:
                                    fault[UNINITIALISED, 1] = (b * warps + w) * 32 + lane
                                    fault[UNINITIALISED, 3] = a
                                fault[UNINITIALISED, 0] += 1
                                break
                index[where] = a >> shift
                if site < 0:
                    site = spans[here, 2]
                if not counting:
                    continue
                if a2 != 0:
                    count += 1
                sector = a >> 5
                if sector == last:
                    continue
                if sector < last:
                    rising = False
                sectors[distinct] = sector
                distinct += 1
                last = sector
                touched[sector] |= mark
            if site < 0 or not counting:
                continue
            if not rising:
                # Out of order: count each sector once.
                unique = 0
                for i in range(distinct):
                    known = False
                    for j in range(unique):
                        if sectors[j] == sectors[i]:
                            known = True
                            break
                    if not known:
                        sectors[unique] = sectors[i]
                        unique += 1
                distinct = unique
            stats[site, REQUESTS] += scale
            stats[site, SECTORS] += scale * distinct
            stats[site, LANES] += scale * count
            least = (count * size + 31) // 32 if a2 != 0 else 1
            stats[site, IDEAL] += scale * min(least, distinct)
    return bad


@compiled("aiii miii iiiitiitati")
def shared_access(  # noqa: D417
    addr, a0, a1, a2, mask, m0, m1, m2, blocks, warps, size, shift, spans, limit, row, stats, index, fault, counting
):
    """Check and count one shared-memory access (races are `shared_race`'s business).

    Args:
        addr: addresses, flat; only the offset in the window counts; a0, a1, a2: strides.
        spans: (k, 3): first byte, end, row of stats; the arrays this instruction may touch.
        limit: where the block's spare cell is.
        row: bytes between two blocks' memories, 0 to leave blocks apart.
        index: element numbers for lanes that may access, the spare cell (at `limit`) for the others; laid
            out like addr.
        counting: 0 to check only.

    Returns how many lanes were at fault.

    64-bit accesses go by half-warps, 128-bit ones by quarter-warps: that is a model of the hardware's rule.
    """
    bad = 0
    alone = a0 == 0 and m0 == 0
    rounds = 1 if alone else blocks
    scale = blocks if alone else 1
    masked = len(mask) > 0
    phases = 1
    words = 1
    if size == 8:
        phases = 2
        words = 2
    elif size == 16:
        phases = 4
        words = 4
    group = 32 // phases
    bank_word = np.empty((32, 32), np.int64)
    bank_count = np.zeros(32, np.int64)
    for b in range(rounds):
        for w in range(warps):
            count = 0
            waves = 0
            site = np.int64(-1)
            for phase in range(phases):
                worst = 0
                first = np.int64(-1)
                previous = np.int64(-2)
                cleared = False
                for lane in range(phase * group, (phase + 1) * group):
                    if masked and not mask[b * m0 + w * m1 + lane * m2]:
                        continue
                    where = b * a0 + w * a1 + lane * a2
                    a = addr[where] & _OFFSET
                    here = -1
                    for k in range(spans.shape[0]):
                        if a >= spans[k, 0] and a + size <= spans[k, 1]:
                            here = k
                            break
                    if here < 0:
                        bad += 1
                        if fault[OUT_OF_BOUNDS, 0] == 0:
                            fault[OUT_OF_BOUNDS, 1] = (b * warps + w) * 32 + lane
                            fault[OUT_OF_BOUNDS, 3] = a
                        fault[OUT_OF_BOUNDS, 0] += scale
                        index[where] = (limit + b * row) >> shift
                        continue
                    if a & (size - 1) != 0:
                        bad += 1
                        if fault[MISALIGNED, 0] == 0:
                            fault[MISALIGNED, 1] = (b * warps + w) * 32 + lane
                            fault[MISALIGNED, 3] = a
                        fault[MISALIGNED, 0] += scale
                        index[where] = (limit + b * row) >> shift
                        continue
                    index[where] = (a + b * row) >> shift
                    if not counting:
                        continue
                    if site < 0:
                        site = spans[here, 2]
                    count += 1
                    word = a >> 2
                    if first < 0:
                        first = word
                        worst = 1
                        previous = word
                        continue
                    if not cleared:
                        # Broadcast or neighbouring words: no conflict, nothing to look up.
                        if word == previous:
                            continue
                        if word == previous + words and word - first < 32:
                            previous = word
                            continue
                        cleared = True
                        for k in range(32):
                            bank_count[k] = 0
                        filled = first
                        while filled <= previous:
                            for k in range(words):
                                bank = (filled + k) & 31
                                bank_word[bank, bank_count[bank]] = filled + k
                                bank_count[bank] += 1
                            filled += words
                    for k in range(words):
                        bank = (word + k) & 31
                        known = False
                        for j in range(bank_count[bank]):
                            if bank_word[bank, j] == word + k:
                                known = True
                                break
                        if not known:
                            bank_word[bank, bank_count[bank]] = word + k
                            bank_count[bank] += 1
                            if bank_count[bank] > worst:
                                worst = bank_count[bank]
                waves += worst
            if count == 0:
                continue
            stats[site, REQUESTS] += scale
            stats[site, LANES] += scale * count
            stats[site, WAVEFRONTS] += scale * waves
            least = (count * size + 127) // 128 if a2 != 0 else 1
            stats[site, IDEAL] += scale * least
    return bad


@compiled("aiii miii iiit")
def count_local(addr, a0, a1, a2, mask, m0, m1, m2, blocks, warps, size, stats):
    """Count one local-memory access.

    A model: hardware interleaves the threads' local memories word by word, so a warp whose lanes all access
    the same offset touches neighbouring words. A word of 4 bytes of all 32 lanes is 4 sectors.
    """
    seen = np.empty(128, np.int64)
    masked = len(mask) > 0
    alone = a0 == 0 and m0 == 0
    rounds = 1 if alone else blocks
    scale = blocks if alone else 1
    for b in range(rounds):
        for w in range(warps):
            count = 0
            distinct = 0
            for lane in range(32):
                if masked and not mask[b * m0 + w * m1 + lane * m2]:
                    continue
                count += 1
                a = addr[b * a0 + w * a1 + lane * a2] & _OFFSET
                for word in range(a >> 2, (a + size + 3) >> 2):
                    sector = word * 4 + (lane >> 3)
                    known = False
                    for j in range(distinct):
                        if seen[distinct - 1 - j] == sector:
                            known = True
                            break
                    if not known:
                        seen[distinct] = sector
                        distinct += 1
            if count:
                stats[0, REQUESTS] += scale
                stats[0, LANES] += scale * count
                stats[0, SECTORS] += scale * distinct
                stats[0, IDEAL] += scale * ((count * size + 31) // 32)


@compiled("miii ii")
def mask_size(mask, m0, m1, m2, blocks, warps):
    """Threads in a mask, and warps with at least one of them."""
    rounds = blocks if m0 else 1
    scale = 1 if m0 else blocks
    threads = 0
    active = 0
    for b in range(rounds):
        for w in range(warps):
            inside = 0
            for lane in range(32):
                inside += mask[b * m0 + w * m1 + lane * m2]
            threads += inside
            if inside:
                active += 1
    return threads * scale, active * scale
