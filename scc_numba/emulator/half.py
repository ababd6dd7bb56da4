"""The float16 and bfloat16 functions that Numba leaves to a library it links later, by their mangled names.

All take pointers: the result's first, then the operands'.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .values import (
    bfloat_fma,
    bfloat_to_float,
    double_to_bfloat,
    float_to_bfloat,
    float_to_integer,
    half_fma,
    half_max,
    half_min,
    integer_to_bfloat,
    maximum,
    minimum,
)


@dataclass(frozen=True, slots=True)
class Helper:
    """One library function: NumPy types of operands and result, and what it computes."""

    operands: tuple[str, ...]
    result: str
    compute: Callable[..., Any]
    skip: int = 0  # leading pointers that are ignored


HELPERS: dict[str, Helper] = {}


def _through_float(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: function(x.astype(np.float32).astype(np.float64)).astype(np.float16)


def _bf(function: Callable[..., Any]) -> Callable[..., Any]:
    """A bfloat16 function through float32."""
    return lambda *xs: float_to_bfloat(np.asarray(function(*(bfloat_to_float(x) for x in xs)), np.float32))


def _bf_compare(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b: function(bfloat_to_float(a), bfloat_to_float(b)).astype(np.uint8)


def _compare(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b: function(a, b).astype(np.uint8)


_ARITHMETIC = {"pl": np.add, "mi": np.subtract, "ml": np.multiply, "dv": np.divide}
_IN_PLACE = {"pL": np.add, "mI": np.subtract, "mL": np.multiply, "dV": np.divide}
_NAMES = {"hadd": np.add, "hsub": np.subtract, "hmul": np.multiply, "hdiv": np.divide}
_ORDER = {
    "eq": np.equal, "ne": np.not_equal, "gt": np.greater, "lt": np.less, "ge": np.greater_equal,
    "le": np.less_equal,
}  # fmt: skip
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "hsqrt": np.sqrt, "hlog": np.log, "hlog2": np.log2, "hlog10": np.log10, "hexp": np.exp, "hexp2": np.exp2,
    "hexp10": lambda x: np.power(10.0, x), "hcos": np.cos, "hsin": np.sin, "htanh": np.tanh, "hceil": np.ceil,
    "hfloor": np.floor, "hrint": np.rint, "htrunc": np.trunc, "hrsqrt": lambda x: 1 / np.sqrt(x),
    "hrcp": np.reciprocal,
    "htanh_approx": np.tanh,
}  # fmt: skip


# Itanium codes of the operators' target types; integers round towards zero.
_CASTS = (
    ("f", "f4", ""),
    ("a", "i1", "rzi"),
    ("h", "u1", "rzi"),
    ("s", "i2", "rzi"),
    ("t", "u2", "rzi"),
    ("i", "i4", "rzi"),
    ("j", "u4", "rzi"),
    ("l", "i8", "rzi"),
    ("m", "u8", "rzi"),
    ("x", "i8", "rzi"),
    ("y", "u8", "rzi"),
)


def _to_integer(kind: str, mode: str, first: Callable[..., Any] = lambda x: x) -> Callable[..., Any]:
    return lambda x: float_to_integer(first(x), mode, np.dtype(kind))


def _register() -> None:
    for kind, mangled in (("f2", "6__half"), ("u2", "13__nv_bfloat16")):
        half = kind == "f2"
        binary = (lambda f: f) if half else _bf
        ordered = _compare if half else _bf_compare
        unary = _through_float if half else _bf
        for name, f in _ARITHMETIC.items():
            HELPERS[f"_Z{name}RK{mangled}S1__nbst"] = Helper((kind, kind), kind, binary(f))
        for name, f in _NAMES.items():
            for suffix in ("", "_rn"):
                full = f"__{name}{suffix}"
                HELPERS[f"_ZL{len(full)}{full}{mangled}S__nbst"] = Helper((kind, kind), kind, binary(f))
        for name, order in _ORDER.items():
            HELPERS[f"_Z{name}RK{mangled}S1__nbst"] = Helper((kind, kind), "u1", ordered(order))
            full = f"__h{name}"
            HELPERS[f"_ZL{len(full)}{full}{mangled}S__nbst"] = Helper((kind, kind), "u1", ordered(order))
        for name, function in _FUNCTIONS.items():
            HELPERS[f"_ZL{len(name)}{name}{mangled}_nbst"] = Helper((kind,), kind, unary(function))
        fma = half_fma if half else bfloat_fma
        HELPERS[f"_ZL6__hfma{mangled}S_S__nbst"] = Helper((kind, kind, kind), kind, fma)
        negate = (lambda x: -x) if half else (lambda x: x ^ np.uint16(0x8000))
        absolute = np.abs if half else (lambda x: x & np.uint16(0x7FFF))
        HELPERS[f"_ZngRK{mangled}_nbst"] = HELPERS[f"_ZL6__hneg{mangled}_nbst"] = Helper((kind,), kind, negate)
        HELPERS[f"_ZpsRK{mangled}_nbst"] = Helper((kind,), kind, lambda x: x)
        HELPERS[f"_ZL6__habs{mangled}_nbst"] = Helper((kind,), kind, absolute)
        HELPERS[f"_ZL6__hmax{mangled}S__nbst"] = Helper((kind, kind), kind, half_max if half else _bf(maximum))
        HELPERS[f"_ZL6__hmin{mangled}S__nbst"] = Helper((kind, kind), kind, half_min if half else _bf(minimum))
        nan = np.isnan if half else (lambda x: np.isnan(bfloat_to_float(x)))
        HELPERS[f"_ZL8__hisnan{mangled}_nbst"] = Helper((kind,), "u1", lambda x, nan=nan: nan(x).astype(np.uint8))
        for code, source in zip(
            "fdstijlmxy", ("f4", "f8", "i2", "u2", "i4", "u4", "i8", "u8", "i8", "u8"), strict=True
        ):
            if half:
                make: Callable[..., Any] = lambda x: x.astype(np.float16)  # noqa: E731
            elif source == "f4":
                make = float_to_bfloat
            elif source == "f8":
                make = double_to_bfloat
            else:
                make = integer_to_bfloat
            HELPERS[f"_ZN{mangled}C1E{code}_nbst"] = Helper((source,), kind, make, skip=1)
    # Conversion operators: half.operator float() and its like, const and volatile.
    for code, result, mode in _CASTS:
        for constant in ("K", "VK"):
            half_name = f"____half__ZN{constant}6__halfcv{code}Ev_1"
            bf_name = f"____nv_bfloat16__ZN{constant}13__nv_bfloat16cv{code}Ev_1"
            if mode:
                HELPERS[half_name] = Helper(("f2",), result, _to_integer(result, mode))
                HELPERS[bf_name] = Helper(("u2",), result, _to_integer(result, mode, bfloat_to_float))
            else:
                HELPERS[half_name] = Helper(("f2",), result, lambda x: x.astype(np.float32))
                HELPERS[bf_name] = Helper(("u2",), result, bfloat_to_float)
    HELPERS["_ZL12__half2float6__half_nbst"] = Helper(("f2",), "f4", lambda x: x.astype(np.float32))
    HELPERS["_ZL16__bfloat162float13__nv_bfloat16_nbst"] = Helper(("u2",), "f4", bfloat_to_float)
    for name, source in (("__float2half", "f4"), ("__float2half_rn", "f4"), ("__double2half", "f8")):
        code = {"f4": "f", "f8": "d"}[source]
        HELPERS[f"_ZL{len(name)}{name}{code}_nbst"] = Helper((source,), "f2", lambda x: x.astype(np.float16))
    for name in ("__float2bfloat16", "__float2bfloat16_rn"):
        HELPERS[f"_ZL{len(name)}{name}f_nbst"] = Helper(("f4",), "u2", float_to_bfloat)
    for word, result in (
        ("int", "i4"),
        ("uint", "u4"),
        ("ll", "i8"),
        ("ull", "u8"),
        ("short", "i2"),
        ("ushort", "u2"),
    ):
        for rounding, mode in (("rz", "rzi"), ("rn", "rni"), ("rd", "rmi"), ("ru", "rpi")):
            name = f"__half2{word}_{rounding}"
            HELPERS[f"_ZL{len(name)}{name}6__half_nbst"] = Helper(
                ("f2",),
                result,
                lambda x, mode=mode, result=result: float_to_integer(x, mode, np.dtype(result)),
            )


_register()
