"""Finds, before anything runs, which arrays each memory access can go to: pointer parameters and shared arrays.

A pointer enters by a kernel parameter, or as the name of a shared array, and only passes through address
arithmetic, so following the registers is enough. With it an access past the end of `x` is a fault of `x` even where
it lands inside another array, counts go to the right array, and arrays that the kernel can write are known before
it runs.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection

from .inline import Flat
from .ptx import Instruction

# Opcodes whose result may still be a pointer if an operand was one.
_CARRY = {"mov", "add", "sub", "cvta", "selp", "mad", "fma", "and", "or", "cvt", "max", "min", "shfl"}
_WORD = re.compile(r"[A-Za-z_$%][\w$@~.%]*")
_REGISTER = re.compile(r"%[\w$@~.:+%]*[\w$@~.+]|[A-Za-z_$][\w$@~.]*")


def registers_in(text: str, registers: dict[str, str]) -> list[str]:
    """The registers that an operand names."""
    if text in registers:
        return [text]
    return [r for r in _REGISTER.findall(text) if r in registers] or [
        r for r in re.findall(r"%?[\w$@~.]+", text) if r in registers
    ]


def named_in(text: str, names: Collection[str]) -> list[str]:
    """Which of some symbols an operand names."""
    return [word for word in _WORD.findall(text) if word in names]


def pointer_sources(
    flat: Flat, parameters: dict[str, int], shared: Collection[str] = ()
) -> dict[str, frozenset[int | str]]:
    """Registers -> kernel parameters (by position) and shared arrays (by symbol) whose pointer they may hold.

    Args:
        flat: the kernel.
        parameters: parameter name -> position, for the parameters that are pointers.
        shared: symbols of shared arrays.
    """
    sources: dict[str, frozenset[int | str]] = defaultdict(frozenset)
    edges: dict[str, set[str]] = defaultdict(set)  # register -> registers that receive it
    pending: list[str] = []
    for i in flat.body:
        if not isinstance(i, Instruction) or not i.args:
            continue
        op = i.parts[0]
        if op == "ld" and "param" in i.parts:
            name = re.sub(r"^\[\s*([\w$]+).*", r"\1", i.args[1])
            if name in parameters:
                sources[i.args[0]] |= {parameters[name]}
                pending.append(i.args[0])
        elif op in _CARRY and i.args[0] in flat.registers:
            operands = i.args[1:3] if op == "selp" else i.args[1:]
            if op == "sub":
                operands = i.args[1:2]  # pointer minus pointer is a number
            for a in operands:
                symbols = named_in(a, shared) if shared else []
                if symbols:
                    sources[i.args[0]] |= frozenset(symbols)
                    pending.append(i.args[0])
                for r in registers_in(a, flat.registers):
                    edges[r].add(i.args[0])
    while pending:
        r = pending.pop()
        for target in edges[r]:
            if not sources[r] <= sources[target]:
                sources[target] |= sources[r]
                pending.append(target)
    return sources
