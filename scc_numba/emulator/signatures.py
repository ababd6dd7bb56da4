"""What a signature says about a kernel's arguments, and what arguments say where there is none."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .compiler import numba_cuda
from .errors import ArgumentError


@dataclass
class Parameter:
    """How one argument becomes PTX parameters."""

    name: str
    form: str  # "array", "memref" (an array as numba-cuda-mlir passes it), "pointer", "scalar", "tuple"
    dtype: Any = None  # NumPy dtype of elements or of the scalar
    dimensions: int = 0
    layout: str = "C"
    items: list[Parameter] = field(default_factory=list)


_FORMS = (
    'a string or signature of Numba\'s, "void(CPointer(float32), int32)"; or a tuple with one entry an argument: a '
    'Numba type, a NumPy dtype for a scalar, "pointer" for an array given by its address, ("array", dimensions) '
    "for Numba's"
)


@dataclass(frozen=True)
class PtxKernel:
    """PTX text together with the types of its arguments.

    Attributes:
        text: the PTX.
        signature: as for `launch`: a string such as "void(CPointer(float32), int32)", a Numba signature or a
            tuple of Numba types. Without Numba's words: a tuple whose entries are a NumPy dtype for a scalar,
            `"pointer"` for a bare pointer that is given an array, `("array", dimensions)` for an array in
            Numba's layout (7, 9, 11... parameters).
        name: the entry to run; may be left out if there is only one.

    Raises:
        ArgumentError: text that is no string, a signature of another form.
    """

    text: str
    signature: Any
    name: str | None = None
    parameters: tuple[Parameter, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ArgumentError(f"text is a {type(self.text).__name__}, it must be PTX as a string")
        entries = self.signature
        if isinstance(entries, str) or hasattr(entries, "args"):
            try:
                entries = parse_signature(entries)
            except ArgumentError as error:
                raise ArgumentError(f"{error}; a signature is {_FORMS}") from error
        if not isinstance(entries, (tuple, list)):
            raise ArgumentError(f"signature={entries!r} must be {_FORMS}")
        parameters = tuple(_entry(e, f"argument {k}") for k, e in enumerate(entries))
        object.__setattr__(self, "parameters", parameters)


def _entry(entry: Any, name: str) -> Parameter:
    """One entry of a signature."""
    if isinstance(entry, str) and entry == "pointer":
        return Parameter(name, "pointer")
    if isinstance(entry, tuple) and len(entry) == 2 and entry[0] == "array" and isinstance(entry[1], int):
        return Parameter(name, "array", None, entry[1], "A")
    if any(c.__name__ == "Type" and c.__module__.startswith("numba") for c in type(entry).__mro__):
        return describe(entry, name)
    try:
        dtype = np.dtype(entry) if entry is not None else None
    except (TypeError, ValueError):
        dtype = None
    if dtype is None or dtype.kind not in "biuf" or dtype.itemsize > 8:
        raise ArgumentError(f"{name}: signature entry {entry!r} is none of its forms: {_FORMS}")
    return Parameter(name, "scalar", dtype)


def wrong_count(who: str, wanted: Sequence[Any], given: Sequence[Any], names: str = "") -> str:
    """The sentence for a wrong number of arguments."""
    plural, were = "" if len(wanted) == 1 else "s", "was" if len(given) == 1 else "were"
    return f"{who} takes {len(wanted)} argument{plural}{names}, {len(given)} {were} given"


def type_of(value: Any, name: str, mlir: bool = False) -> Any:
    """The Numba type a launch would give this argument.

    Raises:
        ArgumentError: no kernel takes such a value.
    """
    cuda_types, from_dtype = _types(mlir)
    if isinstance(value, np.ndarray):
        if isinstance(value, np.ma.MaskedArray):
            raise ArgumentError(
                f"argument {name} is a masked array, a kernel cannot see its mask; pass x.filled(...)"
            )
        if value.dtype.kind in "SUmM":
            raise ArgumentError(f"argument {name}: arrays of dtype {value.dtype} are not supported")
        if value.dtype.hasobject:
            raise ArgumentError(f"argument {name}: an array of Python objects cannot go to a kernel")
        try:
            bfloat = value.dtype.name == "bfloat16"  # as ml_dtypes registers it
            dtype = cuda_types.bfloat16 if bfloat else from_dtype(value.dtype)
        except Exception as error:
            raise ArgumentError(f"argument {name}: dtype {value.dtype} has no Numba type") from error
        layout = "C" if value.flags.c_contiguous else "F" if value.flags.f_contiguous else "A"
        return cuda_types.Array(dtype, value.ndim, layout)
    if isinstance(value, (bool, np.bool_)):
        return cuda_types.boolean
    if isinstance(value, int):
        if -(2**63) <= value < 2**63:
            return cuda_types.int64
        if value < 2**64:
            return cuda_types.uint64
        raise ArgumentError(f"argument {name}={value} does not fit 64 bits")
    if isinstance(value, float):
        return cuda_types.float64
    if isinstance(value, np.generic):
        if value.dtype.kind not in "iuf":
            raise ArgumentError(f"argument {name}: scalars of dtype {value.dtype} are not supported")
        return from_dtype(value.dtype)
    if isinstance(value, complex):
        raise ArgumentError(
            f"argument {name} is a complex; complex numbers are taken in arrays: pass one of one element"
        )
    if isinstance(value, tuple):
        parts = [type_of(v, f"{name}[{k}]", mlir) for k, v in enumerate(value)]
        if parts and all(p == parts[0] for p in parts):
            return cuda_types.UniTuple(parts[0], len(parts))
        return cuda_types.Tuple(parts)
    raise ArgumentError(
        f"argument {name} is a {type(value).__name__}; kernels take NumPy arrays, NumPy and Python "
        f"numbers, and tuples "
        "of them"
    )


_type_modules: tuple[Any, Any] | None = None


def _types(mlir: bool = False) -> tuple[Any, Any]:
    """Numba's types and its dtype converter, from numba-cuda where it has its own."""
    global _type_modules
    if mlir:
        support = importlib.import_module("numba_cuda_mlir.numba_cuda.np.numpy_support")
        return importlib.import_module("numba_cuda_mlir.types"), support.from_dtype
    if _type_modules is None:
        numba_cuda()
        try:
            types_module = importlib.import_module("numba.cuda.types")
            support = importlib.import_module("numba.cuda.np.numpy_support")
        except ImportError:
            types_module = importlib.import_module("numba.core.types")
            support = importlib.import_module("numba.np.numpy_support")
        _type_modules = (types_module, support.from_dtype)
    return _type_modules


