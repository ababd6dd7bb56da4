"""`jit`: a kernel that is compiled, and given a place to run, at its first launch."""

from __future__ import annotations

import contextlib
import functools
import math
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType
from typing import Any, overload

import numpy as np

from scc_numba.device.backend import Backend, Dims, LaunchShape, backend
from scc_numba.device.choice import NoBackend, numba_simulator_is_on
from scc_numba.device.number import WORD, as_words, has_sixteen_bits
from scc_numba.device.pointers import pointer_types
from scc_numba.device.prepared import PreparedLaunch
from scc_numba.device.profile import recording

# What every CUDA GPU since compute capability 3.0 allows (CUDA programming guide, technical specifications).
LARGEST_GRID: Dims = (2**31 - 1, 65_535, 65_535)
LARGEST_BLOCK: Dims = (1024, 1024, 64)
MOST_THREADS = 1024
MOST_SHARED_BYTES = 48 * 1024


class LaunchError(RuntimeError):
    """A launch that was refused or that failed. Says which backend, kernel, grid and block."""


class Kernel:
    """A kernel that launches as `kernel[grid, block](*arguments)`.

    Attributes:
        function: the Python function.
        pointers: whether arrays arrive as flat pointers; see `scc_numba.device.pointers`.
        options: what `numba.cuda.jit` is told besides, for example `max_registers`.
    """

    def __init__(self, function: Callable[..., None], options: dict[str, Any], pointers: bool = False) -> None:
        self.function = function
        self.pointers = pointers
        self.options = options
        functools.update_wrapper(self, function)

    @property
    def name(self) -> str:
        """Name of the Python function."""
        return self.function.__name__

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"

    def signature(self, arguments: tuple[Any, ...]) -> tuple[Any, ...] | None:
        """Numba types of the parameters, where they are not those that Numba gives the arguments by itself."""
        return pointer_types(arguments) if self.pointers else None

    def seen(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The arguments as the kernel sees them: through flat pointers, numbers of 16 bits are words."""
        return tuple(map(as_words, arguments)) if self.pointers else arguments

    def __call__(self, *arguments: Any) -> None:
        """Refuse: a kernel has no grid of its own."""
        raise TypeError(f"kernel {self.name} needs a grid and a block: {self.name}[grid, block](...)")

    def __getitem__(self, configuration: Any) -> Callable[..., None]:
        """Fix grid and block, and optionally a stream (None for the default) and bytes of shared memory.

        Args:
            configuration: `grid, block[, stream[, shared_bytes]]`; grid and block are an integer or up to three.

        Raises:
            LaunchError: no CUDA GPU could run this configuration; raised by every backend alike.
        """
        if not isinstance(configuration, tuple) or not 2 <= len(configuration) <= 4:
            raise TypeError(
                f"kernel {self.name} takes [grid, block], optionally with a stream and shared bytes; "
                f"got {configuration!r}"
            )
        defaults = (None, None, None, 0)
        grid, block, stream, shared_bytes = configuration + defaults[len(configuration) :]
        return functools.partial(self._launch, grid, block, stream, shared_bytes)

    def _launch(self, grid: Any, block: Any, stream: Any, shared_bytes: int, *arguments: Any) -> None:
        where = backend()
        with self._failing_clearly(where, grid, block):
            shape = _shape(grid, block, stream, shared_bytes)
            with recording(self.name, shape.grid, shape.block, shared_bytes) as record:
                where.launch(self, shape, self.seen(arguments), record)

    def prepare(
        self, grid: Any, block: Any, shared_bytes: int, dtypes: Sequence[np.dtype[Any]], fixed: tuple[Any, ...]
    ) -> PreparedLaunch:
        """Compile now, for launches on a GPU that cost little more than the driver's part of them.

        Args:
            grid: blocks.
            block: threads of a block.
            shared_bytes: dynamic shared memory of a block.
            dtypes: of the arrays, which each launch gets as addresses.
            fixed: the arguments after them, the same for each launch.

        Raises:
            TypeError: the kernel takes no flat pointers.
            LaunchError: it does not compile, or no CUDA GPU could run this configuration.
            NoBackend: there is no GPU.
        """
        if not self.pointers:
            raise TypeError(f"kernel {self.name} takes arrays, not addresses; make it with jit(pointers=True)")
        where = backend()
        prepare = getattr(where, "prepare", None)
        if prepare is None:
            raise NoBackend(f"launches are prepared for a GPU; here is the {where.name}, which takes arrays")
        with self._failing_clearly(where, grid, block):
            empty = (np.empty(0, WORD if has_sixteen_bits(dtype) else dtype) for dtype in dtypes)
            signature = pointer_types((*empty, *fixed))
            on_stream = prepare(self, _shape(grid, block, None, shared_bytes), signature, fixed)
        return PreparedLaunch(on_stream, fixed)

    @contextlib.contextmanager
    def _failing_clearly(self, where: Backend, grid: Any, block: Any) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            with contextlib.suppress(TypeError, ValueError):
                grid, block = _dims("grid", grid, LARGEST_GRID), _dims("block", block, LARGEST_BLOCK)
            raise LaunchError(
                f"kernel {self.name} failed on the {where.name} with grid={grid}, block={block}: "
                f"{type(error).__name__}: {error}"
            ) from error


@overload
def jit(function: Callable[..., None], /) -> Kernel: ...
@overload
def jit(*, pointers: bool = False, **options: Any) -> Callable[[Callable[..., None]], Kernel]: ...
def jit(function: Any = None, /, *, pointers: bool = False, **options: Any) -> Any:
    """Make a kernel of a Python function written in Numba's CUDA language.

    Nothing is compiled here: a kernel is compiled at its first launch, for the types of its arguments. So a
    module with kernels imports on a machine with no GPU, no driver and no compiler.

    Args:
        function: the kernel, when used as a bare `@jit`.
        pointers: hand arrays over as flat pointers, and Python integers as unsigned 32-bit numbers.
        options: passed to `numba.cuda.jit`, for example `max_registers=64` or `fastmath=True`.

    Raises:
        TypeError: a signature was given; types are taken from the first launch.
    """
    if function is None:
        return functools.partial(_make, options, pointers)
    return _make(options, pointers, function)


def device_function(function: Callable[..., Any]) -> Any:
    """Make a function that kernels call, and that the compiler puts in the place of each call.

    A loop body called eight times by hand is a loop unrolled eight times: Numba has no other way to ask for that.
    """
    from numba import cuda

    if numba_simulator_is_on(os.environ):  # knows no such option, and needs none
        return cuda.jit(device=True)(function)
    return cuda.jit(device=True, forceinline=True)(function)


def _make(options: dict[str, Any], pointers: bool, function: Any) -> Kernel:
    if not isinstance(function, FunctionType):
        raise TypeError(
            f"jit takes a Python function, got {function!r}; signatures are not given: "
            f"types come from the arguments of the first launch"
        )
    return Kernel(function, options, pointers)


def _shape(grid: Any, block: Any, stream: Any, shared_bytes: int) -> LaunchShape:
    grid, block = _dims("grid", grid, LARGEST_GRID), _dims("block", block, LARGEST_BLOCK)
    if math.prod(block) > MOST_THREADS:
        raise ValueError(f"block={block} has {math.prod(block)} threads, the most is {MOST_THREADS}")
    if not 0 <= shared_bytes <= MOST_SHARED_BYTES:
        raise ValueError(f"shared_bytes={shared_bytes} is outside 0 to {MOST_SHARED_BYTES}")
    return LaunchShape(grid, block, stream, shared_bytes)


def _dims(name: str, value: Any, largest: Dims) -> Dims:
    given = value if isinstance(value, tuple) else (value,)
    try:
        sizes = [operator.index(size) for size in given]
    except TypeError:
        raise TypeError(f"{name}={value!r} must be an integer or a tuple of up to three") from None
    if not 1 <= len(sizes) <= 3:
        raise ValueError(f"{name}={value!r} has {len(sizes)} dims, expected one to three")
    sizes += [1] * (3 - len(sizes))
    for axis, size, limit in zip("xyz", sizes, largest, strict=True):
        if not 1 <= size <= limit:
            raise ValueError(f"{name}={value!r}: {axis}={size} is outside 1 to {limit}")
    return sizes[0], sizes[1], sizes[2]
