"""What a rung is: a kernel of a ladder, the idea behind it, and how to launch it for a given layer."""

from __future__ import annotations

import difflib
import inspect
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, get_args

import numpy as np
from scc_reference import SlidingChannels

from scc_numba.device import Kernel, device_array, to_device
from scc_numba.device.number import number_type
from scc_numba.device.pointers import addresses

Op = Literal["forward", "grad_input", "grad_weight"]
OPS: tuple[Op, ...] = get_args(Op)
Tile = tuple[int, ...]
MOST_COLUMNS = 2**32 - 2**10


@dataclass(frozen=True)
class Layer:
    """One use of the operator: the windows, how many images and pixels, and the type of a number.

    Attributes:
        channels: C, K, G and S.
        batch: N ≥ 0.
        pixels: P ≥ 0, the pixels of one image.
        dtype: of every array. For bfloat16 that of ml_dtypes, or a stand-in where that is not installed.
    """

    channels: SlidingChannels
    batch: int
    pixels: int
    dtype: np.dtype[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "dtype", number_type(self.dtype))
        for name in ("batch", "pixels"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)} must be at least 0")

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(N, C, P)."""
        return self.batch, self.channels.in_channels, self.pixels

    @property
    def output_shape(self) -> tuple[int, int, int]:
        """(N, K, P)."""
        return self.batch, self.channels.out_channels, self.pixels

    @property
    def weight_shape(self) -> tuple[int, int]:
        """(K, G)."""
        return self.channels.out_channels, self.channels.group_width

    @property
    def sizes(self) -> tuple[int, int, int, int, int]:
        """(C, K, P, G, S): all that a kernel compiled for a layer depends on."""
        c = self.channels
        return c.in_channels, c.out_channels, self.pixels, c.group_width, c.step

    @property
    def classes(self) -> int:
        """How many classes have a filter: min(D, K)."""
        return min(self.channels.cycle, self.channels.out_channels)

    @property
    def class_size(self) -> int:
        """M: filters of the largest class, ⌈K / D⌉."""
        return -(-self.channels.out_channels // self.channels.cycle)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to compute: N = 0 or P = 0."""
        return self.batch * self.pixels == 0

    @property
    def columns(self) -> int:
        """N·P: the pixels of all images in a row, as kernels that compute in tiles take them.

        Raises:
            ValueError: too many; these kernels count columns in 32 bits, those of the last tile included.
        """
        columns = self.batch * self.pixels
        if columns >= MOST_COLUMNS:
            raise ValueError(
                f"batch·pixels = {columns} must be less than {MOST_COLUMNS}: split the batch, or take a rung "
                f"without tiles"
            )
        return columns

    def result_shape(self, op: Op) -> tuple[int, ...]:
        """Shape of what an operation returns for this layer."""
        return {
            "forward": self.output_shape,
            "grad_input": self.input_shape,
            "grad_weight": self.weight_shape,
        }[op]

    def shapes(self, op: Op) -> tuple[tuple[int, ...], ...]:
        """Shapes of the arrays of an operation as kernels take them, the result last: see `Launch`."""
        operands: dict[Op, tuple[tuple[int, ...], ...]] = {
            "forward": (self.input_shape, self.weight_shape, (self.channels.out_channels,)),
            "grad_input": (self.output_shape, self.weight_shape),
            "grad_weight": (self.output_shape, self.input_shape),
        }
        return *operands[op], self.result_shape(op)

    @property
    def multiply_adds(self) -> int:
        """N·K·P·G, the same for all three operations."""
        return math.prod(self.output_shape) * self.channels.group_width

    def __str__(self) -> str:
        c = self.channels
        return (
            f"N={self.batch} C={c.in_channels} K={c.out_channels} P={self.pixels} groups={c.groups} "
            f"(G={c.group_width}) overlap={c.overlap} (S={c.step}, D={c.cycle}) {self.dtype}"
        )


