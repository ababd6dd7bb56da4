"""What PTX's manual says of each opcode's operands: how many, and which of them are predicates."""

from __future__ import annotations

# How many operands, the result among them; what varies with the modifiers is in `operand_counts`.
_COUNTS = {
    0: "ret exit trap brkpt membar griddepcontrol",
    1: "bra nanosleep prefetch prefetchu activemask",
    2: "abs neg not cnot sqrt rsqrt rcp ex2 lg2 sin cos tanh testp popc clz brev bfind mov cvta isspacep brx "
       "discard applypriority",
    3: "add sub addc subc mul mul24 div rem and or xor copysign shl shr vote match redux",
    4: "mad madc fma sad slct selp prmt shf bfe mma",
    5: "bfi shfl",
}  # fmt: skip
_FIXED = {opcode: (n, n) for n, opcodes in _COUNTS.items() for opcode in opcodes.split()}
_FIXED |= {"min": (3, 4), "max": (3, 4), "setp": (3, 4), "set": (3, 4), "lop3": (5, 7)}
_FIXED |= {"ld": (2, 3), "ldu": (2, 2), "st": (2, 3), "red": (2, 3)}  # the last one: a cache policy


def operand_counts(parts: list[str]) -> tuple[int, int] | None:
    """The least and the most operands of an instruction, or None where the emulator has no rule.

    Args:
        parts: the opcode, split at its dots.
    """
    op = parts[0]
    if op == "atom":
        least = 4 if "cas" in parts else 3
        return least, least + 1
    if op in ("bar", "barrier"):
        return (1, 1) if "warp" in parts else (3, 4) if "red" in parts else (1, 2)
    if op == "cvt":
        packs = len(parts) > 2 and parts[-2].endswith("x2") and parts[-1] == "f32"
        return None if "rs" in parts else (3, 3) if packs else (2, 2)
    if op == "cp":
        return (3, 5) if "ca" in parts or "cg" in parts else (1, 1) if "wait_group" in parts else None
    return _FIXED.get(op)


_DIRECTED = "rn rz rm rp ftz sat"
# What may stand between an opcode and its type: for floating-point types, and for all others.
_MODIFIERS = {
    opcode: (set(floating.split()), set(other.split()))
    for opcodes, floating, other in (
        ("add sub", _DIRECTED, "sat cc"), ("mul", _DIRECTED, "lo hi wide"), ("mul24", "", "lo hi"),
        ("mad", _DIRECTED, "lo hi wide sat cc"), ("fma", f"{_DIRECTED} relu oob", ""), ("addc subc", "", "cc"),
        ("madc", "", "lo hi cc"), ("div", "approx full rn rz rm rp ftz", ""), ("neg abs", "ftz", ""),
        ("min max", "ftz NaN xorsign abs", "relu"),
        ("rem sad and or xor not cnot shl shr popc clz brev selp", "", ""),
    )
    for opcode in opcodes.split()
}  # fmt: skip


def wrong_modifier(parts: list[str]) -> str:
    """The first modifier that does not go with the opcode and its type, "" if all do or the opcode has no rule.

    Args:
        parts: the opcode, split at its dots.
    """
    if parts[0] not in _MODIFIERS:
        return ""
    floating, other = _MODIFIERS[parts[0]]
    allowed = floating if parts[-1].startswith(("f", "bf")) else other
    return next((p for p in parts[1:-1] if p not in allowed), "")


def predicate_places(parts: list[str], given: int) -> set[int]:
    """Which operands must be predicates; all others must not.

    Args:
        parts: the opcode, split at its dots.
        given: how many operands there are.
    """
    op = parts[0]
    if op in ("and", "or", "xor", "not", "mov") and parts[-1] == "pred":
        return set(range(given))
    if op == "vote":
        return {1} if "ballot" in parts else {0, 1}
    if op in ("bar", "barrier") and "red" in parts:
        return {given - 1} if "popc" in parts else {0, given - 1}
    return {"setp": {0, 3}, "set": {3}, "selp": {3}, "isspacep": {0}, "testp": {0}}.get(op, set())


def vector_width(parts: list[str]) -> int:
    """Values that a load, store or atomic moves at once."""
    return next((int(p[1:]) for p in parts if p in ("v2", "v4", "v8")), 1)


def result_places(parts: list[str]) -> set[int]:
    """Which operands an instruction writes."""
    op = parts[0]
    if op in ("st", "red", "cp", "nanosleep", "prefetch", "prefetchu", "discard", "applypriority"):
        return set()
    if op in ("bar", "barrier"):
        return {0} if "red" in parts else set()
    return {0}
