"""The compiled loops that look for races: who wrote and read each place, and whether a barrier came in between.

A shadow holds, for each few bytes of memory, the thread that touched them last and how many barriers it had
passed by then. Two threads are ordered if their block passed a barrier between them, or if they are of one
warp and the warp passed one of its own.
"""

from __future__ import annotations

from numba import njit

from .access import (
    ATOMIC,
    BY_ATOMIC,
    IN_FLIGHT,
    LOAD,
    NOBODY,
    READ_AFTER_WRITE,
    SAME_WRITE,
    SEVERAL,
    STORE,
    UNINITIALISED,
    WRITE_AFTER_READ,
    WRITE_AFTER_WRITE,
    WRITE_AND_ATOMIC,
    compiled,
)

# An entry for global memory: thread of the grid + 1, barriers its block passed, barriers its warp passed.
_THREAD, _EPOCH, _WARP_EPOCH = 30, 12, 0
_EPOCHS, _WARP_EPOCHS = (1 << (_THREAD - _EPOCH)) - 1, (1 << _EPOCH) - 1


@njit(inline="always")
def _hazard(entry, epoch, warp_epoch, thread):
    """Whether an earlier access and one by `thread` now are unordered: no barrier between them, other
    thread.
    """
    who = entry & 0xFFFF
    if who in (NOBODY, thread) or (entry >> 32) != epoch:
        return False
    if who >= BY_ATOMIC:
        return True
    return not ((who >> 5) == (thread >> 5) and ((entry >> 16) & 0xFFFF) != warp_epoch)


@njit(inline="always")
def _who(entry):
    """The thread of an entry, where it is known."""
    who = entry & 0xFFFF
    return (entry >> 16) & 0xFFFF if who >= BY_ATOMIC and who != NOBODY else who


