"""From what a user hands in (a function, a dispatcher, PTX text) to a program and its arguments' types.

No driver is needed: the compiler is asked for PTX of a given target, and told so where it insists on a
device.
"""

from __future__ import annotations

import difflib
import json
import types as python_types
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import codegen, ptx
from .cache import disk_get, disk_put, fingerprint, state
from .compiler import COMPILER_OPTIONS, OTHER_OPTIONS, RAISES, SHARED, compile_ptx
from .errors import ArgumentError, PtxError
from .program import Program
from .signatures import Parameter, PtxKernel, describe, parse_signature, type_of, wrong_count
from .targets import Target
from .verify import verify


@dataclass
class Loaded:
    """A program with what is needed to call it."""

    program: Program
    parameters: list[Parameter]
    array_of_param: dict[int, int]  # PTX parameter -> number among the arrays
    name: str = ""  # the Python function's; a reference to it would keep the cache from forgetting it
    text: str = ""  # the PTX
    types: tuple[Any, ...] = ()  # Numba's, of the arguments


_programs: weakref.WeakKeyDictionary[Any, dict[Any, Loaded]] = weakref.WeakKeyDictionary()
_texts: dict[Any, Loaded] = {}


def _is_mlir(kernel: Any) -> bool:
    """Whether a kernel is written for numba-cuda-mlir: its dispatcher, or a function that uses its `cuda`."""
    if type(kernel).__module__.split(".")[0] == "numba_cuda_mlir":
        return True
    names = getattr(kernel, "__globals__", {})
    return str(getattr(names.get("cuda"), "__name__", "")).startswith("numba_cuda_mlir")


def python_function(kernel: Any) -> Any:
    """The Python function behind a kernel, or None for PTX."""
    if isinstance(kernel, python_types.FunctionType):
        return kernel
    return getattr(kernel, "py_func", None)


# ---------------------------------------------------------------------------------------------- loading


def _flatten(parameters: list[Parameter], names: list[str]) -> tuple[dict[str, int], dict[int, int]]:
    """Which PTX parameters are pointers: name -> position, and position -> number of the array."""
    pointers: dict[str, int] = {}
    arrays: dict[int, int] = {}
    position = number = 0

    def walk(p: Parameter) -> None:
        nonlocal position, number
        if p.form == "tuple":
            for item in p.items:
                walk(item)
            return
        if p.form == "scalar":
            position += 1
            return
        if p.form == "memref":  # allocated, aligned, offset, shape..., strides...
            if position + 1 >= len(names):
                raise PtxError(f"the PTX has {len(names)} parameters, too few for its signature")
            for at in (position, position + 1):
                pointers[names[at]] = at
                arrays[at] = number
            number += 1
            position += 3 + 2 * p.dimensions
            return
        at = position + (4 if p.form == "array" else 0)
        if at >= len(names):
            raise PtxError(f"the PTX has {len(names)} parameters, too few for its signature")
        pointers[names[at]] = at
        arrays[at] = number
        number += 1
        position += 5 + 2 * p.dimensions if p.form == "array" else 1

    for p in parameters:
        walk(p)
    if position != len(names):
        raise PtxError(f"the PTX has {len(names)} parameters, its signature makes {position}")
    return pointers, arrays


def _build(text: str, parameters: list[Parameter], name: str | None) -> Loaded:
    module = ptx.parse(text)
    entries = module.entries
    if name is not None:
        entries = [e for e in entries if e.name == name]
    if len(entries) != 1:
        found = ", ".join(e.name for e in module.entries) or "none"
        raise PtxError(f"cannot tell which entry to run: name={name!r}, the PTX has {found}")
    entry = entries[0]
    verify(module, entry)
    pointers, arrays = _flatten(parameters, [p for p, _ in entry.params])
    for parameter, kind in entry.params:
        if parameter in pointers and ptx.SIZES[kind] != 8:
            raise PtxError(f"parameter {parameter} is a .{kind}, its signature says pointer, which has 64 bits")
    program = codegen.build(module, entry, pointers)
    for line in text.splitlines():
        if line.startswith(RAISES):
            function, number, *said = json.loads(line[len(RAISES) + 1 :])
            program.exceptions[function, number] = tuple(said)
        elif line.startswith(SHARED):
            symbol, variable = json.loads(line[len(SHARED) + 1 :])
            # Two functions may both have an `s`.
            same = sum(known.split(" #")[0] == variable for known in program.shared_labels.values())
            program.shared_labels[symbol] = f"{variable} #{same + 1}" if same else variable
    return Loaded(program, parameters, arrays, text=text)


def load_ptx(kernel: PtxKernel) -> Loaded:
    """A program from PTX text."""
    key = (kernel.text, kernel.name, repr(kernel.parameters))
    if key not in _texts:
        _texts[key] = _build(kernel.text, list(kernel.parameters), kernel.name)
    return _texts[key]


