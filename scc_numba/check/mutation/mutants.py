"""Every mutant of a rung, and the rung with one of its kernels mutated."""

from __future__ import annotations

import ast
import random
import types
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from scc_numba.check.mutation.operators import Edit, apply, edits
from scc_numba.kernels import Rung, find_rung

DECORATORS = ("jit", "device_function")


@dataclass(frozen=True)
class Mutant:
    """One change in the kernel of a rung: what it is, and how to find it again in the file as it is now.

    Attributes:
        rung: the rung's short name.
        number: of the change among all of the rung's.
        kind: one of `operators.KINDS`.
        function: the kernel or device function.
        line_number: of the changed code.
        line: the line of source, without its indentation and comment.
        was: the changed code, its first line.
        becomes: what stands there instead; "nothing" for a statement left out.
        nth: tells it from its like in the same function, counted from 1: the same change in an equal line.
    """

    rung: str
    number: int
    kind: str
    function: str
    line_number: int
    line: str
    was: str
    becomes: str
    nth: int

    def __str__(self) -> str:
        return f"{self.rung} line {self.line_number}, {self.function}: {self.line}\n    {self.change}"

    @property
    def change(self) -> str:
        """The change in a line."""
        which = f" (number {self.nth} of its kind)" if self.nth > 1 else ""
        return f"{self.was} → {self.becomes}{which}"


def source_of(rung: Rung) -> str:
    """The text of a rung's file."""
    return Path(rung.kernel_file).read_text(encoding="utf-8")


@cache
def mutants_of(name: str) -> tuple[Mutant, ...]:
    """All mutants of a rung, by the rung's name, in the order of the file."""
    source = source_of(find_rung(name))
    lines = source.splitlines()
    like: Counter[tuple[str, ...]] = Counter()
    found = []
    for number, (function, edit) in enumerate(all_edits(ast.parse(source))):
        at = edit.node.lineno  # type: ignore[attr-defined]
        line = lines[at - 1].partition("  #")[0].strip()
        key = (function.name, line, edit.was, edit.becomes)
        like[key] += 1
        found.append(Mutant(name, number, edit.kind, function.name, at, line, edit.was, edit.becomes, like[key]))
    return tuple(found)


def sample(mutants: tuple[Mutant, ...], count: int | None, seed: int) -> tuple[Mutant, ...]:
    """So many of them, drawn without bias, in their order; all where count is None. The seed decides which."""
    if count is None or count >= len(mutants):
        return mutants
    chosen = random.Random(f"{seed} {mutants[0].rung}").sample(range(len(mutants)), count)
    return tuple(mutants[i] for i in sorted(chosen))


def all_edits(tree: ast.Module) -> list[tuple[ast.FunctionDef, Edit]]:
    """Every change of every function that is decorated as a kernel or a device function."""
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and _is_kernel(node)]
    return [(function, edit) for function in sorted(functions, key=_line) for edit in edits(function)]


def _line(function: ast.FunctionDef) -> int:
    return function.lineno


def mutated(mutant: Mutant) -> Rung:
    """The rung with the change made: its file compiled anew under its own name, its lines where they were."""
    return changed_rung(find_rung(mutant.rung), mutant.number)


def changed_rung(rung: Rung, number: int | None) -> Rung:
    """A rung from its file with one change made, by number; with none made, a copy of the rung."""
    tree = ast.parse(source_of(rung))
    if number is not None:
        _, edit = all_edits(tree)[number]
        tree = apply(edit, tree)
    return rung_from(rung, tree)


def rung_from(rung: Rung, tree: ast.Module) -> Rung:
    """The rung that another text of a rung's file makes; the file's name and lines are those of the tree."""
    module = types.ModuleType(rung.build.__module__)
    module.__file__ = rung.kernel_file
    exec(compile(tree, rung.kernel_file, "exec"), module.__dict__)
    from numba import uint32

    module.__dict__.setdefault("uint32", uint32)  # a changed size is cast to it
    found: Rung = module.RUNG
    return found


def _is_kernel(function: ast.FunctionDef) -> bool:
    for decorator in function.decorator_list:
        name = decorator.func if isinstance(decorator, ast.Call) else decorator
        if isinstance(name, ast.Name) and name.id in DECORATORS:
            return True
    return False
