"""What a SASS instruction is for.

Every instruction takes one issue slot of its warp's scheduler, whether its predicate lets it act or not; so a
loop's figures count them all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from scc_numba.measure.sass.listing import Instruction

# The classes, in the order in which tables show them.
CLASSES = ("FFMA", "HMMA", "integer", "LDG", "STG", "LDGSTS", "LDS", "STS", "atomic", "local", "control", "other")

_FMA = {"FFMA", "FFMA2", "DFMA", "HFMA2"}
_TENSOR = {"HMMA", "DMMA", "IMMA"}
_MEMORY = {
    "LDG": "LDG",
    "LD": "LDG",  # generic: the compiler did not know that the address is global
    "STG": "STG",
    "ST": "STG",
    "LDGSTS": "LDGSTS",
    "LDS": "LDS",
    "LDSM": "LDS",
    "STS": "STS",
    "STSM": "STS",
    "ATOM": "atomic",
    "ATOMG": "atomic",
    "ATOMS": "atomic",
    "RED": "atomic",
    "REDG": "atomic",
    "LDL": "local",
    "STL": "local",
}
_CONTROL = {
    "BAR", "BMOV", "BPT", "BRA", "BREAK", "BRX", "BSSY", "BSYNC", "CALL", "DEPBAR", "ERRBAR", "EXIT", "JMP", "JMX",
    "LDGDEPBAR", "MEMBAR", "NANOSLEEP", "NOP", "RET", "SYNCS", "WARPSYNC", "YIELD",
}  # fmt: skip
_INTEGER = {
    "BMSK", "BREV", "CS2R", "FLO", "IABS", "IADD", "IADD3", "IDP", "IMAD", "IMNMX", "IMUL", "ISETP", "LEA", "LOP3",
    "MOV", "P2R", "PLOP3", "POPC", "PRMT", "R2P", "R2UR", "S2R", "S2UR", "SEL", "SGXT", "SHF", "SHL", "SHR",
    "VIADD", "VIADDMNMX", "VIMNMX", "VOTE",
}  # fmt: skip
_BARRIERS = {"BAR", "LDGDEPBAR", "DEPBAR"}


def class_of(instruction: Instruction) -> str:
    """Its class, one of CLASSES.

    FFMA stands for the scalar fused multiply-adds of every width, HMMA for all of the tensor cores. Integer is all
    that computes addresses, counters and conditions, moves of registers and special registers among them; uniform
    instructions (UIADD3, ULDC) are in the class of those without the U. Other is the rest: conversions, float
    additions and products, shuffles, loads of constants.
    """
    base = instruction.base
    if _is_constant(instruction):
        return "integer"
    if base in _FMA:
        return "FFMA"
    if base in _TENSOR:
        return "HMMA"
    if base in _MEMORY:
        return _MEMORY[base]
    if base in _CONTROL:
        return "control"
    if base in _INTEGER or (base.startswith("U") and base[1:] in _INTEGER):
        return "integer"
    return "other"


def _is_constant(instruction: Instruction) -> bool:
    # "HFMA2.MMA R7, -RZ, RZ, 0, 1": zero times zero plus a constant, a move that keeps the integer pipe free.
    return instruction.base == "HFMA2" and "-RZ, RZ," in instruction.operands


def count_classes(instructions: Iterable[Instruction]) -> dict[str, int]:
    """How many instructions there are of each class, in the order of CLASSES; every class is there."""
    counted = Counter(map(class_of, instructions))
    return {name: counted[name] for name in CLASSES}


def products(instructions: Iterable[Instruction]) -> int:
    """How many multiply-adds a thread issues; for code whose sums are made by atomics, its products.

    A tensor-core instruction counts as one.
    """
    bases = Counter(i.base for i in instructions if not _is_constant(i))
    fused = sum(bases[name] for name in _FMA | _TENSOR)
    return fused or bases["FMUL"] + bases["DMUL"]


def copies_or_waits(instruction: Instruction) -> bool:
    """Whether it puts data into shared memory, or waits for others to have done so."""
    return instruction.base in _BARRIERS or class_of(instruction) in ("STS", "LDGSTS")


def wide_share(instructions: Iterable[Instruction], names: tuple[str, ...]) -> float | None:
    """The share of instructions of these classes that move 128 bits for each thread; None where there are none."""
    found = [i.bits == 128 for i in instructions if class_of(i) in names]
    return sum(found) / len(found) if found else None
