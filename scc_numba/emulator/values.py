"""What PTX instructions compute, on NumPy scalars (a value all threads share) and arrays (block, warp, lane).

Generated code calls these where a NumPy operator alone would differ from PTX. All integers wrap around.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .fused import fma, maximum, minimum

Value = Any  # a NumPy scalar or an array of shape (blocks | 1, warps | 1, 32 | 1)

i1, i2, i4, i8 = (np.dtype(f"i{n}") for n in (1, 2, 4, 8))
u1, u2, u4, u8 = (np.dtype(f"u{n}") for n in (1, 2, 4, 8))
f2, f4, f8 = (np.dtype(f"f{n}") for n in (2, 4, 8))
b1 = np.dtype(np.bool_)


def settle(x: Value) -> Value:
    """Shrink a value that turns out to be the same along lanes, warps or blocks.

    Quotients and shifted indices often are (the filter of a pixel, the row of an element); all that is
    computed from them then costs one element a warp or less. Two probes reject the usual other case at
    once.
    """
    if x.ndim == 0 or x.shape[2] == 1 or x[0, 0, 0] != x[0, 0, -1] or x[-1, -1, 0] != x[-1, -1, -1]:
        return x
    first = x[:, :, :1]
    if not (x == first).all():
        return x
    x = first
    if x.shape[1] == 1 or (x == x[:, :1]).all():
        x = x[:, :1]
        if x.shape[0] == 1 or (x == x[:1]).all():
            return x[0, 0, 0]
    return np.ascontiguousarray(x)


def select(condition: Value, yes: Value, no: Value) -> Value:
    """selp: `yes` where the predicate holds."""
    if condition.ndim == 0:
        return yes if condition else no
    # Corrections that no thread needs (the floor of a quotient, a negative index) would only make values
    # bigger.
    if not condition.any():
        return no
    if condition.all():
        return yes
    return np.where(condition, yes, no)


# ---------------------------------------------------------------------------------------------- integers


def divide(x: Value, y: Value) -> Value:
    """Integer division towards zero; by zero it gives all ones, as NVIDIA GPUs do (PTX leaves it open)."""
    zero = y == 0
    if zero.any():
        q = divide(x, np.where(zero, x.dtype.type(1), y))
        return np.where(zero, ~x.dtype.type(0), q)
    q = x // y
    if x.dtype.kind == "u":
        return q
    if y.ndim == 0 and y > 0 and np.min(x) >= 0:
        return q
    inexact = (q * y != x) & ((x < 0) != (y < 0))
    return q + inexact


def remainder(x: Value, y: Value) -> Value:
    """Integer remainder with the sign of x; by zero it gives x, as NVIDIA GPUs do (PTX leaves it open)."""
    zero = y == 0
    if zero.any():
        return np.where(zero, x, x - divide(x, np.where(zero, x.dtype.type(1), y)) * y)
    return x - divide(x, y) * y


def multiply_high(x: Value, y: Value) -> Value:
    """The upper half of the full product."""
    bits = 8 * x.dtype.itemsize
    if bits < 64:
        wide = np.dtype(f"{x.dtype.kind}{x.dtype.itemsize * 2}")
        return ((x.astype(wide) * y.astype(wide)) >> wide.type(bits)).astype(x.dtype)
    a, b = x.view(u8), y.view(u8)
    mask, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    a0, a1, c0, c1 = a & mask, a >> half, b & mask, b >> half
    middle = a1 * c0 + ((a0 * c0) >> half)
    other = (middle & mask) + a0 * c1
    high = a1 * c1 + (middle >> half) + (other >> half)
    if x.dtype.kind == "u":
        return high
    zero = np.int64(0)
    return high.view(i8) - np.where(x < 0, y, zero) - np.where(y < 0, x, zero)


def shift_left(x: Value, n: Value) -> Value:
    """Shl by a u32 amount; amounts of the width and more give 0."""
    bits = 8 * x.dtype.itemsize
    r = x << np.minimum(n, n.dtype.type(bits - 1)).astype(x.dtype)
    return np.where(n >= bits, x.dtype.type(0), r)


def shift_right(x: Value, n: Value) -> Value:
    """Shr by a u32 amount; amounts of the width and more give 0, or the sign where x is signed."""
    bits = 8 * x.dtype.itemsize
    r = x >> np.minimum(n, n.dtype.type(bits - 1)).astype(x.dtype)
    return r if x.dtype.kind == "i" else np.where(n >= bits, x.dtype.type(0), r)


def funnel(low: Value, high: Value, n: Value, left: bool, clamp: bool) -> Value:
    """shf: shift the 64-bit value high:low and keep 32 bits."""
    n = (np.minimum(n, np.uint32(32)) if clamp else n & np.uint32(31)).astype(u8)
    both = (high.astype(u8) << np.uint64(32)) | low.astype(u8)
    r = (both << n) >> np.uint64(32) if left else both >> n
    if left:
        r = np.where(n == 32, low.astype(u8), r)
    return r.astype(u4)


def bit_field_insert(source: Value, base: Value, position: Value, length: Value) -> Value:
    """bfi: `length` bits of source replace those of base from `position` on."""
    dt = base.dtype
    bits = 8 * dt.itemsize
    position, length = position & np.uint32(255), length & np.uint32(255)
    ones = shift_left(~np.zeros_like(base), length)
    mask = shift_left(~ones, position)
    inserted = (base & ~mask) | (shift_left(source, position) & mask)
    return np.where((length == 0) | (position >= bits), base, inserted)


def bit_field_extract(x: Value, position: Value, length: Value) -> Value:
    """bfe: `length` bits from `position` on, sign-extended for signed types."""
    bits = 8 * x.dtype.itemsize
    position, length = position & np.uint32(255), length & np.uint32(255)
    unsigned = x.view(np.dtype(f"u{x.dtype.itemsize}"))
    field = shift_right(unsigned, position) & ~shift_left(~np.zeros_like(unsigned), length)
    if x.dtype.kind == "u":
        return field
    sign_at = np.minimum(position + length - np.uint32(1), np.uint32(bits - 1))
    sign_at = np.where(length == 0, np.uint32(bits), sign_at).astype(u4)
    negative = (shift_right(unsigned, sign_at) & unsigned.dtype.type(1)) != 0
    real = np.minimum(length, np.where(position >= bits, 0, bits - position.astype(i8))).astype(u4)
    filled = field | np.where(negative, shift_left(~np.zeros_like(unsigned), real), unsigned.dtype.type(0))
    return np.where(length == 0, unsigned.dtype.type(0), filled).view(x.dtype)


def count_bits(x: Value) -> Value:
    """Popc."""
    return np.bitwise_count(x).astype(i4)


def leading_zeros(x: Value) -> Value:
    """Clz of an unsigned value."""
    bits = 8 * x.dtype.itemsize
    for s in (1, 2, 4, 8, 16, 32):
        if s < bits:
            x = x | (x >> x.dtype.type(s))
    return (bits - np.bitwise_count(x).astype(i4)).astype(i4)


def find_top_bit(x: Value, as_shift: bool) -> Value:
    """bfind: position of the top significant bit (of ~x for negative x), −1 if there is none."""
    bits = 8 * x.dtype.itemsize
    if x.dtype.kind == "i":
        x = np.where(x < 0, ~x, x)
    zeros = leading_zeros(x.view(np.dtype(f"u{x.dtype.itemsize}")))
    top = bits - 1 - zeros
    return np.where(top < 0, np.int32(-1), zeros if as_shift else top).astype(i4)


def reverse_bits(x: Value) -> Value:
    """Brev of an unsigned value."""
    kind = x.dtype.type
    masks = ((1, 0x55), (2, 0x33), (4, 0x0F))
    for s, m in masks:
        m = kind(int.from_bytes(bytes([m]) * x.dtype.itemsize, "little"))
        x = ((x >> kind(s)) & m) | ((x & m) << kind(s))
    return np.asarray(x).byteswap()[()]


def permute_bytes(a: Value, b: Value, selector: Value) -> Value:
    """prmt, default mode: each selector nibble picks a byte of b:a, its top bit replicates the sign."""
    both = (b.astype(u8) << np.uint64(32)) | a.astype(u8)
    out: Value = np.uint32(0)
    for k in range(4):
        nibble = (selector >> np.uint32(4 * k)) & np.uint32(15)
        byte = ((both >> ((nibble & np.uint32(7)).astype(u8) * np.uint64(8))) & np.uint64(255)).astype(u4)
        sign = np.where(byte & np.uint32(128), np.uint32(255), np.uint32(0))
        byte = np.where(nibble & np.uint32(8), sign, byte)
        out = out | (byte << np.uint32(8 * k))
    return out


def lop3(a: Value, b: Value, c: Value, table: int) -> Value:
    """Any three-input logic function, given as its truth table."""
    out = a ^ a
    for k in range(8):
        if table >> k & 1:
            out = out | ((a if k & 4 else ~a) & (b if k & 2 else ~b) & (c if k & 1 else ~c))
    return out


def add_carry(a: Value, b: Value, carry: Value) -> tuple[Value, Value]:
    """A + b + carry of unsigned values, and the carry out."""
    s = a + b
    first = s < a
    t = s + carry.astype(s.dtype)
    return t, first | (t < s)


def subtract_borrow(a: Value, b: Value, borrow: Value) -> tuple[Value, Value]:
    """A − b − borrow of unsigned values, and the borrow out."""
    s = a - b
    first = a < b
    t = s - borrow.astype(s.dtype)
    return t, first | (t > s)


def saturate_integer(x: Value, dt: np.dtype) -> Value:
    """Clamp an integer into another integer type's range."""
    info, own = np.iinfo(dt), np.iinfo(x.dtype)
    low, high = max(info.min, own.min), min(info.max, own.max)
    return np.minimum(np.maximum(x, x.dtype.type(low)), x.dtype.type(high)).astype(dt)