def load(
    kernel: Any, args: tuple[Any, ...], target: Target, signature: Any, options: dict[str, Any] | None
) -> Loaded:
    """The program for these arguments: from memory, from disk, or compiled now.

    Raises:
        ArgumentError: not a kernel, or arguments of a type no kernel takes.
        CompilerMissing: Numba's compiler is not installed.
        UnsupportedInstruction: the kernel uses an instruction the emulator does not know.
    """
    if isinstance(kernel, PtxKernel):
        for name, value in (("signature", signature), ("options", options)):
            if value is not None:
                raise ArgumentError(f"{name}= goes with Python functions; a PtxKernel has its own, compiled in")
        return load_ptx(kernel)
    if isinstance(kernel, str):
        raise ArgumentError("PTX text comes with a signature: launch(PtxKernel(text, signature), ...)")
    function = python_function(kernel)
    if function is None:
        raise ArgumentError(
            f"kernel is a {type(kernel).__name__}; it must be a function, a cuda.jit dispatcher or a PtxKernel"
        )
    own = dict(getattr(kernel, "targetoptions", None) or {})
    if own.get("device"):
        raise ArgumentError(
            f"{function.__name__} is a device function (device=True): launch a kernel that calls it"
        )
    _check_options(options)
    if options is None:
        options = own
    mlir = _is_mlir(kernel) or _is_mlir(function)
    shape = tuple(_key(a) for a in args) if signature is None else None
    if signature is not None and not isinstance(signature, str):
        signature = parse_signature(signature)
    chosen = tuple(str(options.get(o)) for o in COMPILER_OPTIONS)
    # A plain function means what its globals say now. A dispatcher keeps what it was first compiled from, as on a
    # GPU.
    now = state(function) if function is kernel else None
    key = (shape, signature, target.name, chosen, hash(now))
    known = _programs.setdefault(function, {})
    loaded = known.get(key)
    if loaded is None:
        names = _argument_names(function)
        if len(names) != len(args):
            raise ArgumentError(wrong_count(function.__name__, names, args, f" ({', '.join(names)})"))
        types = parse_signature(signature) if signature is not None else ()
        if signature is None:
            types = tuple(type_of(a, n, mlir) for a, n in zip(args, names, strict=True))
        if len(types) != len(names):
            raise ArgumentError(f"{function.__name__} takes {len(names)} arguments, its signature has {len(types)}")
        loaded = known[key] = _loaded(function, types, target, options, mlir)
    return loaded


def _check_options(options: Any) -> None:
    if options is None:
        return
    if not isinstance(options, dict):
        raise ArgumentError(f"options={options!r} must be a dictionary, such as {{'fastmath': True}}")
    for name in options:
        if name not in (*COMPILER_OPTIONS, *OTHER_OPTIONS):
            nearest = difflib.get_close_matches(str(name), (*COMPILER_OPTIONS, *OTHER_OPTIONS), n=1)
            hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; there are {', '.join(COMPILER_OPTIONS)}"
            raise ArgumentError(f"options: {name!r} is no option of the compiler{hint}")


def load_types(kernel: Any, types: tuple[Any, ...], target: Target) -> Loaded:
    """The program of a dispatcher for arguments of these Numba types."""
    function, options = python_function(kernel), dict(getattr(kernel, "targetoptions", None) or {})
    return _loaded(function, types, target, options, _is_mlir(kernel) or _is_mlir(function))


def _loaded(function: Any, types: tuple[Any, ...], target: Target, options: dict[str, Any], mlir: bool) -> Loaded:
    names = _argument_names(function)
    parameters = [describe(t, n, mlir) for t, n in zip(types, names, strict=True)]
    loaded = _build(_ptx(function, types, target, options, mlir), parameters, None)
    loaded.name, loaded.types = function.__name__, types
    return loaded


def _argument_names(function: Any) -> list[str]:
    return list(function.__code__.co_varnames[: function.__code__.co_argcount])


def _key(value: Any) -> Any:
    """A cheap stand-in for the argument's Numba type."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        return value.dtype.str, value.ndim, "C" if flags.c_contiguous else "F" if flags.f_contiguous else "A"
    if isinstance(value, tuple):
        return tuple(_key(v) for v in value)
    if type(value) is int:
        return int if -(2**63) <= value < 2**63 else "big"
    return type(value)


def _ptx(function: Any, types: tuple[Any, ...], target: Target, options: dict[str, Any], mlir: bool) -> str:
    mark = fingerprint(function, types, target.name, {**options, "mlir": mlir})
    if mark is not None:
        text = disk_get(mark)
        if text is not None:
            return text
    text = compile_ptx(function, types, target, options, mlir)
    if mark is not None:
        disk_put(mark, text)
    return text


__all__ = ["Loaded", "load", "load_types", "python_function"]
