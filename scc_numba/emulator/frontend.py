"""From what a user hands in (a function, a dispatcher, PTX text) to a program and its arguments' types.

No driver is needed: the compiler is asked for PTX of a given target, and told so where it insists on a
device.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import re
import sys
import types as python_types
import weakref
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from . import codegen, ptx
from .cache import disk_get, disk_put, fingerprint
from .errors import ArgumentError, CompilerMissing, EmulatorError, PtxError
from .program import Program
from .targets import Target
from .verify import verify

_FORMS = (
    'a NumPy dtype for a scalar, "pointer" for an array given by its address, ("array", dimensions) for Numba\'s'
)


def _is_dtype(entry: Any) -> bool:
    try:
        np.dtype(entry)
    except TypeError:
        return False
    return True


@dataclass(frozen=True)
class PtxKernel:
    """PTX text together with the types of its arguments.

    Attributes:
        text: the PTX.
        signature: one entry an argument: a NumPy dtype for a scalar, `"pointer"` for a bare pointer that is
            given an
            array, `("array", dimensions)` for an array in Numba's layout (7, 9, 11... parameters).
        name: the entry to run; may be left out if there is only one.
    """

    text: str
    signature: tuple[Any, ...]
    name: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise ArgumentError(f"text is a {type(self.text).__name__}, it must be PTX as a string")
        if isinstance(self.signature, str) or not isinstance(self.signature, (tuple, list)):
            raise ArgumentError(
                f"signature={self.signature!r} must be a tuple with one entry an argument; {_FORMS}"
            )
        for number, entry in enumerate(self.signature):
            array = isinstance(entry, tuple) and len(entry) == 2 and entry[0] == "array"
            if not (array or (isinstance(entry, str) and entry == "pointer") or _is_dtype(entry)):
                raise ArgumentError(f"argument {number}: signature entry {entry!r} is none of its forms: {_FORMS}")


@dataclass
class Parameter:
    """How one argument becomes PTX parameters."""

    name: str
    form: str  # "array", "memref" (an array as numba-cuda-mlir passes it), "pointer", "scalar", "tuple"
    dtype: Any = None  # NumPy dtype of elements or of the scalar
    dimensions: int = 0
    layout: str = "C"
    items: list[Parameter] = field(default_factory=list)


@dataclass
class Loaded:
    """A program with what is needed to call it."""

    program: Program
    parameters: list[Parameter]
    array_of_param: dict[int, int]  # PTX parameter -> number among the arrays
    name: str = ""  # the Python function's; a reference to it would keep the cache from forgetting it


_programs: weakref.WeakKeyDictionary[Any, dict[Any, Loaded]] = weakref.WeakKeyDictionary()
_texts: dict[Any, Loaded] = {}


# ---------------------------------------------------------------------------------------------- Numba


def _numba_cuda() -> Any:
    try:
        from numba import cuda
    except ImportError as error:
        raise CompilerMissing(_missing()) from error
    if not hasattr(cuda, "compile_ptx") or (getattr(cuda, "simulator", None) is not None and _simulating()):
        raise CompilerMissing(
            "Numba runs in simulator mode (NUMBA_ENABLE_CUDASIM=1), which has no compiler; unset the "
            "variable to emulate"
        )
    return cuda


def _simulating() -> bool:
    from numba import config

    return bool(getattr(config, "ENABLE_CUDASIM", 0))


def _missing() -> str:
    way = 'pip install "numba-cuda[cu13]" (or [cu12]) installs it'
    if sys.platform == "darwin":
        way = (
            "NVIDIA publishes no compiler for macOS: use a Linux container (docker run -it python:3.12, then "
            'pip install "numba-cuda[cu13]") or a Colab notebook'
        )
    return f"Numba's CUDA compiler is missing: {way}"


@contextlib.contextmanager
def pretend_device(target: Target) -> Iterator[None]:
    """Let parts of numba-cuda that ask for the current device see one of the target's capability."""
    device = python_types.SimpleNamespace(compute_capability=target.capability, name=b"emulated")
    patched = []
    for name in ("numba.cuda.dispatcher", "numba.cuda.compiler", "numba.cuda.codegen"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if hasattr(module, "get_current_device"):
            patched.append((module, module.get_current_device))
            module.get_current_device = lambda: device  # type: ignore[attr-defined]
    try:
        yield
    finally:
        for module, original in patched:
            module.get_current_device = original  # type: ignore[attr-defined]


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


def type_of(value: Any, name: str, mlir: bool = False) -> Any:
    """The Numba type a launch would give this argument.

    Raises:
        ArgumentError: no kernel takes such a value.
    """
    cuda_types, from_dtype = _types(mlir)
    if isinstance(value, np.ndarray):
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
        _numba_cuda()
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
    if isinstance(signature, str):
        try:
            from numba.cuda.core.sigutils import normalize_signature
        except ImportError:
            from numba.core.sigutils import normalize_signature
        try:
            return tuple(normalize_signature(signature)[0])
        except (NameError, SyntaxError, TypeError, AttributeError) as error:
            raise ArgumentError(
                f'signature={signature!r} is not one like "void(float32[::1], int32)": {error}'
            ) from error
    if hasattr(signature, "args"):
        return tuple(signature.args)
    return tuple(signature)


def _compile_mlir(function: Any, signature: tuple[Any, ...], target: Target, options: dict[str, Any]) -> str:
    """The same through numba-cuda-mlir, which asks for the device's capability even where it is given."""
    tools = importlib.import_module("numba_cuda_mlir.tools")
    cuda = importlib.import_module("numba_cuda_mlir.cuda")
    original = tools.get_gpu_compute_capability
    tools.get_gpu_compute_capability = lambda as_type=str: (  # type: ignore[attr-defined]
        target.capability if as_type is tuple else target.name
    )
    try:
        text, _ = cuda.compile_ptx(
            function, signature, cc=target.capability, lineinfo=True, fastmath=bool(options.get("fastmath"))
        )
    finally:
        tools.get_gpu_compute_capability = original  # type: ignore[attr-defined]
    return text


def compile_ptx(
    function: Any, signature: tuple[Any, ...], target: Target, options: dict[str, Any], mlir: bool = False
) -> str:
    """PTX of a kernel, with line numbers, for a target; no driver and no device needed."""
    if mlir:
        return _compile_mlir(function, signature, target, options)
    cuda = _numba_cuda()
    accepted = inspect.signature(cuda.compile_ptx).parameters
    known = {k: options[k] for k in _COMPILER_OPTIONS if k in accepted and options.get(k) is not None}
    if known.get("debug"):
        known.setdefault("opt", False)  # the compiler takes only one of the two
    with pretend_device(target), _watch_compiler() as seen:
        try:
            text, _ = cuda.compile_ptx(
                function, signature, cc=target.capability, lineinfo=not known.get("debug"), **known
            )
        except ImportError as error:
            raise CompilerMissing(_missing()) from error
        except Exception as error:
            if type(error).__name__ == "NvvmSupportError" or (
                "libNVVM" in str(error) and "not found" in str(error)
            ):
                raise CompilerMissing(_missing()) from error
            if "multiple PTX files" not in str(error) or not seen.libraries:
                raise
            # With debug=True device functions become texts of their own, for a linker to join.
            text = _joined(seen.libraries[-1].get_asm_strs(cc=target.capability))
    if known.get("debug"):
        text += "".join(f"\n{_RAISES} {number} {json.dumps(name)}" for number, name in seen.exceptions.items())
    return text


# Options of a dispatcher that change the PTX.
_COMPILER_OPTIONS = ("fastmath", "opt", "launch_bounds", "debug")

# Comments after the PTX: the exceptions that its numbers stand for, so that they are cached with it.
_RAISES = "// numba raises"


@dataclass
class _Seen:
    """What Numba keeps beside the code, where `compile_ptx` does not hand it out."""

    exceptions: dict[int, str] = field(default_factory=dict)  # number -> name and message
    libraries: list[Any] = field(default_factory=list)


@contextlib.contextmanager
def _watch_compiler() -> Iterator[_Seen]:
    """Take note of what is compiled meanwhile."""
    seen = _Seen()
    try:
        compiler = importlib.import_module("numba.cuda.compiler")
        original = compiler.compile_cuda
    except (ImportError, AttributeError):
        yield seen  # then exceptions are known by number only
        return

    def watched(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        seen.libraries.append(result.library)
        for number, (kind, values, *_) in getattr(getattr(result, "call_helper", None), "exceptions", {}).items():
            message = ", ".join(map(str, values or ()))
            name = getattr(kind, "__name__", None) or "an exception"
            seen.exceptions[int(number)] = f"{name}: {message}" if message else name
        return result

    compiler.compile_cuda = watched  # type: ignore[attr-defined]
    try:
        yield seen
    finally:
        compiler.compile_cuda = original  # type: ignore[attr-defined]


def _joined(texts: list[str]) -> str:
    """Several PTX texts as one, their file numbers made distinct."""
    out = []
    offset = 0
    for text in texts:
        numbers = [int(n) for n in re.findall(r"^\s*\.file\s+(\d+)", text, re.M)]
        shift = lambda m, by=offset: f"{m[1]}{int(m[2]) + by}"  # noqa: E731
        out.append(re.sub(r"(\.file\s+|\.loc\s+|inlined_at\s+)(\d+)", shift, text))
        offset += max(numbers, default=0)
    return "\n".join(out)


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
    program = codegen.build(module, entry, pointers)
    for line in text.splitlines():
        if line.startswith(_RAISES):
            number, _, name = line[len(_RAISES) + 1 :].partition(" ")
            program.exceptions[int(number)] = json.loads(name)
    return Loaded(program, parameters, arrays)


def load_ptx(kernel: PtxKernel) -> Loaded:
    """A program from PTX text."""
    key = (kernel.text, kernel.name, tuple(str(s) for s in kernel.signature))
    if key not in _texts:
        parameters = []
        for k, s in enumerate(kernel.signature):
            name = f"argument {k}"
            if s == "pointer":
                parameters.append(Parameter(name, "pointer"))
            elif isinstance(s, tuple) and len(s) == 2 and s[0] == "array":
                parameters.append(Parameter(name, "array", None, int(s[1]), "A"))
            else:
                try:
                    parameters.append(Parameter(name, "scalar", np.dtype(s)))
                except TypeError as error:
                    raise ArgumentError(
                        f'{name}: signature entry {s!r} must be a NumPy dtype, "pointer" or ("array", dimensions)'
                    ) from error
        _texts[key] = _build(kernel.text, parameters, kernel.name)
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
        return load_ptx(kernel)
    if isinstance(kernel, str):
        raise ArgumentError("PTX text comes with a signature: launch(PtxKernel(text, signature), ...)")
    function = python_function(kernel)
    if function is None:
        raise ArgumentError(
            f"kernel is a {type(kernel).__name__}; it must be a function, a cuda.jit dispatcher or a PtxKernel"
        )
    if options is not None and not isinstance(options, dict):
        raise ArgumentError(f"options={options!r} must be a dictionary, such as {{'fastmath': True}}")
    if options is None:
        options = dict(getattr(kernel, "targetoptions", None) or {})
    mlir = _is_mlir(kernel) or _is_mlir(function)
    shape = tuple(_key(a) for a in args) if signature is None else None
    if signature is not None and not isinstance(signature, str):
        signature = parse_signature(signature)
    chosen = tuple(str(options.get(o)) for o in _COMPILER_OPTIONS)
    key = (shape, signature, target.name, chosen)
    known = _programs.setdefault(function, {})
    loaded = known.get(key)
    if loaded is None:
        names = list(function.__code__.co_varnames[: function.__code__.co_argcount])
        if len(names) != len(args):
            raise ArgumentError(
                f"{function.__name__} takes {len(names)} arguments ({', '.join(names)}), {len(args)} were given"
            )
        types = parse_signature(signature) if signature is not None else ()
        if signature is None:
            types = tuple(type_of(a, n, mlir) for a, n in zip(args, names, strict=True))
        if len(types) != len(names):
            raise ArgumentError(f"{function.__name__} takes {len(names)} arguments, its signature has {len(types)}")
        parameters = [describe(t, n, mlir) for t, n in zip(types, names, strict=True)]
        text = _ptx(function, types, target, options, mlir)
        loaded = _build(text, parameters, None)
        loaded.name = function.__name__
        known[key] = loaded
    return loaded


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


__all__ = ["EmulatorError", "Loaded", "Parameter", "PtxKernel", "load", "python_function"]
