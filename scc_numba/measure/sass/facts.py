"""What a rung's machine code says of it, with no GPU: registers, occupancy, and what its loops are made of."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from scc_numba.kernels import Launch, Layer, Op, Rung, Tile
from scc_numba.kernels.run import check_tile
from scc_numba.measure.ptx import compile_to_ptx
from scc_numba.measure.sass.assemble import Resources, assemble
from scc_numba.measure.sass.classes import copies_or_waits, count_classes, products, wide_share
from scc_numba.measure.sass.flow import Loop, find_loops, reachable
from scc_numba.measure.sass.listing import Instruction, Listing, read_listing
from scc_numba.measure.sass.occupancy import Occupancy, limits_of, occupancy


@dataclass(frozen=True)
class LoopFacts:
    """What one loop is made of. Static: each of its instructions is counted once, however often a pass executes it.

    Attributes:
        instructions: all of them, in the order of their addresses.
        classes: how many there are of each class of `scc_numba.measure.sass.classes.CLASSES`.
        products: multiply-adds (FFMA and the like, or HMMA); where sums are made by atomics, products.
        loops_inside: how many loops lie inside it. Where there are any, a pass executes more than is counted.
    """

    instructions: tuple[Instruction, ...]
    classes: dict[str, int]
    products: int
    loops_inside: int

    @property
    def per_product(self) -> float:
        """Instructions per multiply-add; for a loop of the tensor cores, issue slots per HMMA."""
        return len(self.instructions) / self.products

    @property
    def share(self) -> float:
        """Multiply-adds as a share of all instructions: FFMA share, or HMMA share."""
        return self.products / len(self.instructions)

    @property
    def on_tensor_cores(self) -> bool:
        """Whether its multiply-adds are HMMA."""
        return self.classes["HMMA"] > 0

    @property
    def wide_shared_loads(self) -> float | None:
        """The share of loads from shared memory that are 128 bits wide, or None where there are none."""
        return wide_share(self.instructions, ("LDS",))

    @property
    def wide_global_loads(self) -> float | None:
        """The share of loads from global memory, LDG and LDGSTS, that are 128 bits wide, or None."""
        return wide_share(self.instructions, ("LDG", "LDGSTS"))


@dataclass(frozen=True)
class SassFacts:
    """What a kernel's machine code says.

    Attributes:
        target: what it was compiled for, "sm_90".
        resources: registers, spills, local and static shared memory.
        dynamic_shared_bytes: shared memory of a block that the launch asks for besides.
        threads: of a block.
        occupancy: warps on a multiprocessor.
        instructions: all of the kernel's, without the filling behind them.
        k_loop: the inner k loop: of the innermost loops with multiply-adds, the one that has the most; None where
            no loop has any. Loops without them, which copy, may lie inside it: then the k loop was unrolled.
        k_tile_loop: the k-tile loop: the smallest loop around the inner k loop that fills shared memory or
            waits at a barrier; the inner k loop itself where none does, or where it does so itself, unrolled.
        k_loop_sizes: multiply-adds and instructions of all such innermost loops, the inner k loop's first.
            Compilers make several of one in the source: the unrolled one and its remainder, one for a divisor of
            zero. Of those with equally many multiply-adds the longest is taken, so that no figure flatters.
        listing: the text, for showing it.
    """

    target: str
    resources: Resources
    dynamic_shared_bytes: int
    threads: int
    occupancy: Occupancy
    instructions: int
    k_loop: LoopFacts | None
    k_tile_loop: LoopFacts | None
    k_loop_sizes: tuple[tuple[int, int], ...]
    listing: Listing

    @property
    def shared_bytes(self) -> int:
        """Shared memory of a block, static and dynamic."""
        return self.resources.shared_bytes + self.dynamic_shared_bytes

    @property
    def spill_bytes(self) -> int:
        """Bytes of spill stores and loads."""
        return self.resources.spill_stores + self.resources.spill_loads


def facts(launch: Launch, op: Op, layer: Layer, target: str) -> SassFacts:
    """Compile a launch's kernel, assemble it, and read its machine code.

    Args:
        launch: what a rung built for the layer.
        op: the operation, which says what arrays there are.
        layer: its dtype is the arrays'.
        target: "sm_90" and the like.

    Raises:
        NoTools: ptxas or nvdisasm is not installed; the message says how to.
        ValueError: the target is unknown, or the compiler cannot build for it, or the assembler refuses the kernel.
    """
    limits_of(target)
    ptx = _compile(launch, op, layer, target)
    resources, text = assemble(ptx, target, launch.kernel.options.get("max_registers"))
    threads = launch.block[0] * launch.block[1] * launch.block[2]
    return read_facts(text, resources, target, threads, launch.shared_bytes)


@functools.lru_cache(maxsize=256)
def rung_facts(rung: Rung, layer: Layer, target: str = "sm_90", tile: Tile | None = None) -> SassFacts:
    """The facts of a rung on a layer; remembered.

    Raises:
        NoTools, ValueError: as for `facts`; or the tile is not one that the rung offers for the layer.
        TypeError: the rung does not support the layer on this target.
    """
    limits_of(target)
    reason = rung.supports(layer, target)
    if reason is not None:
        raise TypeError(reason)
    check_tile(rung, layer, tile)
    return facts(rung.build(layer, tile), rung.op, layer, target)


def read_facts(
    text: str, resources: Resources, target: str, threads: int, dynamic_shared_bytes: int = 0
) -> SassFacts:
    """The facts of a kernel from its SASS, as `nvdisasm -c -g` prints it."""
    listing = read_listing(text)
    loops = find_loops(listing)
    shared = resources.shared_bytes + dynamic_shared_bytes
    k_loop, k_tile_loop, sizes = _k_loops(loops)
    return SassFacts(
        target=target,
        resources=resources,
        dynamic_shared_bytes=dynamic_shared_bytes,
        threads=threads,
        occupancy=occupancy(target, threads, resources.registers, shared),
        instructions=len(reachable(listing)),
        k_loop=_loop_facts(k_loop) if k_loop else None,
        k_tile_loop=_loop_facts(k_tile_loop) if k_tile_loop else None,
        k_loop_sizes=sizes,
        listing=listing,
    )


def _k_loops(loops: tuple[Loop, ...]) -> tuple[Loop | None, Loop | None, tuple[tuple[int, int], ...]]:
    """The inner k loop, the k-tile loop, and the sizes of all candidates for the first."""
    adding = [loop for loop in loops if products(loop.instructions)]
    innermost = [loop for loop in adding if not any(other in loop for other in adding)]
    if not innermost:
        return None, None, ()
    ranked = sorted(innermost, key=_size, reverse=True)
    k_loop = ranked[0]
    around = sorted((loop for loop in loops if k_loop in loop), key=lambda loop: len(loop.instructions))
    tile_loop = next((x for x in [k_loop, *around] if any(map(copies_or_waits, x.instructions))), k_loop)
    return k_loop, tile_loop, tuple(map(_size, ranked))


def _size(loop: Loop) -> tuple[int, int]:
    return products(loop.instructions), len(loop.instructions)


def _loop_facts(loop: Loop) -> LoopFacts:
    code = loop.instructions
    return LoopFacts(code, count_classes(code), products(code), len(loop.inside))


def _compile(launch: Launch, op: Op, layer: Layer, target: str) -> str:
    try:
        ptx = compile_to_ptx(launch, op, layer, target)
    except Exception as error:
        if type(error).__name__ in ("CCSupportError", "NvvmError"):
            raise ValueError(f"target={target!r}: the compiler here cannot build for it: {error}") from error
        raise
    said = re.search(r"^\.target\s+(\w+)", ptx, re.MULTILINE)
    if said is None or said[1] != target:
        instead = said[1] if said else "nothing it names"
        raise ValueError(f"target={target!r}: the compiler here cannot build for it, but built for {instead}")
    return ptx