@compiled("aiii imiii iiiiiiicatt")
def shared_race(  # noqa: D417
    index,
    a0,
    a1,
    a2,
    row,
    mask,
    m0,
    m1,
    m2,
    rows,
    warps,
    size,
    shift,
    limit,
    grain,
    mode,
    shadow,
    epochs,
    warp_epochs,
    fault,
):
    """Follow who wrote and read each grain of shared memory, and report accesses that no barrier orders.

    Args:
        index: as `shared_access` left it; lanes at the spare cell (`limit`) take no part.
        rows: blocks to follow: 1 while all blocks behave alike, else all.
        grain: bytes of one shadow entry, the smallest access in the kernel.
        mode: LOAD, STORE or ATOMIC.
        shadow: (blocks, grains, 3): last writer, last reader, 1 while a cp.async is in flight to the grain.
        epochs: barriers passed, per block; warp_epochs: (blocks, warps), warp barriers passed.
    """
    bad = 0
    masked = len(mask) > 0
    for b in range(rows):
        epoch = epochs[b]
        for phase in range(3):
            if (phase > 0 and mode == LOAD) or (phase > 1 and mode == ATOMIC):
                break
            for w in range(warps):
                warp_epoch = warp_epochs[b, w] & 0xFFFF
                for lane in range(32):
                    if masked and not mask[b * m0 + w * m1 + lane * m2]:
                        continue
                    a = (index[b * a0 + w * a1 + lane * a2] << shift) - b * row
                    if a >= limit:
                        continue
                    thread = w * 32 + lane
                    mine = (epoch << 32) | (warp_epoch << 16) | thread
                    for g in range(a // grain, (a + size - 1) // grain + 1):
                        writer = shadow[b, g, 0]
                        if phase == 1:
                            # All lanes are checked before the first one is noted: they act at once.
                            by_atomic = (epoch << 32) | (thread << 16) | BY_ATOMIC
                            shadow[b, g, 0] = mine if mode == STORE else by_atomic
                            shadow[b, g, 2] = 0
                            continue
                        if phase == 2:
                            # Two lanes, one word, one instruction: the one that is not there any more lost.
                            if writer != mine:
                                bad += 1
                                if fault[SAME_WRITE, 0] == 0:
                                    fault[SAME_WRITE, 1] = b * warps * 32 + thread
                                    fault[SAME_WRITE, 2] = writer & 0xFFFF
                                    fault[SAME_WRITE, 3] = a
                                fault[SAME_WRITE, 0] += 1
                            continue
                        if shadow[b, g, 2] != 0:
                            bad += 1
                            if fault[IN_FLIGHT, 0] == 0:
                                fault[IN_FLIGHT, 1] = b * warps * 32 + thread
                                fault[IN_FLIGHT, 2] = writer & 0xFFFF
                                fault[IN_FLIGHT, 3] = a
                            fault[IN_FLIGHT, 0] += 1
                        elif (mode != ATOMIC or (writer & 0xFFFF) != BY_ATOMIC) and _hazard(
                            writer, epoch, warp_epoch, thread
                        ):
                            kind = WRITE_AFTER_WRITE if mode != LOAD else READ_AFTER_WRITE
                            bad += 1
                            if fault[kind, 0] == 0:
                                fault[kind, 1] = b * warps * 32 + thread
                                fault[kind, 2] = _who(writer)
                                fault[kind, 3] = a
                            fault[kind, 0] += 1
                        if mode == LOAD:
                            if (writer & 0xFFFF) == NOBODY:
                                bad += 1
                                if fault[UNINITIALISED, 0] == 0:
                                    fault[UNINITIALISED, 1] = b * warps * 32 + thread
                                    fault[UNINITIALISED, 3] = a
                                fault[UNINITIALISED, 0] += 1
                            reader = shadow[b, g, 1]
                            if (
                                (reader >> 32) == epoch
                                and (reader & 0xFFFF) != NOBODY
                                and (reader & 0xFFFF) != thread
                            ):
                                shadow[b, g, 1] = (epoch << 32) | (thread << 16) | SEVERAL
                            else:
                                shadow[b, g, 1] = mine
                        else:
                            if _hazard(shadow[b, g, 1], epoch, warp_epoch, thread):
                                bad += 1
                                if fault[WRITE_AFTER_READ, 0] == 0:
                                    fault[WRITE_AFTER_READ, 1] = b * warps * 32 + thread
                                    fault[WRITE_AFTER_READ, 2] = _who(shadow[b, g, 1])
                                    fault[WRITE_AFTER_READ, 3] = a
                                fault[WRITE_AFTER_READ, 0] += 1
    return bad


@njit(inline="always")
def _entry(thread, epoch, warp_epoch):
    """What the shadow of global memory holds of a thread of the grid; 0 stands for nobody."""
    return ((thread + 1) << _THREAD) | ((epoch & _EPOCHS) << _EPOCH) | (warp_epoch & _WARP_EPOCHS)


@njit(inline="always")
def _unordered(before, now, per_block):
    """Whether an earlier access of global memory and one now are of two threads of one block, with no barrier
    between them.
    """
    one, other = (before >> _THREAD) - 1, (now >> _THREAD) - 1
    if before == 0 or one == other or one // per_block != other // per_block:
        return False
    if (before ^ now) >> _EPOCH & _EPOCHS != 0:
        return False
    return one >> 5 != other >> 5 or (before ^ now) & _WARP_EPOCHS == 0


@compiled("aiii miii iiiiii at a s i a t")
def global_race(  # noqa: D417
    index,
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
    grain,
    first_thread,
    epochs,
    warp_epochs,
    writers,
    sites,
    site,
    rewritten,
    fault,
):
    """Report two threads that write one place of global memory with nothing to order them.

    Args:
        index: element numbers in the arena, 0 for lanes that take no part.
        first_thread: number of the batch's first thread in the grid (warps * 32 threads a block).
        epochs: barriers passed, per block; warp_epochs: (blocks, warps), warp barriers passed.
        writers: per grain, the entry of who wrote last; sites: the number of the instruction that did.
        site: the number of this instruction.
        rewritten: set to the other thread + 1 for a thread that writes where this very instruction wrote before, in
            another execution of it: whether that matters depends on the values.
    """
    bad = 0
    masked = len(mask) > 0
    per_block = warps * 32
    for phase in range(3):
        for b in range(blocks):
            for w in range(warps):
                for lane in range(32):
                    if masked and not mask[b * m0 + w * m1 + lane * m2]:
                        continue
                    a = index[b * a0 + w * a1 + lane * a2] << shift
                    if a == 0:
                        continue
                    local = (b * warps + w) * 32 + lane
                    thread = first_thread + local
                    mine = _entry(thread, epochs[b], warp_epochs[b, w])
                    for g in range(a // grain, (a + size - 1) // grain + 1):
                        before = writers[g]
                        if phase == 1:
                            writers[g] = mine
                            sites[g] = site
                            continue
                        other = (before >> _THREAD) - 1
                        if before == 0 or other == thread:
                            continue
                        kind = SAME_WRITE
                        if phase == 0:
                            kind = WRITE_AFTER_WRITE
                            if other // per_block == thread // per_block and not _unordered(
                                before, mine, per_block
                            ):
                                continue
                            if sites[g] == site:
                                bad += 1
                                rewritten[local] = other + 1
                                continue
                        bad += 1
                        if fault[kind, 0] == 0:
                            fault[kind, 1] = local
                            fault[kind, 2] = other
                            fault[kind, 3] = a
                        fault[kind, 0] += 1
    return bad


@compiled("aiii miii iiiiii at iii att")
def global_order(  # noqa: D417
    index,
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
    grain,
    first_thread,
    epochs,
    warp_epochs,
    mode,
    between,
    within,
    writers,
    readers,
    fault,
):
    """Report a read and a write of one place of global memory by two threads that nothing orders, whichever came
    first.

    Args:
        index, first_thread, epochs, warp_epochs, writers: as for `global_race`.
        mode: LOAD or STORE. A load is noted in `readers`, a store is only held against them.
        between: look for threads of two blocks; within: for those of one.
        readers: per grain two threads + 1, 0 where nobody: the first that read, and the first of another block;
            then two entries, of who read last and, if there is one, of a reader in another warp of its block.
    """
    bad = 0
    masked = len(mask) > 0
    per_block = warps * 32
    # An address that all lanes share: the first and the last thread stand for the others.
    warp_step = max(1, warps - 1) if a1 == 0 and not masked else 1
    lane_step = 31 if a2 == 0 and not masked else 1
    for b in range(blocks):
        block = first_thread // per_block + b
        for w in range(0, warps, warp_step):
            for lane in range(0, 32, lane_step):
                if masked and not mask[b * m0 + w * m1 + lane * m2]:
                    continue
                a = index[b * a0 + w * a1 + lane * a2] << shift
                if a == 0:
                    continue
                local = (b * warps + w) * 32 + lane
                mine = _entry(first_thread + local, epochs[b], warp_epochs[b, w])
                other = -1
                for g in range(a // grain, (a + size - 1) // grain + 1):
                    one = readers[g, 0] - 1
                    if mode == LOAD:
                        before = (writers[g] >> _THREAD) - 1
                        elsewhere = writers[g] != 0 and before // per_block != block
                        if (between and elsewhere) or (within and _unordered(writers[g], mine, per_block)):
                            other = before
                        if one < 0:
                            readers[g, 0] = first_thread + local + 1
                        elif one // per_block != block and readers[g, 1] == 0:
                            readers[g, 1] = first_thread + local + 1
                        last = readers[g, 2]
                        if last >> _THREAD != mine >> _THREAD:
                            # Of two earlier readers the one in another warp tells more: warp barriers do not
                            # order it.
                            apart = ((last >> _THREAD) - 1) >> 5 != (first_thread + local) >> 5
                            kept = readers[g, 3]
                            stale = (kept >> _THREAD) - 1 < block * per_block or (
                                kept ^ mine
                            ) >> _EPOCH & _EPOCHS != 0
                            if apart or stale or ((kept >> _THREAD) - 1) >> 5 == (first_thread + local) >> 5:
                                readers[g, 3] = last
                        readers[g, 2] = mine
                        continue
                    if between and one >= 0:
                        if one // per_block != block:
                            other = one
                        elif readers[g, 1] != 0:
                            other = readers[g, 1] - 1
                    if within:
                        for k in range(2, 4):
                            if other < 0 and _unordered(readers[g, k], mine, per_block):
                                other = (readers[g, k] >> _THREAD) - 1
                if other >= 0:
                    kind = READ_AFTER_WRITE if mode == LOAD else WRITE_AFTER_READ
                    bad += 1
                    if fault[kind, 0] == 0:
                        fault[kind, 1] = local
                        fault[kind, 2] = other
                        fault[kind, 3] = a
                    fault[kind, 0] += 1
    return bad


@compiled("aiii miii iiiiii at iii a a t")
def global_update(  # noqa: D417
    index,
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
    grain,
    first_thread,
    epochs,
    warp_epochs,
    mode,
    between,
    within,
    writers,
    updaters,
    fault,
):
    """Report a plain write and an atomic of one place of global memory by two threads that nothing orders.

    Args:
        index, first_thread, epochs, warp_epochs, writers: as for `global_race`.
        mode: STORE, which is held against the atomics so far, or ATOMIC, which is held against the writes and
            noted.
        between, within: as for `global_order`.
        updaters: per grain, the entry of the thread whose atomic came last.
    """
    bad = 0
    masked = len(mask) > 0
    per_block = warps * 32
    for b in range(blocks):
        block = first_thread // per_block + b
        for w in range(warps):
            for lane in range(32):
                if masked and not mask[b * m0 + w * m1 + lane * m2]:
                    continue
                a = index[b * a0 + w * a1 + lane * a2] << shift
                if a == 0:
                    continue
                local = (b * warps + w) * 32 + lane
                mine = _entry(first_thread + local, epochs[b], warp_epochs[b, w])
                for g in range(a // grain, (a + size - 1) // grain + 1):
                    before = updaters[g] if mode == STORE else writers[g]
                    if mode != STORE:
                        updaters[g] = mine
                    if before == 0:
                        continue
                    other = (before >> _THREAD) - 1
                    elsewhere = other // per_block != block
                    if (between and elsewhere) or (within and _unordered(before, mine, per_block)):
                        bad += 1
                        if fault[WRITE_AND_ATOMIC, 0] == 0:
                            fault[WRITE_AND_ATOMIC, 1] = local
                            fault[WRITE_AND_ATOMIC, 2] = other
                            fault[WRITE_AND_ATOMIC, 3] = a
                        fault[WRITE_AND_ATOMIC, 0] += 1
    return bad
