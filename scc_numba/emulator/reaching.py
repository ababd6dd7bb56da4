"""Finds registers that are read although no write can have come before, whatever way the threads took.

Where some way leads past a write the value is open; then it is zero here. Where none does the PTX is wrong.
"""

from __future__ import annotations

from collections import defaultdict
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
    written: dict[int, set[str]] = {}
    for b in blocks:
        written[b.number] = {r for i in b.instructions for r in operands(i)[0]}
    before: dict[int, set[str]] = defaultdict(set)  # per block that can be reached: what may have been written
    before[0] = set(open_registers)
    pending = [0]
    while pending:
        n = pending.pop()
        after = before[n] | written[n]
        for s in blocks[n].successors():
            if s not in before or not after <= before[s]:
                before[s] |= after
                pending.append(s)
    for n, known in before.items():
        have = set(known)
        for i in blocks[n].instructions:
            writes, reads = operands(i)
            yield from ((i, r) for r in reads if r not in have)
            have.update(writes)