def add_saturate(x: Value, y: Value, sign: int) -> Value:
    """add.sat.s32 and sub.sat.s32."""
    return saturate_integer(x.astype(i8) + sign * y.astype(i8), i4)


# ---------------------------------------------------------------------------------------------- floats


def flush(x: Value) -> Value:
    """.ftz: subnormal float32 becomes zero of the same sign."""
    tiny = np.abs(x) < np.finfo(np.float32).tiny
    return np.where(tiny, np.copysign(np.float32(0), x), x)


def saturate_float(x: Value) -> Value:
    """.sat: clamp to [0, 1], NaN to +0."""
    kind = x.dtype.type
    return np.where(x > 0, np.minimum(x, kind(1)), kind(0)).astype(x.dtype)


def _two_sum(a: Value, b: Value) -> tuple[Value, Value]:
    """A + b as the rounded sum and its exact error (Knuth)."""
    s = a + b
    t = s - a
    return s, (a - (s - t)) + (b - t)


def _directed(rounded: Value, error: Value, mode: str) -> Value:
    """Move a nearest-rounded value to the neighbour that `mode` asks for; error = exact − rounded."""
    kind = rounded.dtype.type
    error = np.where(np.isfinite(rounded), error, kind(0))
    down = np.nextafter(rounded, kind(-np.inf))
    up = np.nextafter(rounded, kind(np.inf))
    if mode == "rm":
        return np.where(error < 0, down, rounded)
    if mode == "rp":
        return np.where(error > 0, up, rounded)
    return np.where((error < 0) & (rounded > 0), down, np.where((error > 0) & (rounded < 0), up, rounded))


