"""Loops, from a kernel's control flow graph.

A natural loop belongs to a back edge: a branch to a block that every path to the branch passes through (it
*dominates* it). The loop is that block, its header, and all blocks from which the branch can be reached without
passing the header. Loops that share a header are one loop. (Aho, Lam, Sethi, Ullman: Compilers, section 9.6.)
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from scc_numba.measure.sass.listing import Instruction, Listing

_ENDS = ("EXIT", "RET")
_JUMPS = ("BRA", "BRX", "JMP", "JMX")


@dataclass(frozen=True)
class Loop:
    """A natural loop.

    Attributes:
        header: address of its first instruction to be executed.
        instructions: all of them, those of loops inside it included, in the order of their addresses.
        inside: headers of the loops that lie inside it.
    """

    header: int
    instructions: tuple[Instruction, ...]
    inside: tuple[int, ...]

    def __contains__(self, other: Loop) -> bool:
        return other.header in self.inside


def find_loops(listing: Listing) -> tuple[Loop, ...]:
    """All loops that can be reached from the kernel's first instruction, by address of their headers.

    Calls (the slow path of a 64-bit division) return, so the path goes on behind them; the instructions of the
    called code belong to no loop. So does the branch to itself that fills the space behind a kernel.
    """
    blocks = _blocks(listing)
    successors = {at: _successors(block, listing, blocks) for at, block in blocks.items()}
    order = _reverse_postorder(listing.instructions[0].address, successors)
    predecessors: dict[int, list[int]] = {at: [] for at in order}
    for at in order:
        for to in successors[at]:
            predecessors[to].append(at)
    dominator = _immediate_dominators(order, predecessors)
    bodies: dict[int, set[int]] = {}
    for at in order:
        for to in successors[at]:
            if _dominates(to, at, dominator):
                bodies.setdefault(to, {to}).update(_body(to, at, predecessors))
    return tuple(
        Loop(
            header,
            tuple(i for at in sorted(body) for i in blocks[at]),
            tuple(sorted(other for other in bodies if other != header and other in body)),
        )
        for header, body in sorted(bodies.items())
    )


def reachable(listing: Listing) -> tuple[Instruction, ...]:
    """The kernel's instructions without the filling behind it; called code, which returns, is part of it."""
    code = list(listing.instructions)
    while code and (code[-1].base == "NOP" or _is_trap(code[-1], listing)):
        code.pop()
    return tuple(code)


def _is_trap(instruction: Instruction, listing: Listing) -> bool:
    return instruction.base == "BRA" and [listing.labels[x] for x in instruction.labels] == [instruction.address]


def _is_conditional(instruction: Instruction) -> bool:
    # "@P0 BRA `(.L_x_1)", "BRA.U UP0, `(.L_x_1)" and "BRA P6, `(.L_x_1)" may all fall through.
    before = instruction.operands.partition("`")[0]
    return bool(instruction.predicate) or (instruction.base == "BRA" and before.strip(" ,") != "")


def _blocks(listing: Listing) -> dict[int, list[Instruction]]:
    code = listing.instructions
    leaders = {code[0].address, *listing.labels.values()}
    leaders |= {b.address for a, b in itertools.pairwise(code) if a.base in _JUMPS + _ENDS}
    blocks: dict[int, list[Instruction]] = {}
    for instruction in code:
        if instruction.address in leaders:
            block = blocks[instruction.address] = []
        block.append(instruction)
    return blocks


def _successors(block: list[Instruction], listing: Listing, blocks: dict[int, list[Instruction]]) -> list[int]:
    last = block[-1]
    to = [listing.labels[label] for label in last.labels] if last.base in _JUMPS else []
    if last.base not in _JUMPS + _ENDS or _is_conditional(last):
        behind = last.address + _SIZE
        to += [behind] if behind in blocks else []
    return list(dict.fromkeys(to))


_SIZE = 16  # bytes of an instruction, from Volta on


def _reverse_postorder(entry: int, successors: dict[int, list[int]]) -> list[int]:
    seen, order = {entry}, []
    stack = [(entry, iter(successors[entry]))]
    while stack:
        at, rest = stack[-1]
        for to in rest:
            if to not in seen:
                seen.add(to)
                stack.append((to, iter(successors[to])))
                break
        else:
            order.append(at)
            stack.pop()
    return order[::-1]


def _immediate_dominators(order: list[int], predecessors: dict[int, list[int]]) -> dict[int, int]:
    # Cooper, Harvey, Kennedy: A Simple, Fast Dominance Algorithm.
    number = {at: i for i, at in enumerate(order)}
    dominator = {order[0]: order[0]}
    changed = True
    while changed:
        changed = False
        for at in order[1:]:
            known = [p for p in predecessors[at] if p in dominator]
            new = known[0]
            for other in known[1:]:
                while new != other:
                    while number[new] > number[other]:
                        new = dominator[new]
                    while number[other] > number[new]:
                        other = dominator[other]
            if dominator.get(at) != new:
                dominator[at] = new
                changed = True
    return dominator


def _dominates(above: int, at: int, dominator: dict[int, int]) -> bool:
    while at != above:
        if dominator[at] == at:
            return False
        at = dominator[at]
    return True


def _body(header: int, tail: int, predecessors: dict[int, list[int]]) -> set[int]:
    body, stack = {header}, [tail]
    while stack:
        at = stack.pop()
        if at not in body:
            body.add(at)
            stack += predecessors[at]
    return body