@dataclass(frozen=True)
class Launch:
    """A kernel with all it needs but its arrays.

    Calling it with the arrays runs it. The arrays of each operation, result last, all C-contiguous:

        forward      x (N, C, P),           weight (K, G), bias (K,), y (N, K, P)
        grad_input   grad_output (N, K, P), weight (K, G),            grad_input (N, C, P)
        grad_weight  grad_output (N, K, P), x (N, C, P),              grad_weight (K, G)

    Attributes:
        kernel: what to run.
        grid: blocks in x, y and z.
        block: threads of a block in x, y and z.
        tables: read-only arrays of the rung's own, handed to the kernel after these.
        scalars: handed to the kernel last.
        shared_bytes: dynamic shared memory of a block.
        zeroed: the launch that sets the results to zero first, for a kernel that adds to them.
        results: how many of the arrays, the last ones, are results: 2 where grad_bias comes with grad_weight.
        workspace: how many float32 the kernel needs to write partial results to, after the tables. They belong to
            this Launch: it must not run on two streams at once.
        then: the launch that makes the results of the workspace: its arrays are the workspace and the results.
    """

    kernel: Kernel
    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    tables: tuple[np.ndarray[Any, Any], ...] = ()
    scalars: tuple[Any, ...] = ()
    shared_bytes: int = 0
    zeroed: Launch | None = None
    results: int = 1
    workspace: int = 0
    then: Launch | None = None

    @cached_property
    def _tables_on_device(self) -> tuple[Any, ...]:
        return tuple(to_device(table) for table in self.tables)

    @cached_property
    def _workspace_on_device(self) -> tuple[Any, ...]:
        return (device_array(self.workspace, np.float32),) if self.workspace else ()

    def __call__(self, *arrays: Any, stream: Any = None) -> None:
        """Run on device arrays; returns when a GPU has been told, or when everything else is done."""
        results = arrays[-self.results :]
        if self.zeroed is not None:
            for result in results:
                self.zeroed(result.reshape(math.prod(result.shape)), stream=stream)
        workspace = self._workspace_on_device
        run = self.kernel[self.grid, self.block, stream, self.shared_bytes]
        run(*arrays, *self._tables_on_device, *workspace, *self.scalars)
        if self.then is not None:
            self.then(*workspace, *results, stream=stream)

    def prepare(self, dtypes: Sequence[np.dtype[Any]]) -> Callable[..., None] | None:
        """The same as a function of addresses of GPU memory, with all done now that can be.

        Args:
            dtypes: of the arrays, in their order.

        Returns:
            Called with the addresses and `stream`, its handle; see `scc_numba.device.PreparedLaunch`. None where a
            kernel takes arrays, and not addresses.

        Raises:
            NoBackend: there is no GPU.
        """
        if self.zeroed is not None or not self.kernel.pointers:
            return None
        workspace = self._workspace_on_device
        fixed = (*self._tables_on_device, *workspace, *self.scalars)
        launch = self.kernel.prepare(self.grid, self.block, self.shared_bytes, dtypes, fixed)
        if self.then is None:
            return launch
        second = self.then.prepare([np.dtype(np.float32), *dtypes[-self.results :]])
        if second is None:
            return None
        (partial,) = addresses(workspace)

        def both(*arrays: int, stream: int = 0) -> None:
            launch(*arrays, stream=stream)
            second(partial, *arrays[-self.results :], stream=stream)

        return both


@dataclass(frozen=True)
class Prediction:
    """What a rung promises to move, against the rung below it: down to at most, or up to at least, a figure.

    Attributes:
        metric: a name in `scc_numba.measure.evidence.METRICS`.
        words: the same for people, ending in the rounded figures: "divisions in the compiled kernel: 18 → 2".
        at_most: for a figure that falls: the rung's is at most this, and that of the rung below is more.
        at_least: for a figure that rises: the rung's is at least this, and that of the rung below is less.
    """

    metric: str
    words: str
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(
                f"at_most={self.at_most} and at_least={self.at_least}: a prediction gives exactly one of the two"
            )

    def holds(self, figure: float) -> bool:
        """Whether a rung with this figure meets it."""
        return figure <= self.at_most if self.at_most is not None else figure >= (self.at_least or 0)


