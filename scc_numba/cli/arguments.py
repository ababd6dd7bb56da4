"""Words of the command line as what they mean: layers, operations, dtypes, objects in files."""

from __future__ import annotations

import importlib.util
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from scc_reference import SlidingChannels

from scc_numba.device.number import Bfloat16, number_type
from scc_numba.kernels import OPS, Op, Rung, Tile, find_rung, ladder
from scc_numba.kernels.rung import closest

DEFAULT_LAYER = "4,64,64,32,32,4,0.5"
DTYPES = ("float32", "float64", "float16", "bfloat16")


def parse_layer(text: str) -> tuple[int, int, int, SlidingChannels]:
    """Batch, height, width and channels from "N,C,K,H,W,groups,overlap".

    Raises:
        ValueError: it has another form, or a number breaks its rule.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 7:
        raise ValueError(f"layer={text!r} has {len(parts)} parts, expected the 7 of N,C,K,H,W,groups,overlap")
    names = ("N", "C", "K", "H", "W", "groups")
    try:
        N, C, K, H, W, groups = (int(part) for part in parts[:6])
    except ValueError:
        bad = next(f"{name}={part!r}" for name, part in zip(names, parts, strict=False) if not _is_int(part))
        raise ValueError(f"layer={text!r}: {bad} is not a whole number") from None
    try:
        overlap = Fraction(parts[6]) if "/" in parts[6] else float(parts[6])
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"layer={text!r}: overlap={parts[6]!r} is not a number, such as 0.33 or 1/3") from None
    for name, size in (("N", N), ("H", H), ("W", W)):
        if size < 1:
            raise ValueError(f"layer={text!r}: {name}={size} must be at least 1, or there is no picture to see")
    return N, H, W, SlidingChannels(C, K, groups, overlap)


def load_object(spec: str) -> Any:
    """The object that "FILE.py:NAME" names; the file is imported, its folder first on the path.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file does not import, or has no such name; the message says why, or suggests the nearest.
    """
    file, _, name = spec.rpartition(":")
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(f"{file!r} is not a file; expected FILE.py:FUNCTION")
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    if module_spec is None or module_spec.loader is None:
        raise ValueError(f"{file!r} is not a Python file; expected FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(module_spec)
    sys.path.insert(0, str(path.parent.resolve()))
    sys.modules[path.stem] = module  # so that tracebacks, pickles and dataclasses find it
    try:
        module_spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ValueError(f"{file!r} does not import: {type(error).__name__}: {error}") from error
    found = getattr(module, name, None)
    if found is not None and not (callable(found) or isinstance(found, Rung)):
        raise ValueError(f"{name!r} in {file!r} is a {type(found).__name__}, not a function")
    if found is None:
        own = [key for key, value in vars(module).items() if getattr(value, "__module__", "") == path.stem]
        raise ValueError(f"{file!r} has no function {name!r}: {closest(name, own) if own else 'it has none'}")
    return found


def parse_op(name: str) -> Op:
    """An operation by name; an error suggests the nearest."""
    for op in OPS:
        if name == op:
            return op
    raise ValueError(f"op={name!r} is not an operation: {closest(name, OPS)}")


def parse_dtype(name: str) -> np.dtype[Any]:
    """A floating-point type by name.

    Raises:
        ValueError: there is no such type; or it is bfloat16, and the package that brings it is not installed.
    """
    if name not in DTYPES:
        raise ValueError(f"dtype={name!r} is not one of {', '.join(DTYPES)}")
    dtype = number_type(name)
    if isinstance(dtype, Bfloat16):
        raise ValueError("dtype='bfloat16' needs the package ml_dtypes: pip install ml_dtypes")
    return np.dtype(dtype)


def parse_rungs(names: list[str] | None, ops: list[str] | None) -> list[Rung]:
    """The rungs of these names, or all, of these operations, or all; ladder by ladder.

    Raises:
        ValueError: there is no such rung or operation, or a rung is not of the operations.
    """
    chosen = [parse_op(name) for name in dict.fromkeys(ops)] if ops else list(OPS)
    if not names:
        return [rung for op in OPS if op in chosen for rung in ladder(op)]
    rungs = [find_rung(name) for name in dict.fromkeys(names)]
    for rung in rungs:
        if rung.op not in chosen:
            raise ValueError(f"rung={rung.name!r} computes {rung.op}, which --op leaves out")
    return rungs


def parse_tile(text: str | None) -> Tile | None:
    """The numbers of a tile, "64x128x16"; None for the rung's own choice."""
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split("x"))
    except ValueError:
        raise ValueError(f"tile={text!r} is not made of whole numbers, such as 128 or 64x128x16") from None


def _is_int(text: str) -> bool:
    try:
        int(text)
    except ValueError:
        return False
    return True
