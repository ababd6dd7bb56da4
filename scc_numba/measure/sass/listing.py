"""Reading nvdisasm's text: one record an instruction, with the line of Python it comes from."""

from __future__ import annotations

import re
from dataclasses import dataclass

_ENTRY = re.compile(r"^\s*\.section\s+\.text\.(\S+?),")
_FILE_LINE = re.compile(r'^\s*//## File "(?P<file>[^"]*)", line (?P<line>\d+)')
_LABEL = re.compile(r"^(\.L_x_\d+|\$\S+):")
_CODE = re.compile(r"^\s*/\*(?P<at>[0-9a-f]{4,})\*/\s+(?:\{\s*)?(?P<text>[^;]+?)\s*;")
_TEXT = re.compile(r"^(?:(?P<predicate>@!?U?P\w+)\s+)?(?P<opcode>[A-Z][\w.]*)\s*(?P<operands>.*)$")
_TARGET = re.compile(r"`\((\.L_x_\d+)\)|(?<=[\" ,])(\.L_x_\d+)")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One SASS instruction.

    Attributes:
        address: in the kernel's code, in bytes.
        predicate: "@P0", "@!UP1", or "" if every thread executes it.
        opcode: with its modifiers, "LDG.E.128.CONSTANT".
        operands: the rest.
        labels: the code labels among the operands.
        file: of the Python line it was compiled from, or "".
        line: that line, or 0.
    """

    address: int
    predicate: str
    opcode: str
    operands: str
    labels: tuple[str, ...] = ()
    file: str = ""
    line: int = 0

    @property
    def base(self) -> str:
        """The opcode without its modifiers, "LDG"."""
        return self.opcode.partition(".")[0]

    @property
    def bits(self) -> int:
        """Width of what a memory instruction moves for each thread, 32 unless it says otherwise."""
        for part in self.opcode.split(".")[1:]:
            if part in _WIDTHS:
                return _WIDTHS[part]
        return 32

    def __str__(self) -> str:
        return f"{self.predicate + ' ' if self.predicate else ''}{self.opcode} {self.operands}".strip()


# LDSM's 1, 2 or 4 matrices are as many 32-bit registers of each thread.
_WIDTHS = {"128": 128, "64": 64, "U8": 8, "S8": 8, "U16": 16, "S16": 16, "4": 128, "2": 64}


@dataclass(frozen=True)
class Listing:
    """A kernel's instructions in the order of their addresses, and the address that each label stands for."""

    instructions: tuple[Instruction, ...]
    labels: dict[str, int]


def read_listing(text: str) -> Listing:
    """The one kernel of a text that `nvdisasm -c -g` printed.

    Raises:
        ValueError: the text holds no kernel, or more than one, or stops within one.
    """
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    waiting: list[str] = []
    file, line, kernels = "", 0, 0
    for row in text.splitlines():
        if _ENTRY.match(row):
            kernels += 1
        elif found := _FILE_LINE.match(row):
            file, line = found["file"], int(found["line"])
        elif found := _LABEL.match(row):
            waiting.append(found[1])
        elif found := _CODE.match(row):
            at = int(found["at"], 16)
            labels.update(dict.fromkeys(waiting, at))
            waiting.clear()
            instructions.append(_instruction(at, found["text"], file, line))
    if kernels != 1 or not instructions:
        raise ValueError(f"expected the SASS of one kernel, found {kernels} with {len(instructions)} instructions")
    lost = sorted({label for i in instructions for label in i.labels} - labels.keys())
    if lost:
        raise ValueError(f"the SASS is cut short: it branches to {lost[0]}, which it does not hold")
    return Listing(tuple(instructions), labels)


def _instruction(at: int, text: str, file: str, line: int) -> Instruction:
    parts = _TEXT.match(text)
    if parts is None:
        raise ValueError(f"{text!r} at {at:#x} is no SASS instruction")
    labels = tuple(a or b for a, b in _TARGET.findall(parts["operands"]))
    return Instruction(at, parts["predicate"] or "", parts["opcode"], parts["operands"], labels, file, line)