def narrow(x: Value, mode: str, low: Value | None = None) -> Value:
    """float64 (plus an optional exact rest `low`) to float32 in a given rounding mode."""
    r = x.astype(f4)
    if mode == "rn":
        return r
    rest = x - r.astype(f8)
    if low is not None:
        rest = np.where(rest == 0, low, rest)
    return _directed(r, np.sign(rest).astype(f4), mode)


def add_directed(a: Value, b: Value, mode: str) -> Value:
    """A + b rounded by rz, rm or rp."""
    if a.dtype == f4:
        return narrow(*_swap(_two_sum(a.astype(f8), b.astype(f8)), mode))
    s, e = _two_sum(a, b)
    return _directed(s, e, mode)


def _swap(pair: tuple[Value, Value], mode: str) -> tuple[Value, str, Value]:
    return pair[0], mode, pair[1]


def multiply_directed(a: Value, b: Value, mode: str) -> Value:
    """A * b rounded by rz, rm or rp."""
    if a.dtype == f4:
        return narrow(a.astype(f8) * b.astype(f8), mode)
    p = a * b
    return _directed(p, fma(a, b, -p), mode)


def fma_directed(a: Value, b: Value, c: Value, mode: str) -> Value:
    """a*b + c rounded once by rz, rm or rp."""
    if a.dtype == f4:
        return narrow(*_swap(_two_sum(a.astype(f8) * b.astype(f8), c.astype(f8)), mode))
    r = fma(a, b, c)
    # The error of a fused multiply-add as an exact sum (Boldo and Muller 2011).
    p = a * b
    p_low = fma(a, b, -p)
    s, s_low = _two_sum(c, p_low)
    t, t_low = _two_sum(p, s)
    return _directed(r, ((t - r) + t_low) + s_low, mode)


