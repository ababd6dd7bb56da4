"""What a mutation changes: each operator takes a node of a kernel's syntax tree, and yields what may stand there.

Libraries that mutate Python (mutmut, cosmic-ray) work on whole files and know no barrier; and they leave decorated
functions alone, or run a test command for each mutant. Kernels are few, and short enough for the `ast` module.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

BARRIERS = ("syncthreads", "syncwarp", "wait_for_copies", "commit_copies")
KINDS = ("constant", "comparison", "term", "condition", "arguments", "statement", "barrier")


class Edit(NamedTuple):
    """One change.

    Attributes:
        kind: one of `KINDS`.
        node: what is replaced.
        new: what stands there instead; None for a statement that is left out.
    """

    kind: str
    node: ast.AST
    new: ast.AST | None

    @property
    def was(self) -> str:
        """The first line of the replaced code."""
        return _first_line(self.node)

    @property
    def becomes(self) -> str:
        """The first line of the new code, "nothing" for none."""
        return "nothing" if self.new is None else _first_line(self.new)


def edits(function: ast.FunctionDef) -> list[Edit]:
    """All changes of a kernel, in the order of its lines; each differs from the rest and from what is there."""
    found: list[Edit] = []
    for node in _nodes(function):
        seen = {ast.unparse(node)}
        for edit in (edit for operator in OPERATORS for edit in operator(node, function)):
            text = "" if edit.new is None else ast.unparse(edit.new)
            if text not in seen:
                seen.add(text)
                found.append(edit)
    return found


def _nodes(function: ast.FunctionDef) -> Iterator[ast.AST]:
    """The nodes that may change, outside in: not the declaration of an array, whose size the compiler wants."""
    waiting: list[ast.AST] = list(reversed(function.body))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".shared.array", ".local.array")):
            continue
        yield node
        inside = [child for child in ast.iter_child_nodes(node) if child is not getattr(node, "func", None)]
        waiting.extend(reversed(inside))


def constants(node: ast.AST, function: ast.FunctionDef) -> Iterator[Edit]:
    """A number: one more, one less, zero. A size that is compiled in, written in capitals: one more, one less."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        for value in (node.value + 1, node.value - 1, type(node.value)(0)):
            yield Edit("constant", node, ast.Constant(value))
    if isinstance(node, ast.Name) and _is_size(node) and not _is_tested(node, function):
        for sign in (ast.Add(), ast.Sub()):
            other = ast.BinOp(copy.deepcopy(node), sign, ast.Constant(1))
            # without the cast Numba would go on in 64 signed bits, a change of its own
            yield Edit("constant", node, ast.Call(ast.Name("uint32", ast.Load()), [other], []))


_OTHER_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
}


def comparisons(node: ast.AST, function: ast.FunctionDef) -> Iterator[Edit]:
    """< to <= and to its opposite, == to !=, and to or, a `not` dropped."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for other in _OTHER_COMPARISONS.get(type(node.ops[0]), ()):
            yield _with(node, "comparison", ops=[other()])
    if isinstance(node, ast.BoolOp):
        yield _with(node, "comparison", op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield Edit("comparison", node, node.operand)


def terms(node: ast.AST, function: ast.FunctionDef) -> Iterator[Edit]:
    """A term or factor dropped, + to − and back, operands of −, // and % swapped, += to = and −=."""
    if isinstance(node, ast.BinOp):
        yield Edit("term", node, node.left)
        if isinstance(node.op, ast.Add | ast.Mult):
            yield Edit("term", node, node.right)
        if isinstance(node.op, ast.Add | ast.Sub):
            yield _with(node, "term", op=ast.Sub() if isinstance(node.op, ast.Add) else ast.Add())
        if isinstance(node.op, ast.Sub | ast.FloorDiv | ast.Mod | ast.LShift | ast.RShift):
            yield _with(node, "term", left=node.right, right=node.left)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield Edit("term", node, node.operand)
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add | ast.Sub):
        yield _with(node, "term", op=ast.Sub() if isinstance(node.op, ast.Add) else ast.Add())
        yield Edit("term", node, ast.copy_location(ast.Assign([node.target], node.value), node))
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("min", "max"):
        for argument in node.args:
            yield Edit("term", node, argument)


