"""cp.async: copy from global to shared memory past the registers, while the thread goes on computing.

    copy_async_16(...)  ┐
    copy_async_16(...)  ├ commit_copies()      a group: the copies since the last commit
    copy_async_16(...)  ┐
    copy_async_16(...)  ├ commit_copies()      the next group
    wait_for_copies(1)                         all groups but the latest 1 have arrived, for this thread;
    cuda.syncthreads()                         and now for every thread of the block

Below sm_80, which has no such instruction, a copy is a load and a store and is done at once; the rest does nothing.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.cuda import types
from numba.cuda.core.errors import RequireLiteralValue
from numba.cuda.extending import intrinsic

from scc_numba.kernels.primitives.llvm import (
    LONG,
    NOTHING,
    WORD,
    address,
    compute_capability,
    instruction,
    shared_address,
)

FIRST_WITH_ASYNC = (8, 0)


def _copy(size: int, cache: str = "") -> Any:
    """The copy of `size` bytes. `cache`: cg skips L1, and takes 16 bytes only. Of 2 bytes there is no cp.async."""
    words = ir.VectorType(WORD, size // 4) if size >= 4 else ir.IntType(8 * size)

    def typed(typing: Any, shared: Any, i: Any, array: Any, j: Any, fill: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            to = address(context, builder, shared, args[0], i, args[1])
            source = address(context, builder, array, args[2], j, args[3])
            wanted = builder.icmp_unsigned("!=", args[4], ir.Constant(args[4].type, 0))
            if size >= 4 and compute_capability() >= FIRST_WITH_ASYNC:
                filled = builder.select(wanted, ir.Constant(WORD, size), ir.Constant(WORD, 0))
                text = f"cp.async.{cache}.shared.global [$0], [$1], {size}, $2;"
                values = [shared_address(builder, to), builder.ptrtoint(source, LONG), filled]
                instruction(builder, NOTHING, text, "r,l,r,~{memory}", values)
                return context.get_dummy_value()
            with builder.if_else(wanted) as (then, otherwise):
                with then:
                    value = builder.load(builder.bitcast(source, words.as_pointer()), align=size)
                    builder.store(value, builder.bitcast(to, words.as_pointer()), align=size)
                with otherwise:
                    builder.store(ir.Constant(words, None), builder.bitcast(to, words.as_pointer()), align=size)
            return context.get_dummy_value()

        return types.void(shared, i, array, j, fill), generate

    return typed


@intrinsic
def copy_async_16(typing: Any, shared: Any, i: Any, array: Any, j: Any, wanted: Any) -> Any:
    """`copy_async_16(shared, i, array, j, wanted)`: 16 bytes from array[j] to shared[i], or zeros unless wanted.

    Both addresses are aligned to 16 bytes. Where it is not wanted nothing is read, but j must still be an index.
    """
    return _copy(16, "cg")(typing, shared, i, array, j, wanted)


@intrinsic
def copy_async_4(typing: Any, shared: Any, i: Any, array: Any, j: Any, wanted: Any) -> Any:
    """`copy_async_4(shared, i, array, j, wanted)`: the same for 4 bytes."""
    return _copy(4, "ca")(typing, shared, i, array, j, wanted)


@intrinsic
def copy_2(typing: Any, shared: Any, i: Any, array: Any, j: Any, wanted: Any) -> Any:
    """`copy_2(shared, i, array, j, wanted)`: the same for 2 bytes, but at once: a load and a store."""
    return _copy(2)(typing, shared, i, array, j, wanted)


def _statement(text: str) -> Any:
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if compute_capability() >= FIRST_WITH_ASYNC:
            instruction(builder, NOTHING, text, "~{memory}", [])
        return context.get_dummy_value()

    return generate


@intrinsic
def commit_copies(typing: Any) -> Any:
    """`commit_copies()`: what this thread copied since the last commit becomes a group."""
    return types.void(), _statement("cp.async.commit_group;")


@intrinsic
def wait_for_copies(typing: Any, groups: Any) -> Any:
    """`wait_for_copies(groups)`: wait until at most that many, the latest, are under way. A constant."""
    if not isinstance(groups, types.IntegerLiteral):
        raise RequireLiteralValue(groups)
    return types.void(groups), _statement(f"cp.async.wait_group {groups.literal_value};")
