"""Keeps compiled PTX on disk, privately, under a key made of everything that can change it.

An entry is text: a checksum line and the PTX. It is read only if the file and its folder belong to this
user and nobody else can write them, and only if the checksum fits; anything else is compiled again. Nothing
is unpickled or executed.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import types as python_types
from pathlib import Path
from typing import Any

import numpy as np

_FORMAT = "scc-emulator-ptx-7"


class _Unknown(Exception):
    """A value that the key cannot describe: then the kernel is not cached on disk."""


def _describe(value: Any, seen: dict[int, int]) -> str:
    """A text that differs wherever the compiled code could."""
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return f"{type(value).__name__}:{value!r}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({','.join(_describe(v, seen) for v in value)})"
    if isinstance(value, dict):
        return f"dict({','.join(f'{_describe(k, seen)}={_describe(v, seen)}' for k, v in value.items())})"
    if isinstance(value, np.generic):
        return f"{value.dtype.str}:{value.tobytes().hex()}"
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        digest = hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()
        return f"array{value.shape}{value.strides}{value.dtype.str}:{digest}"
    if isinstance(value, python_types.ModuleType):
        return f"module:{value.__name__}:{getattr(value, '__version__', '')}"
    if isinstance(value, python_types.CodeType):
        return _code(value, seen)
    if isinstance(value, python_types.FunctionType):
        return _function(value, seen)
    if isinstance(value, (python_types.BuiltinFunctionType, type)):
        return f"{value.__module__}.{value.__qualname__}"
    inner = getattr(value, "py_func", None)
    if isinstance(inner, python_types.FunctionType):
        options = getattr(value, "targetoptions", {}) or {}
        plain = {k: v for k, v in options.items() if isinstance(v, (bool, int, str, type(None)))}
        return f"{type(value).__qualname__}({_function(inner, seen)},{_describe(plain, seen)})"
    module = type(value).__module__
    if module.startswith("llvmlite.ir."):
        return f"{type(value).__qualname__}:{value}"
    definition = getattr(value, "_defn", None)  # an intrinsic: what it emits is decided by this function
    if isinstance(definition, python_types.FunctionType):
        return f"{type(value).__qualname__}({_function(definition, seen)})"
    if module.startswith(("numba.", "numba_cuda.", "numba_cuda_mlir.")) and hasattr(value, "key"):
        return f"{type(value).__qualname__}:{value!r}"
    raise _Unknown(type(value).__name__)


def _code(code: python_types.CodeType, seen: dict[int, int]) -> str:
    constants = ",".join(_describe(c, seen) for c in code.co_consts)
    # Line numbers are part of the PTX (.loc), so moving a kernel in its file is a change.
    parts = (code.co_filename, code.co_firstlineno, code.co_code.hex(), code.co_names, code.co_varnames)
    return f"code({parts},{constants},{code.co_linetable.hex()})"


def _function(function: python_types.FunctionType, seen: dict[int, int]) -> str:
    if id(function) in seen:
        return f"again:{seen[id(function)]}"
    seen[id(function)] = len(seen)
    parts = [function.__module__ or "", function.__qualname__, _code(function.__code__, seen)]
    parts.append(_describe(function.__defaults__, seen))
    for cell in function.__closure__ or ():
        try:
            parts.append(_describe(cell.cell_contents, seen))
        except ValueError:
            parts.append("empty")
    for name in sorted(_names(function.__code__)):
        if name in function.__globals__:
            value = function.__globals__[name]
            parts.append(f"{name}={_describe(value, seen)}")
            if isinstance(value, python_types.ModuleType):
                parts.append(_attributes(name, value, function.__code__, seen))
    return "function(" + ";".join(parts) + ")"


def _attributes(
    name: str, module: python_types.ModuleType, code: python_types.CodeType, seen: dict[int, int]
) -> str:
    """Values a kernel reads as attributes of a module of the user's own (settings.TILE)."""
    root = module.__name__.split(".")[0]
    if root in ("numba", "numba_cuda", "numba_cuda_mlir", "numpy", "math", "operator", "cmath"):
        return ""
    found = [n for n in sorted(_names(code)) if hasattr(module, n)]
    return ",".join(f"{name}.{n}={_describe(getattr(module, n), seen)}" for n in found)


def _names(code: python_types.CodeType) -> set[str]:
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, python_types.CodeType):
            names |= _names(constant)
    return names


def _versions() -> str:
    from importlib import metadata

    out = []
    for package in (
        "numba",
        "numba-cuda",
        "numba-cuda-mlir",
        "llvmlite",
        "nvidia-cuda-nvcc",
        "nvidia-nvvm",
        "cuda-bindings",
        "numpy",
    ):
        try:
            out.append(f"{package}={metadata.version(package)}")
        except metadata.PackageNotFoundError:
            out.append(f"{package}=none")
    return ";".join(out)


_VERSIONS: str | None = None


def state(function: Any) -> str | None:
    """All that a function's code depends on, as a text: globals, constant arrays, device functions, attributes of
    modules; None if some of it cannot be described.
    """
    try:
        return _function(function, {})
    except (_Unknown, RecursionError):
        return None


def fingerprint(function: Any, types: tuple[Any, ...], target: str, options: dict[str, Any]) -> str | None:
    """The key of a compiled kernel, or None if something it depends on cannot be described."""
    global _VERSIONS
    if _VERSIONS is None:
        _VERSIONS = _versions()
    plain = {k: v for k, v in sorted(options.items()) if isinstance(v, (bool, int, str, type(None)))}
    known = state(function)
    if known is None:
        return None
    text = "|".join((_FORMAT, _VERSIONS, target, repr(types), repr(plain), known))
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------------------------------------- files


def folder() -> Path:
    """Where entries lie: SCC_NUMBA_CACHE_DIR, else the user's cache folder."""
    named = os.environ.get("SCC_NUMBA_CACHE_DIR")
    if named:
        return Path(named)
    if os.name == "nt":
        root = os.environ.get("LOCALAPPDATA") or str(Path.home() / "AppData" / "Local")
    else:
        root = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(root) / "scc_numba" / "emulator"


def _private(path: Path) -> bool:
    """Whether only this user can have written the file or folder."""
    if os.name == "nt":  # the user's profile folder is private there
        return path.exists() and not path.is_symlink()
    try:
        status = path.lstat()
    except OSError:
        return False
    return status.st_uid == os.getuid() and not stat.S_ISLNK(status.st_mode) and not status.st_mode & 0o022


def disk_get(key: str) -> str | None:
    """The PTX under a key, or None if there is none that can be trusted."""
    path = folder() / f"{key}.ptx"
    try:
        if not (_private(path.parent) and _private(path) and stat.S_ISREG(path.lstat().st_mode)):
            return None  # a pipe among the files would be waited for, and nobody writes to it
        head, _, text = path.read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    return text if head == _head(key, text) else None


def _head(key: str, text: str) -> str:
    return f"{_FORMAT} {hashlib.sha256((key + text).encode()).hexdigest()}"


def disk_put(key: str, text: str) -> None:
    """Store PTX; a full disk or a read-only home is no error, only slower."""
    place = folder()
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not _private(place):
            return
        # Written aside and renamed: a parallel process sees the whole entry or none.
        descriptor, temporary = tempfile.mkstemp(dir=place, suffix=".tmp")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{_head(key, text)}\n{text}")
            os.replace(temporary, place / f"{key}.ptx")
        except OSError:
            os.unlink(temporary)
    except OSError:
        return