def divide_directed(a: Value, b: Value, mode: str) -> Value:
    """A / b rounded by rz, rm or rp."""
    q = a / b
    return _directed(q, np.sign(b) * fma(-q, b, a), mode)


def sqrt_directed(a: Value, mode: str) -> Value:
    """√a rounded by rz, rm or rp."""
    r = np.sqrt(a)
    return _directed(r, fma(-r, r, a), mode)


def through_double(function: np.ufunc, x: Value) -> Value:
    """A float32 function computed in float64: well within the error PTX states for its approximations."""
    return function(x.astype(f8)).astype(f4) if x.dtype == f4 else function(x)


def reciprocal(x: Value) -> Value:
    """1/x, correctly rounded."""
    return x.dtype.type(1) / x


def reciprocal_sqrt(x: Value) -> Value:
    """1/√x; PTX allows 2 ulp."""
    return (1.0 / np.sqrt(x.astype(f8))).astype(x.dtype)


def nan_minimum(x: Value, y: Value) -> Value:
    """min.NaN: NaN if either operand is."""
    return np.where(np.isnan(x) | np.isnan(y), x.dtype.type(np.nan), minimum(x, y))


def nan_maximum(x: Value, y: Value) -> Value:
    """max.NaN: NaN if either operand is."""
    return np.where(np.isnan(x) | np.isnan(y), x.dtype.type(np.nan), maximum(x, y))


def half_min(x: Value, y: Value) -> Value:
    """Min of float16."""
    return minimum(x.astype(f4), y.astype(f4)).astype(f2)


def half_max(x: Value, y: Value) -> Value:
    """Max of float16."""
    return maximum(x.astype(f4), y.astype(f4)).astype(f2)


def half_fma(x: Value, y: Value, z: Value) -> Value:
    """float16 fused multiply-add: product and sum are exact in float64 wherever a tie could arise."""
    return (x.astype(f8) * y.astype(f8) + z.astype(f8)).astype(f2)


# ---------------------------------------------------------------------------------------------- conversions

_ROUND = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def round_to_integer(x: Value, mode: str) -> Value:
    """Cvt between equal float types with an integer rounding."""
    return _ROUND[mode](x)


def float_to_integer(x: Value, mode: str, dt: np.dtype) -> Value:
    """Cvt float to integer: rounds and clamps to the range.

    NaN gives 0 if neither the source nor the result has 64 bits, else the result's top bit alone (PTX ISA, "Data
    Movement and Conversion Instructions: cvt", notes on float-to-integer conversion).
    """
    wide = x.dtype.itemsize == 8 or dt.itemsize == 8
    x = _ROUND[mode](x.astype(f8))
    info = np.iinfo(dt)
    high, low, nan = x >= float(info.max), x <= float(info.min), np.isnan(x)
    inside = np.where(high | low | nan, 0.0, x).astype(dt)
    inside = np.where(high, dt.type(info.max), np.where(low, dt.type(info.min), inside))
    if not wide or not nan.any():
        return inside
    top = dt.type(info.min) if dt.kind == "i" else dt.type(1 << 8 * dt.itemsize - 1)
    return np.where(nan, top, inside)


def integer_to_float(x: Value, mode: str, dt: np.dtype) -> Value:
    """Cvt integer to float; nearest even by default."""
    r = x.astype(dt)
    if mode == "rn":
        return r
    # Compare exactly, in integers: split so that the rounded value fits.
    exact = np.vectorize(lambda v, w: (int(v) > int(w)) - (int(v) < int(w)), otypes=[np.int8])(x, r.astype(f8))
    return _directed(r, exact.astype(dt), mode)