def conditions(node: ast.AST, function: ast.FunctionDef) -> Iterator[Edit]:
    """A test that always or never holds; one of several tests dropped, but for flags.

    A flag that is compiled in, as in `EXACT or j < G`, spares a test that would hold: without it the kernel is
    slower and as right.
    """
    if isinstance(node, ast.IfExp):
        yield Edit("condition", node, node.body)
        yield Edit("condition", node, node.orelse)
    if isinstance(node, ast.If):
        for value in (True, False):
            yield _with(node, "condition", test=ast.Constant(value))
    if isinstance(node, ast.BoolOp):
        for dropped in node.values:
            flag = isinstance(dropped, ast.Name) and _is_size(dropped)
            kept = [value for value in node.values if value is not dropped]
            if not (flag and isinstance(node.op, ast.Or)):
                yield Edit("condition", node, kept[0] if len(kept) == 1 else ast.BoolOp(node.op, kept))


def arguments(node: ast.AST, function: ast.FunctionDef) -> Iterator[Edit]:
    """Two neighbouring arguments of a call, or indices of an array, swapped."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) not in ("min", "max"):
        for swapped in _swaps(node.args):
            yield _with(node, "arguments", args=swapped)
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Tuple):
        for swapped in _swaps(node.slice.elts):
            yield _with(node, "arguments", slice=ast.Tuple(swapped, ast.Load()))


def statements(node: ast.AST, function: ast.FunctionDef) -> Iterator[Edit]:
    """A statement left out, unless it is the one that gives a name its first value."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        barrier = ast.unparse(node.value.func).rpartition(".")[2] in BARRIERS
        yield Edit("barrier" if barrier else "statement", node, None)
    if isinstance(node, ast.AugAssign | ast.For | ast.While):
        yield Edit("statement", node, None)
    if isinstance(node, ast.Assign):
        written = [name for target in node.targets for name in _names_written(target)]
        before = [name for other in ast.walk(function) if _line(other) < node.lineno for name in _bound_by(other)]
        if all(name in before for name in written):
            yield Edit("statement", node, None)


OPERATORS: tuple[Callable[[ast.AST, ast.FunctionDef], Iterator[Edit]], ...] = (
    constants,
    comparisons,
    terms,
    conditions,
    arguments,
    statements,
)


class _Replace(ast.NodeTransformer):
    def __init__(self, edit: Edit) -> None:
        self.edit = edit

    def visit(self, node: ast.AST) -> Any:
        if node is not self.edit.node:
            return self.generic_visit(node)
        new = ast.Pass() if self.edit.new is None else copy.deepcopy(self.edit.new)
        return ast.copy_location(new, node)


def apply(edit: Edit, tree: ast.Module) -> ast.Module:
    """Make the change in the tree that its node belongs to; every other line stays where it is."""
    return ast.fix_missing_locations(_Replace(edit).visit(tree))


def _with(node: Any, kind: str, **changes: Any) -> Edit:
    new = copy.copy(node)
    for name, value in changes.items():
        setattr(new, name, value)
    return Edit(kind, node, new)


def _swaps(nodes: list[ast.expr]) -> Iterator[list[ast.expr]]:
    for i in range(len(nodes) - 1):
        yield [*nodes[:i], nodes[i + 1], nodes[i], *nodes[i + 2 :]]


def _is_size(name: ast.Name) -> bool:
    return name.id.isupper() and isinstance(name.ctx, ast.Load)


def _is_tested(name: ast.Name, function: ast.FunctionDef) -> bool:
    """Whether a name stands for true or false."""
    for node in ast.walk(function):
        tests = [getattr(node, "test", None)]
        if isinstance(node, ast.BoolOp):
            tests += node.values
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            tests.append(node.operand)
        if any(test is name for test in tests):
            return True
    return False


def _names_written(target: ast.expr) -> Iterator[str]:
    if isinstance(target, ast.Name):
        yield target.id
    elif isinstance(target, ast.Tuple):
        for part in target.elts:
            yield from _names_written(part)


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _bound_by(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Assign):
        for target in node.targets:
            yield from _names_written(target)
    elif isinstance(node, ast.For):
        yield from _names_written(node.target)
    elif isinstance(node, ast.arg):
        yield node.arg


def _first_line(node: ast.AST) -> str:
    return ast.unparse(node).partition("\n")[0]
