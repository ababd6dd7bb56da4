"""What a rung's launch does on a layer, for the model: counted by the emulator, and read off the machine code.

The emulator would take minutes for a large batch, so that is not counted whole. Kernels treat images alike, and
every tile's pixels divide 256: so a count lies on a straight line over the batch, as long as the batches have as
many pixels modulo 256 as the layer's. Two small ones are counted, and extended to the layer's. A kernel that
chooses its grid otherwise (split-K: as many parts as fill a GPU) is counted whole; it is told by its number of
blocks, which then does not lie on the line. `tests/measure/test_work.py` holds every rung to this.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from dataclasses import dataclass

from scc_numba.emulator import Report
from scc_numba.kernels import Launch, Layer, Rung, Tile
from scc_numba.kernels.run import check_tile
from scc_numba.measure.line_view import example_arrays, profile_launch
from scc_numba.measure.sass import SassFacts, missing, rung_facts
from scc_numba.model import Work

PERIOD = 256  # pixels: every tile's pixels divide it
COUNTED_WHOLE = 100_000_000  # multiply-adds of a layer that is emulated as it is
SECTOR = 32  # bytes
SECTORS_A_PASS = 4


@dataclass(frozen=True)
class Counted:
    """The work of a rung on a layer.

    Attributes:
        work: for the model.
        batches: the batches that were emulated: the layer's own, or the two that were extended to it.
        facts: of the machine code, or None where the tools for it are not installed.
    """

    work: Work
    batches: tuple[int, ...]
    facts: SassFacts | None


def count_work(
    rung: Rung, layer: Layer, target: str = "sm_90", tile: Tile | None = None, *, whole: bool | None = None
) -> Counted:
    """Count a rung's work on a layer.

    Args:
        rung: the rung.
        layer: with at least one image and pixel.
        target: "sm_90" and the like.
        tile: one that the rung offers for the layer.
        whole: whether to emulate all of the layer; by default only where that takes no more than seconds, or where
            there is no other way.

    Raises:
        ValueError: the layer is empty, or the tile is not one that the rung offers.
        TypeError: the rung does not support the layer on this target.
    """
    if layer.is_empty:
        raise ValueError(f"the layer is empty ({layer}): there is nothing to launch")
    reason = rung.supports(layer, target)
    if reason is not None:
        raise TypeError(reason)
    check_tile(rung, layer, tile)
    tile = tile or rung.tiles(layer)[0]
    if whole is None:
        whole = layer.multiply_adds <= COUNTED_WHOLE
    batches = (layer.batch,) if whole else _batches(rung, layer, tile)
    counted = [_count(rung, dataclasses.replace(layer, batch=batch), target, tile) for batch in batches]
    counts = counted[0] if len(counted) == 1 else _extended(counted, batches, layer.batch)
    facts = None if missing() else rung_facts(rung, layer, target, tile)
    return Counted(_work(rung.build(layer, tile), layer, counts, facts), batches, facts)


def _batches(rung: Rung, layer: Layer, tile: Tile) -> tuple[int, ...]:
    step = PERIOD // math.gcd(PERIOD, layer.pixels)  # images that make up whole periods
    first = layer.batch % step or step
    if first + step >= layer.batch or rung.build(layer, tile).workspace:
        return (layer.batch,)  # parts of a workspace begin where the whole batch puts them
    few, more, all_blocks = (
        math.prod(rung.build(dataclasses.replace(layer, batch=batch), tile).grid)
        for batch in (first, first + step, layer.batch)
    )
    on_the_line = all_blocks == few + (layer.batch - first) // step * (more - few)
    return (first, first + step) if on_the_line else (layer.batch,)


def _extended(counted: list[Counter[str]], batches: tuple[int, ...], batch: int) -> Counter[str]:
    first, second = counted
    further = (batch - batches[0]) // (batches[1] - batches[0])
    return Counter({name: first[name] + further * (second[name] - first[name]) for name in first | second})


def _count(rung: Rung, layer: Layer, target: str, tile: Tile) -> Counter[str]:
    launch = rung.build(layer, tile)
    arrays = example_arrays(rung, layer, zeros=launch.zeroed is not None)
    counts = _of_report(profile_launch(launch, arrays, target))
    if launch.zeroed is not None:
        zeroing = _of_report(profile_launch(launch.zeroed, [arrays[-1].reshape(-1)], target))
        counts += Counter({name: zeroing[name] for name in ("dram_sectors", "l2_sectors", "sectors", "l1_passes")})
    return counts


def _of_report(report: Report) -> Counter[str]:
    load, store, atomics = report.global_load, report.global_store, report.atomics
    # An array that atomics alone touch counts as read, too; its sectors pass L2 with the atomics.
    loaded = sum(array.unique_load_sectors for array in report.arrays.values() if array.load.requests)
    opcodes, classes = report.opcodes, report.instruction_classes
    counts = Counter(
        {
            "dram_sectors": report.unique_sectors,
            "l2_sectors": loaded + store.sectors + atomics.sectors,
            "sectors": load.sectors + store.sectors + atomics.sectors,
            "l1_passes": sum(max(t.requests, -(-t.sectors // SECTORS_A_PASS)) for t in (load, store, atomics)),
            "shared_wavefronts": report.shared_load.wavefronts + report.shared_store.wavefronts,
            "barriers": report.barriers,
            "fp32": classes.get("float32", 0),
            "fp64": classes.get("float64", 0),
            "queue": atomics.worst_contention,
        }
    )
    for opcode, number in opcodes.items():
        kind = opcode.partition(".")[0]
        if kind in ("fma", "mul", "mma") and opcode.rpartition(".")[2] in ("f32", "f64"):
            counts[kind] += number
        if kind == "mma":
            counts[f"mma {operand_type(opcode)}"] += number * mma_flop(opcode)
    return counts


def mma_flop(opcode: str) -> int:
    """FLOP of one "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32": two for each multiply-add of its shape."""
    shape = next(part for part in opcode.split(".") if part.startswith("m16n8k"))
    return 2 * 16 * 8 * int(shape.removeprefix("m16n8k"))


def operand_type(opcode: str) -> str:
    """What the tensor cores multiply: "tf32", "float16" or "bfloat16"."""
    return {"tf32": "tf32", "bf16": "bfloat16", "f16": "float16"}[opcode.split(".")[-2]]


def _work(launch: Launch, layer: Layer, counts: Counter[str], facts: SassFacts | None) -> Work:
    return Work(
        multiply_adds=layer.multiply_adds,
        blocks=math.prod(launch.grid),
        blocks_per_multiprocessor=facts.occupancy.blocks if facts else 0,
        dram_bytes=counts["dram_sectors"] * SECTOR,
        l2_bytes=counts["l2_sectors"] * SECTOR,
        l2_bytes_without_l1=counts["sectors"] * SECTOR,
        l1_passes=counts["l1_passes"],
        shared_wavefronts=counts["shared_wavefronts"],
        issue_slots=issue_slots(facts, counts, math.prod(launch.block)) if facts else None,
        fp32_instructions=counts["fp32"],
        fp64_instructions=counts["fp64"],
        tensor_flop={name.removeprefix("mma "): n for name, n in counts.items() if name.startswith("mma ")},
        longest_queue=counts["queue"],
    )


def issue_slots(facts: SassFacts, counts: Counter[str], threads: int) -> float:
    """Warp instructions of the machine code in the loops around the multiply-adds: an estimate from static counts.

    Those of the inner k loop, for each multiply-add that the emulator counted, and those of the k-tile loop around
    it for each pass, of which there are as many as barriers passed. Each is counted once a pass, whether its branch
    is taken or not; loops beside the inner k loop as if they ran once; what stands outside the k-tile loop, not.
    """
    loop, around = facts.k_loop, facts.k_tile_loop
    if loop is None or around is None:
        return 0.0
    kind = "mma" if loop.on_tensor_cores else "fma" if loop.classes["FFMA"] else "mul"
    slots = loop.per_product * counts[kind]
    barriers = sum(i.base == "BAR" for i in around.instructions)
    if around.loops_inside and barriers:
        warps = -(-threads // 32)
        slots += (len(around.instructions) - len(loop.instructions)) * counts["barriers"] / barriers * warps
    return slots
