"""Who computes: each provider becomes, for a layer, a few calls that do the same on different data.

rung      a rung with a tile, into results that are there already
best      `run_best`, as a user calls it: it chooses, allocates and launches
peer      a composition of PyTorch's operators; its gradients are autograd's, each on its own
compiled  the same through torch.compile
roof      "gemm", as many multiply-adds in one matrix product by cuBLAS; "copy", as many bytes in a plain copy
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scc_numba.kernels import Layer, Op, find_rung, ladder, run_best
from scc_numba.measure.bench.gpu import Device
from scc_numba.measure.bench.layers import BenchLayer

if TYPE_CHECKING:
    from torch import Tensor

PRECISIONS = ("float32", "tf32")
MOST_BYTES = 2**33  # of all sets of operands
SETS = 3
WANTED: dict[Op, str] = {"grad_input": "x", "grad_weight": "weight"}  # with respect to what
NAMES: dict[Op, tuple[str, ...]] = {
    "forward": ("x", "weight", "bias"),
    "grad_input": ("grad_output", "weight"),
    "grad_weight": ("grad_output", "x"),
}


@dataclass(frozen=True)
class Provider:
    """One who computes an operation.

    Attributes:
        kind: rung, best, peer, compiled or roof.
        name: which of them.
        op: the operation.
        precision: "float32", or "tf32" where operands may be, or are, rounded to that.
    """

    kind: str
    name: str
    op: Op
    precision: str


@dataclass(frozen=True)
class Work:
    """A provider at work on a layer.

    Attributes:
        calls: one for each set of operands; timed in turn.
        results: what they computed, in the shape that kernels give it; None where that is not the operation.
    """

    calls: tuple[Callable[[], object], ...]
    results: Callable[[], list[Tensor]] | None


def providers(op: Op, precision: str) -> tuple[Provider, ...]:
    """All but the compiled peers: roofs first, since the others are held against them."""
    from scc_numba.nn.peers import PEERS

    rounds_to = None if precision == "float32" else precision
    roofs = ("gemm", "copy") if precision == "float32" else ("gemm",)
    rungs = [rung.name for rung in ladder(op) if rung.rounds_to == rounds_to]
    named = [*(("roof", name) for name in roofs), *(("rung", name) for name in rungs)]
    named += [*(("peer", name) for name in PEERS), *([("best", "best")] if rungs else [])]
    return tuple(Provider(kind, name, op, precision) for kind, name in named)


class Operands:
    """Random operands of a layer on the device, a few sets of them, so that no call finds its data in a cache.

    Attributes:
        sets: x (N, C, H, W), weight (K, G), bias (K,), which is zero, since peers have none,
            and grad_output (N, K, H, W).
    """

    def __init__(self, layer: BenchLayer, device: Device) -> None:
        import torch

        generator = torch.Generator(device.torch_name).manual_seed(0)
        N, C, K, side = layer.batch, layer.channels.in_channels, layer.channels.out_channels, layer.side
        shapes = {
            "x": (N, C, side, side),
            "weight": layer.layer.weight_shape,
            "grad_output": (N, K, side, side),
        }
        bytes_of_set = 4 * sum(math.prod(shape) for shape in shapes.values())
        self.sets = [
            {
                name: torch.randn(shape, generator=generator, device=device.torch_name)
                for name, shape in shapes.items()
            }
            | {"bias": torch.zeros(K, device=device.torch_name)}
            for _ in range(max(1, min(SETS, MOST_BYTES // bytes_of_set)))
        ]

    def flat(self, layer: Layer, index: int) -> dict[str, Tensor]:
        """A set in the shapes that kernels take."""
        given = self.sets[index]
        return {
            **given,
            "x": given["x"].view(layer.input_shape),
            "grad_output": given["grad_output"].view(layer.output_shape),
        }


def prepare(provider: Provider, layer: BenchLayer, operands: Operands, device: Device, tile: Any = None) -> Work:
    """Put a provider to work; nothing is timed yet.

    Args:
        provider: who.
        layer: on what layer.
        operands: of the layer.
        device: where.
        tile: of a rung.
    """
    make = {"rung": _rung, "best": _best, "peer": _peer, "compiled": _peer, "roof": _roof}[provider.kind]
    return make(provider, layer, operands, device, tile)


@contextlib.contextmanager
def precision_of(provider: Provider) -> Iterator[None]:
    """Whether cuBLAS and cuDNN may round operands to tf32."""
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = provider.precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before


def _rung(provider: Provider, bench: BenchLayer, operands: Operands, device: Device, tile: Any) -> Work:
    import torch

    layer = bench.layer
    launch = device.launcher(find_rung(provider.name), layer, tile)
    shape = layer.result_shape(provider.op)
    results = [torch.full(shape, math.nan, device=device.torch_name) for _ in operands.sets]

    def call(given: list[Tensor], result: Tensor) -> Callable[[], object]:
        return lambda: launch(*given, result)

    flat = [operands.flat(layer, i) for i in range(len(operands.sets))]
    calls = [call([f[name] for name in NAMES[provider.op]], r) for f, r in zip(flat, results, strict=True)]
    return Work(tuple(calls), lambda: results)


def _best(provider: Provider, bench: BenchLayer, operands: Operands, device: Device, tile: Any) -> Work:
    tf32 = provider.precision == "tf32"

    def compute(given: dict[str, Tensor]) -> Tensor:
        named = [given[name] for name in NAMES[provider.op]]
        result: Tensor = run_best(provider.op, *named, channels=bench.channels, allow_tf32=tf32)
        return result

    return _keeping(compute, provider, bench, operands)


def _peer(provider: Provider, bench: BenchLayer, operands: Operands, device: Device, tile: Any) -> Work:
    import torch

    from scc_numba.nn.peers import PEERS, compiled

    peer = PEERS[provider.name](bench.channels, device.torch_name)
    if provider.kind == "compiled":
        peer = compiled(peer)
    if provider.op == "forward":

        def forward(given: dict[str, Tensor]) -> Tensor:
            with torch.no_grad():
                return peer(given["x"], given["weight"])

        return _keeping(forward, provider, bench, operands)

    # Only the wanted gradient is asked for, of a forward pass that ran before and is not timed.
    wanted = WANTED[provider.op]
    graphs = []
    for given in operands.sets:
        leaves = {name: given[name].detach().requires_grad_(name == wanted) for name in ("x", "weight")}
        graphs.append((peer(leaves["x"], leaves["weight"]), leaves[wanted], given["grad_output"]))

    def backward(graph: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        return torch.autograd.grad(graph[0], graph[1], graph[2], retain_graph=True)[0]

    return _keeping(backward, provider, bench, operands, graphs)


def _keeping(
    compute: Callable[[Any], Tensor],
    provider: Provider,
    bench: BenchLayer,
    operands: Operands,
    inputs: list[Any] | None = None,
) -> Work:
    """Calls that allocate their result; the last one of each is kept, to be checked."""
    given = operands.sets if inputs is None else inputs
    kept: dict[int, Tensor] = {}

    def call(index: int) -> Callable[[], object]:
        def run() -> None:
            kept[index] = compute(given[index])

        return run

    shape = bench.layer.result_shape(provider.op)
    return Work(
        tuple(call(index) for index in range(len(given))),
        lambda: [kept[i].reshape(shape) for i in range(len(given))],
    )


def _roof(provider: Provider, bench: BenchLayer, operands: Operands, device: Device, tile: Any) -> Work:
    import torch

    from scc_numba.nn.peers import ROOFS

    layer, op = bench.layer, provider.op
    if provider.name == "copy":  # reads half of the bytes that the operation must move at least, and writes them
        numbers = sum(math.prod(shape) for shape in layer.shapes(op)) // 2
        pairs = [torch.ones(2, max(1, numbers), device=device.torch_name) for _ in operands.sets]
        return Work(tuple(_copy(pair) for pair in pairs), None)
    K, G = layer.weight_shape
    columns = layer.batch * layer.pixels
    shapes = {
        "forward": ((K, G), (G, columns)),
        "grad_input": ((K, G), (K, columns)),
        "grad_weight": ((K, columns), (G, columns)),
    }[op]
    calls = []
    for _ in operands.sets:
        a, b = (torch.randn(shape, device=device.torch_name) for shape in shapes)
        calls.append(_product(ROOFS[op], a, b))
    return Work(tuple(calls), None)


def _copy(pair: Tensor) -> Callable[[], object]:
    return lambda: pair[1].copy_(pair[0])


def _product(multiply: Callable[[Tensor, Tensor], Tensor], a: Tensor, b: Tensor) -> Callable[[], object]:
    return lambda: multiply(a, b)
