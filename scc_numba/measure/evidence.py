"""The figures that predictions are about: a name, and how a rung's figure is found. No GPU is needed for any.

All are of float32, but for a rung that does not compute in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scc_reference import SlidingChannels

from scc_numba.kernels import Layer, Rung
from scc_numba.measure.line_view import profile_rung
from scc_numba.measure.ptx import compile_to_ptx, integer_divisions
from scc_numba.measure.sass import LoopFacts, rung_facts

# Small enough to be emulated at once, large enough that no block is all tail.
LAYER = Layer(SlidingChannels(32, 32, groups=4, overlap=0.5), batch=2, pixels=256, dtype=np.dtype(np.float32))
# The same with filters enough for a tile: classes of 64.
TILE_LAYER = Layer(SlidingChannels(64, 256, groups=2, overlap=0.5), batch=2, pixels=256, dtype=np.dtype(np.float32))
# Machine code is only read, never run: so its layer can be one that GPUs are used for.
SASS_LAYER = Layer(
    SlidingChannels(256, 256, groups=2, overlap=0.5), batch=32, pixels=1024, dtype=np.dtype(np.float32)
)
TARGET = "sm_90"
WARP = 32


def divisions(rung: Rung) -> float:
    """Integer divisions and remainders in the compiled kernel; a GPU has no instruction for them."""
    layer = rung.suited(LAYER)
    return integer_divisions(compile_to_ptx(rung.build(layer), rung.op, layer, TARGET))


def atomic_requests(rung: Rung) -> float:
    """Atomic instructions that warps issue, for every 32 products of the operation."""
    return profile_rung(rung, rung.suited(LAYER)).atomics.requests / (LAYER.multiply_adds / WARP)


def sectors(rung: Rung) -> float:
    """Sectors of 32 bytes read from global memory, for every 32 products of the operation."""
    return profile_rung(rung, rung.suited(TILE_LAYER)).global_load.sectors / (TILE_LAYER.multiply_adds / WARP)


def bank_conflicts(rung: Rung) -> float:
    """Passes of shared memory beyond those that the bytes need, per request; infinite where there is no request."""
    report = profile_rung(rung, rung.suited(TILE_LAYER))
    requests = report.shared_load.requests + report.shared_store.requests
    return (report.shared_load.conflicts + report.shared_store.conflicts) / requests if requests else math.inf


def instructions_per_fma(rung: Rung) -> float:
    """SASS instructions of the inner k loop, for each of its multiply-adds; of its products where atomics add."""
    return _k_loop(rung).per_product


def loads_per_fma(rung: Rung) -> float:
    """Loads from global memory into registers in the inner k loop, for each of its multiply-adds."""
    loop = _k_loop(rung)
    return loop.classes["LDG"] / loop.products


def ffma_share_of_k_loop(rung: Rung) -> float:
    """Percent of the SASS instructions of the inner k loop that are fused multiply-adds, FFMA."""
    return _percent(_k_loop(rung).classes["FFMA"], len(_k_loop(rung).instructions))


def ffma_share_of_k_tile_loop(rung: Rung) -> float:
    """Percent of the SASS instructions of the k-tile loop, its copies and barriers included, that are FFMA."""
    return _percent(_k_tile_loop(rung).classes["FFMA"], len(_k_tile_loop(rung).instructions))


def issue_slots_per_hmma(rung: Rung) -> float:
    """SASS instructions of the k-tile loop for each tensor-core instruction; infinite where there is none."""
    loop = _k_tile_loop(rung)
    return len(loop.instructions) / loop.classes["HMMA"] if loop.on_tensor_cores else math.inf


def wide_shared_loads(rung: Rung) -> float:
    """Percent of the k-tile loop's loads from shared memory that are 128 bits wide; 0 where there is none."""
    return 100 * (_k_tile_loop(rung).wide_shared_loads or 0)


def wide_global_loads(rung: Rung) -> float:
    """Percent of the k-tile loop's loads from global memory that are 128 bits wide; 0 where there is none."""
    return 100 * (_k_tile_loop(rung).wide_global_loads or 0)


# Read off the machine code for SASS_LAYER: they need the tools of the extra `sass`.
SASS_METRICS: dict[str, Callable[[Rung], float]] = {
    "SASS instructions per FMA": instructions_per_fma,
    "global loads per FMA": loads_per_fma,
    "FFMA share of the inner k loop, %": ffma_share_of_k_loop,
    "FFMA share of the k-tile loop, %": ffma_share_of_k_tile_loop,
    "issue slots per HMMA": issue_slots_per_hmma,
    "128-bit share of shared loads, %": wide_shared_loads,
    "128-bit share of global loads, %": wide_global_loads,
}
METRICS: dict[str, Callable[[Rung], float]] = {
    "divisions": divisions,
    "atomic requests per 32 products": atomic_requests,
    "sectors read per 32 products": sectors,
    "bank conflicts per shared request": bank_conflicts,
    **SASS_METRICS,
}


def figure(rung: Rung, metric: str) -> float:
    """The rung's figure.

    Raises:
        KeyError: there is no such metric.
        NoTools: the metric is read off the machine code, and the tools for that are not installed.
    """
    return METRICS[metric](rung)


def _k_loop(rung: Rung) -> LoopFacts:
    return _found(rung, rung_facts(rung, rung.suited(SASS_LAYER), TARGET).k_loop)


def _k_tile_loop(rung: Rung) -> LoopFacts:
    return _found(rung, rung_facts(rung, rung.suited(SASS_LAYER), TARGET).k_tile_loop)


def _found(rung: Rung, loop: LoopFacts | None) -> LoopFacts:
    if loop is None:
        raise ValueError(f"rung {rung.name} has no loop with multiply-adds on {SASS_LAYER} for {TARGET}")
    return loop


def _percent(part: int, whole: int) -> float:
    return 100 * part / whole
