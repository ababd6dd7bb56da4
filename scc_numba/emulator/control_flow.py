"""Cuts a kernel into basic blocks, orders them so that diverged threads meet again, and finds live registers.

Threads of a batch run together. When they diverge, the block that stands first in the *order* runs next.
The order is topological and keeps loops together: every block of a loop comes before what follows the loop.
So threads that leave a loop early wait behind it for the others, and code after a data-dependent `break`
runs once, as on a GPU that reconverges. (The layout order of the PTX gives no such promise.)
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from .errors import PtxError
from .inline import Flat
from .ptx import Instruction, Label

EXIT = -1  # the successor of a return


@dataclass
class Block:
    """A basic block: straight-line instructions and how it ends."""

    number: int
    instructions: list[Instruction]
    end: str = "fall"  # "fall", "jump", "branch", "table", "exit", "trap", "barrier", "warp", "grid"
    target: int = EXIT  # jump and branch: where to, if taken
    targets: list[int] = field(default_factory=list)  # table
    next: int = EXIT  # fall-through
    only_exits: bool = False  # nothing but a return: jumping here is leaving

    def successors(self) -> list[int]:
        """Blocks that can run next, without the exit."""
        following = {
            "fall": [self.next], "barrier": [self.next], "warp": [self.next], "grid": [self.next],
            "jump": [self.target],
            "branch": [self.target, self.next], "table": self.targets, "exit": [], "trap": [],
        }[self.end]  # fmt: skip
        if self.end == "exit" and self.instructions and self.instructions[-1].guard:
            following = [self.next]
        return [b for b in following if b != EXIT]


def basic_blocks(flat: Flat) -> list[Block]:
    """Split at labels and after every instruction that changes the flow."""
    groups: list[list[Instruction]] = [[]]
    labels: dict[str, int] = {}
    for item in flat.body:
        if isinstance(item, Label):
            if groups[-1]:
                groups.append([])
            labels[item.name] = len(groups) - 1
            continue
        groups[-1].append(item)
        if _ends_block(item):
            groups.append([])
    blocks = [Block(i, g) for i, g in enumerate(groups)]
    index = 0
    for b in blocks:
        b.next = b.number + 1 if b.number + 1 < len(blocks) else EXIT
        if b.instructions:
            _set_end(b, b.instructions[-1], labels, flat)
        for instruction in b.instructions:
            instruction.index = index
            index += 1
    for b in blocks:
        b.only_exits = _only_exits(b, blocks)
    return blocks


def _only_exits(block: Block, blocks: list[Block]) -> bool:
    while not block.instructions and block.end == "fall":
        if block.next == EXIT:
            return True
        block = blocks[block.next]
    return len(block.instructions) == 1 and block.end == "exit" and not block.instructions[0].guard


def _ends_block(i: Instruction) -> bool:
    op = i.parts[0]
    if op in ("bar", "barrier"):
        return "cluster" not in i.parts
    return op in ("bra", "brx", "ret", "exit", "trap") or (op == "call" and i.args[0] == "cudaCGSynchronize")


def _set_end(block: Block, last: Instruction, labels: dict[str, int], flat: Flat) -> None:
    op = last.parts[0]

    def find(label: str) -> int:
        if label not in labels:
            raise PtxError(f"{last.place}: jump to {label!r}, which does not exist")
        return labels[label]

    if op == "bra":
        block.end, block.target = ("branch" if last.guard else "jump"), find(last.args[0])
    elif op == "brx":
        if last.args[1] not in flat.tables:
            raise PtxError(f"{last.place}: no branch targets {last.args[1]!r}")
        block.end, block.targets = "table", [find(t) for t in flat.tables[last.args[1]]]
    elif op in ("ret", "exit"):
        block.end = "exit"
    elif op == "trap":
        block.end = "trap"
    elif _ends_block(last):
        block.end = "grid" if op == "call" else "warp" if "warp" in last.parts else "barrier"


def loop_aware_order(blocks: list[Block]) -> list[int]:
    """Block numbers so that a loop's blocks all come before what follows the loop."""
    successors = [b.successors() for b in blocks]
    order: list[int] = []

    def place(nodes: list[int], entry: int, cut: set[tuple[int, int]]) -> None:
        inside = set(nodes)

        def edges(v: int) -> list[int]:
            return [w for w in successors[v] if w in inside and (v, w) not in cut]

        components = _components([entry] + [v for v in nodes if v != entry], edges)
        for component in components:
            if len(component) == 1:
                order.append(component[0])
                continue
            # A loop: cut the edges back to its header and order what is left the same way.
            members = set(component)
            headers = [v for v in component if v == entry or any(v in edges(u) for u in inside - members)]
            header = min(headers or component)
            place(component, header, cut | {(u, header) for u in component})

    if blocks:
        place(list(range(len(blocks))), 0, set())
    return order


def _components(nodes: Iterable[int], edges: Callable[[int], list[int]]) -> list[list[int]]:
    """Strongly connected components in topological order (Tarjan 1972, without recursion)."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    found: list[list[int]] = []
    for root in nodes:
        if root in index:
            continue
        work = [(root, iter(edges(root)))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack.add(root)
        while work:
            v, pending = work[-1]
            for w in pending:
                if w not in index:
                    index[w] = low[w] = len(index)
                    stack.append(w)
                    on_stack.add(w)
                    work.append((w, iter(edges(w))))
                    break
                if w in on_stack:
                    low[v] = min(low[v], index[w])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[v])
                if low[v] == index[v]:
                    component = []
                    while True:
                        w = stack.pop()
                        on_stack.discard(w)
                        component.append(w)
                        if w == v:
                            break
                    found.append(component)
    return found[::-1]


def loop_blocks(blocks: list[Block]) -> set[int]:
    """Blocks that lie on some cycle."""
    components = _components(range(len(blocks)), lambda v: blocks[v].successors())
    return {b for c in components if len(c) > 1 for b in c} | {
        b.number for b in blocks if b.number in b.successors()
    }


def reachable(blocks: list[Block], start: int) -> set[int]:
    """Blocks that can run after one."""
    found: set[int] = set()
    pending = blocks[start].successors()
    while pending:
        n = pending.pop()
        if n not in found:
            found.add(n)
            pending += blocks[n].successors()
    return found


def live_in(blocks: list[Block], reads: dict[int, set[str]], writes: dict[int, set[str]]) -> dict[int, set[str]]:
    """Registers whose value at the start of each block can still be read.

    Args:
        blocks: the kernel.
        reads: per block, registers read before the block writes them.
        writes: per block, registers that every thread of the block overwrites.

    A write under a mask must keep the other threads' values only where one of them still needs the register.
    """
    live: dict[int, set[str]] = {b.number: set(reads[b.number]) for b in blocks}
    predecessors: dict[int, list[int]] = defaultdict(list)
    for b in blocks:
        for s in b.successors():
            predecessors[s].append(b.number)
    pending = [b.number for b in blocks]
    while pending:
        n = pending.pop()
        out: set[str] = set()
        for s in blocks[n].successors():
            out |= live[s]
        new = reads[n] | (out - writes[n])
        if not new <= live[n]:
            live[n] |= new
            pending.extend(predecessors[n])
    return live