@dataclass(frozen=True)
class Rung:
    """One step of a ladder.

    Attributes:
        op: what it computes.
        name: its short name, "f0". The letter tells the ladder, the number the height.
        title: its idea in a few words.
        build: makes the launch for a layer and a tile; the rung's own default tile where it is None.
        tiles: the tiles it offers for a layer, the default first.
        tile_names: what the numbers of a tile mean.
        dtypes: the types of its numbers in memory, by name. Those of 16 bits are added up in float32.
        rounds_to: what it rounds its operands to before it multiplies them, "tf32"; None where it does not.
        least_target: the oldest GPU generation that can run it, "sm_80"; None where all can.
        flat_columns: whether it numbers the pixels of all images, of which there must then be few enough.
        compiled_per_layer: whether each layer needs a kernel of its own, a second's work for the compiler.
        deterministic: whether two runs give the same bits, which atomic additions do not promise.
        with_bias: whether it can sum the gradient of the bias in the same pass: `build(layer, tile, bias=True)`.
        prediction: what it moves, or None for a baseline or a rung that does not help.
    """

    op: Op
    name: str
    title: str
    build: Callable[..., Launch]
    tiles: Callable[[Layer], tuple[Tile, ...]]
    tile_names: tuple[str, ...]
    dtypes: tuple[str, ...] = ("float32", "float64")
    rounds_to: str | None = None
    least_target: str | None = None
    flat_columns: bool = False
    compiled_per_layer: bool = False
    deterministic: bool = True
    with_bias: bool = False
    prediction: Prediction | None = None

    @property
    def header(self) -> str:
        """The docstring of the rung's file: idea, prediction, and what changed against the rung below."""
        return inspect.cleandoc(sys.modules[self.build.__module__].__doc__ or "")

    @property
    def idea(self) -> str:
        """The idea in a sentence or two: the paragraph of the header that starts with "Idea:"."""
        found = re.search(r"^Idea: (.*?)(?:\n\n|\Z)", self.header, re.DOTALL | re.MULTILINE)
        if found is None:
            raise ValueError(f"the header of rung {self.name} has no paragraph 'Idea: ...'")
        return " ".join(found[1].split())

    @property
    def kernel_file(self) -> str:
        """Path of the rung's file."""
        return inspect.getsourcefile(self.build) or ""

    def supports(self, layer: Layer, target: str | None = None) -> str | None:
        """None if the rung runs this layer on this target ("sm_90"; None for any), else the reason it does not."""
        if layer.dtype.name not in self.dtypes:
            return f"rung {self.name} computes in {' or '.join(self.dtypes)}, not in {layer.dtype}"
        if self.flat_columns:
            try:
                _ = layer.columns
            except ValueError as error:
                return f"rung {self.name} numbers the columns of all images: {error}"
        if (
            target is not None
            and self.least_target is not None
            and _generation(target) < _generation(self.least_target)
        ):
            return f"rung {self.name} needs {self.least_target} or later, not {target}"
        return None

    def suited(self, layer: Layer) -> Layer:
        """The layer; in the first of the rung's dtypes, where it does not compute in the layer's."""
        return layer if layer.dtype.name in self.dtypes else replace(layer, dtype=number_type(self.dtypes[0]))

    def run(self, *operands: Any, channels: SlidingChannels, tile: Tile | None = None, **named: Any) -> Any:
        """Compute on the device: arrays in, a new array out.

            forward:      run(x, weight, bias=None, channels=channels) -> (N, K, *spatial)
            grad_input:   run(grad_output, weight, channels=channels)  -> (N, C, *spatial)
            grad_weight:  run(grad_output, x, channels=channels)       -> (K, G)
                          run(grad_output, x, bias=True, channels=channels) -> (K, G), (K,)

        Args:
            operands: NumPy arrays or torch tensors, with shapes as in `scc_reference`. Any memory layout.
            channels: the windows.
            tile: one of `tiles(layer)`.
            named: the operands by name, instead of by position.

        Returns:
            A NumPy array, or a torch tensor on the same device where torch tensors came in; tensors that
            already lie on a GPU are not copied.

        Raises:
            ValueError, TypeError: shapes or dtypes that do not fit; a bias asked of a rung that is not `with_bias`.
        """
        from scc_numba.kernels.run import run

        return run(self, *operands, channels=channels, tile=tile, **named)


def _generation(target: str) -> int:
    return int(re.sub(r"\D", "", target))


def closest(name: str, known: tuple[str, ...] | list[str]) -> str:
    """A hint for an error about an unknown name: ", did you mean ...?" or the list of what there is."""
    nearest = difflib.get_close_matches(name.lower(), known, n=1)
    return f"did you mean {nearest[0]!r}?" if nearest else f"there are {', '.join(known)}"