def float_to_bfloat(x: Value, mode: str = "rn") -> Value:
    """float32 to bfloat16 bits (u2), nearest even or towards zero."""
    bits = x.view(u4)
    if mode == "rz":
        r = bits >> np.uint32(16)
    else:
        r = (bits + np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(x), np.uint32(0x7FFF), r).astype(u2)


def double_to_bfloat(x: Value) -> Value:
    """float64 to bfloat16 bits (u2), rounded once: by way of a float32 whose last bit says that it is inexact."""
    single = x.astype(f4)
    rest = np.where(np.isfinite(single), x - single.astype(f8), 0.0)
    return float_to_bfloat(_odd_single(single, rest))


def integer_to_bfloat(x: Value) -> Value:
    """An integer to bfloat16 bits (u2), rounded once."""
    if x.dtype.itemsize < 8:
        return double_to_bfloat(x.astype(f8))
    negative = x < 0
    size = np.where(negative, -x, x).view(u8)
    # Of the lower half only whether anything is there can matter: bfloat16 has 8 bits.
    low, high = size & np.uint64(0xFFFFFFFF), size >> np.uint64(32)
    sticky = (high << np.uint64(1) | (low != 0).astype(u8)).astype(f8) * 2.0**31
    value = np.where(high > np.uint64(0xFFFF), sticky, size.astype(f8))
    return double_to_bfloat(np.where(negative, -value, value))


def bfloat_to_float(bits: Value) -> Value:
    """bfloat16 bits (u2) to float32."""
    return (bits.astype(u4) << np.uint32(16)).view(f4)


def round_to_odd(s: Value, error: Value) -> Value:
    """float64 s + error with the last bit forced to 1 when inexact, so that rounding again is safe."""
    bits = s.view(i8)
    away = np.where((error > 0) == (s > 0), bits, bits - np.int64(1))
    fixed = np.where((error != 0) & np.isfinite(s), away | np.int64(1), bits)
    return fixed.view(f8)


def bfloat_fma(x: Value, y: Value, z: Value) -> Value:
    """bfloat16 fused multiply-add on bits (u2), rounded once."""
    a, b, c = (bfloat_to_float(v).astype(f8) for v in (x, y, z))
    s, e = _two_sum(a * b, c)
    odd = round_to_odd(s, np.where(np.isfinite(s), e, 0.0))
    single = odd.astype(f4)
    rest = odd - single.astype(f8)
    return float_to_bfloat(_odd_single(single, rest))


def _odd_single(r: Value, rest: Value) -> Value:
    bits = r.view(i4)
    away = np.where((rest > 0) == (r > 0), bits, bits - np.int32(1))
    odd = np.where((rest != 0) & np.isfinite(r), away | np.int32(1), bits).view(f4)
    return np.where((r == 0) & (rest != 0), np.copysign(np.float32(1e-45), rest.astype(f4)), odd)


def to_tf32(x: Value, mode: str = "rna") -> Value:
    """float32 to tf32 (10 mantissa bits, kept in a float32): nearest, ties away (rna), ties even (rn)
    or towards zero.
    """
    bits = x.view(u4)
    if mode == "rna":
        r = (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)
    elif mode == "rn":
        r = (bits + np.uint32(0x0FFF) + ((bits >> np.uint32(13)) & np.uint32(1))) & np.uint32(0xFFFFE000)
    else:
        r = bits & np.uint32(0xFFFFE000)
    return np.where(np.isfinite(x), r, bits).astype(u4).view(f4)


def pair(low: Value, high: Value) -> Value:
    """Two 16-bit values as one 32-bit word (u4), `low` in the lower half."""
    return low.view(u2).astype(u4) | (high.view(u2).astype(u4) << np.uint32(16))


def halves(x: Value, dt: np.dtype) -> tuple[Value, Value]:
    """The two 16-bit values of a 32-bit word."""
    x = x.view(u4)
    return x.astype(u2).view(dt), (x >> np.uint32(16)).astype(u2).view(dt)


NAMES = {k: v for k, v in globals().items() if not k.startswith("_") and k not in ("annotations", "Any", "Value")}