def _as_dtype(numba_type: Any, name: str) -> np.dtype:
    text = str(numba_type)
    if text in ("boolean", "bool"):
        return np.dtype(np.bool_)
    if "bfloat16" in text:
        return np.dtype(np.uint16)
    try:
        return np.dtype(text)
    except TypeError:
        raise ArgumentError(f"argument {name}: Numba type {text} is not supported") from None


def _element(numba_type: Any) -> np.dtype | None:
    """NumPy type of an array's elements; None where the two name it differently (records, bfloat16, bool)."""
    text = str(numba_type)
    if "bfloat16" in text or text.startswith(("Record", "bool", "none", "void")):
        return None
    return np.dtype(text)


def describe(numba_type: Any, name: str, mlir: bool = False) -> Parameter:
    """How an argument of a Numba type is passed."""
    kind = type(numba_type).__name__
    if kind in ("Array", "NestedArray"):
        element = _element(numba_type.dtype)
        form = "memref" if mlir else "array"
        return Parameter(name, form, element, numba_type.ndim, numba_type.layout)
    if kind == "CPointer":
        element = _element(numba_type.dtype)
        return Parameter(name, "pointer", element)
    if kind in ("UniTuple", "Tuple"):
        items = [describe(t, f"{name}[{k}]", mlir) for k, t in enumerate(numba_type.types)]
        return Parameter(name, "tuple", items=items)
    return Parameter(name, "scalar", _as_dtype(numba_type, name))


def parse_signature(signature: Any) -> tuple[Any, ...]:
    """Argument types from a Numba signature, a tuple of types, or a string such as
    "void(float32[::1], int32)".
    """
    given = signature
    if isinstance(signature, str):
        try:
            signature = _Reader().visit(ast.parse(signature.strip(), mode="eval").body)
        except (SyntaxError, TypeError, AttributeError, ValueError, RecursionError, KeyError) as error:
            raise ArgumentError(
                f'signature={given!r} is not one like "void(float32[::1], int32)": {error}'
            ) from error
        if not isinstance(signature, tuple) and not hasattr(signature, "args"):
            raise ArgumentError(f'signature={given!r} is not one like "void(float32[::1], int32)": it is one type')
    if hasattr(signature, "args"):
        returned = getattr(signature, "return_type", None)
        if returned is not None and str(returned) not in ("none", "void"):
            raise ArgumentError(
                f"signature={given!r} returns {returned}; a kernel returns nothing: begin with void"
            )
        return tuple(signature.args)
    return tuple(signature)


class _Reader(ast.NodeVisitor):
    """Reads a signature's text, without running it: Numba's type names, calls and subscripts of them, numbers."""

    def visit_Name(self, node: ast.Name) -> Any:
        types_module, _ = _types()
        if node.id in ("types", "numba"):
            return types_module
        found = getattr(types_module, node.id, None)
        kinds = found.__mro__ if isinstance(found, type) else type(found).__mro__
        if not any(c.__name__ == "Type" for c in kinds):
            raise ValueError(f"{node.id!r} is no type of Numba's")
        return found

    def visit_Attribute(self, node: ast.Attribute) -> Any:
        if not isinstance(node.value, ast.Name) or node.value.id not in ("types", "numba"):
            raise ValueError(f"{ast.unparse(node)!r} is no type of Numba's")
        return self.visit_Name(ast.Name(node.attr))

    def visit_Call(self, node: ast.Call) -> Any:
        named = {k.arg: self.visit(k.value) for k in node.keywords if k.arg}
        return self.visit(node.func)(*map(self.visit, node.args), **named)

    def visit_Subscript(self, node: ast.Subscript) -> Any:
        return self.visit(node.value)[self.visit(node.slice)]

    def visit_Slice(self, node: ast.Slice) -> slice:
        return slice(*(part and self.visit(part) for part in (node.lower, node.upper, node.step)))

    def visit_Tuple(self, node: ast.Tuple) -> tuple[Any, ...]:
        return tuple(map(self.visit, node.elts))

    def visit_List(self, node: ast.List) -> list[Any]:
        return list(map(self.visit, node.elts))

    def visit_Constant(self, node: ast.Constant) -> Any:
        return node.value

    def generic_visit(self, node: ast.AST) -> Any:
        raise ValueError(f"{ast.unparse(node)!r} has no place in a signature")
