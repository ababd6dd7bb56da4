"""Finds registers that are read although no write can have come before, whatever way the threads took.

Where some way leads past a write the value is open; then it is zero here. Where none does the PTX is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from .control_flow import Block
from .ptx import Instruction


def reads_of_nothing(
    blocks: list[Block],
    operands: Callable[[Instruction], tuple[list[str], list[str]]],
    open_registers: Iterable[str],
) -> Iterator[tuple[Instruction, str]]:
    """The instruction and the register of every such read.

    Args:
        blocks: the kernel.
        operands: registers that an instruction writes and reads.
        open_registers: those that the compiler says it leaves open on purpose.
    """
    exposed: list[list[tuple[Instruction, str]]] = []  # per block: reads that no write in the block comes before
    written: list[set[str]] = []
    for b in blocks:
        have: set[str] = set()
        before: list[tuple[Instruction, str]] = []
        for i in b.instructions:
            writes, reads = operands(i)
            before += [(i, r) for r in reads if r not in have]
            have.update(writes)
        exposed.append(before)
        written.append(have)
    bit = {r: 1 << k for k, r in enumerate({r for reads in exposed for _, r in reads} - set(open_registers))}
    own = [sum(bit.get(r, 0) for r in have) for have in written]
    known = [0] * len(blocks)  # per block: what may have been written by its start
    reached = {0}
    changed = True
    while changed:
        changed = False
        for b in blocks:
            if b.number not in reached:
                continue
            after = known[b.number] | own[b.number]
            for s in b.successors():
                if s not in reached or after & ~known[s]:
                    reached.add(s)
                    known[s] |= after
                    changed = True
    for n in sorted(reached):
        yield from ((i, r) for i, r in exposed[n] if bit.get(r, 0) & ~known[n])
