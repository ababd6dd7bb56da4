"""Every peer computes what the reference does: forward and, through autograd, both gradients."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scc_reference import SlidingChannels

from scc_numba.check.strategies import sliding_channels
from scc_numba.check.tolerance import errors_in_bounds, reference

torch = pytest.importorskip("torch")
from scc_numba.nn.peers import PEERS, ROOFS, compiled  # noqa: E402

each_peer = pytest.mark.parametrize("name", PEERS)


def operands(channels, batch, spatial, seed, draw="standard_normal"):
    rng = np.random.default_rng(seed)
    C, K, G = channels.in_channels, channels.out_channels, channels.group_width
    shapes = {"x": (batch, C, *spatial), "weight": (K, G), "grad_output": (batch, K, *spatial)}
    if draw == "integers":
        return {name: rng.integers(-4, 5, shape).astype(np.float32) for name, shape in shapes.items()}
    return {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}


def results(peer, given):
    """Forward, and each gradient on its own, as a benchmark asks for them."""
    tensors = {name: torch.from_numpy(array) for name, array in given.items()}
    found = {"forward": peer(tensors["x"], tensors["weight"]).numpy()}
    for op, wanted in (("grad_input", "x"), ("grad_weight", "weight")):
        leaves = {name: tensors[name].clone().requires_grad_(name == wanted) for name in ("x", "weight")}
        y = peer(leaves["x"], leaves["weight"])
        for _ in range(2):
            (gradient,) = torch.autograd.grad(y, leaves[wanted], tensors["grad_output"], retain_graph=True)
        found[op] = gradient.numpy()
    return found


NAMES = {"forward": ("x", "weight"), "grad_input": ("grad_output", "weight"), "grad_weight": ("grad_output", "x")}


def named(op, arrays):
    return {name: arrays[name] for name in NAMES[op]} | ({"bias": None} if op == "forward" else {})


@each_peer
@settings(max_examples=25, deadline=None)
@given(
    channels=sliding_channels(),
    batch=st.integers(1, 3),
    spatial=st.sampled_from([(1,), (5,), (3, 2), (7, 7), (2, 3, 2)]),
    seed=st.integers(0, 2**16),
)
@example(channels=SlidingChannels(12, 5, 3, 0.5), batch=2, spatial=(4,), seed=0)  # K < D
@example(channels=SlidingChannels(12, 17, 2, 0.33), batch=1, spatial=(1,), seed=1)  # K % D ≠ 0
@example(channels=SlidingChannels(8, 8, 1, 0.75), batch=2, spatial=(3,), seed=2)  # every window wraps
def test_the_reference_agrees(name, channels, batch, spatial, seed):
    peer = PEERS[name](channels)
    whole = operands(channels, batch, spatial, seed, "integers")
    found = results(peer, whole)
    for op in NAMES:
        np.testing.assert_array_equal(found[op], reference(op, named(op, whole), channels), err_msg=op)
    drawn = operands(channels, batch, spatial, seed)
    for op, result in results(peer, drawn).items():
        assert errors_in_bounds(result, op, named(op, drawn), channels, zero_mean=True).max() <= 1, op


@pytest.mark.parametrize("name", ["strided-windows", "masked-dense"])
def test_compiled_peers_agree(name):
    channels = SlidingChannels(8, 10, 2, 0.5)
    given = operands(channels, 2, (3, 3), 0, "integers")
    try:
        found = results(compiled(PEERS[name](channels)), given)
    except Exception as error:
        if "compiler" in str(error).lower():  # torch.compile wants a C++ compiler on the CPU
            pytest.skip(str(error).splitlines()[0])
        raise
    for op, result in results(PEERS[name](channels), given).items():
        np.testing.assert_array_equal(found[op], result)


def test_window_gemms_copy_no_window():
    """Its largest allocation is the result."""
    channels = SlidingChannels(16, 16, 2, 0.5)
    x, weight = torch.zeros(2, 16, 64), torch.zeros(16, 8)
    from torch.utils._python_dispatch import TorchDispatchMode

    largest = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor) and not result._is_view():
                largest.append((result.untyped_storage().nbytes(), str(function)))
            return result

    with Watch():
        y = PEERS["window-gemms"](channels)(x, weight)
    assert max(size for size, _ in largest) == y.nbytes
    assert not [name for _, name in largest if "copy" in name or "clone" in name or "cat" in name]


@pytest.mark.parametrize("op", ROOFS)
def test_the_roof_has_as_many_products(op):
    channels, batch, pixels = SlidingChannels(12, 6, 3, 0.5), 2, 5
    K, G = channels.out_channels, channels.group_width
    columns = {"x": (G, batch * pixels), "grad_output": (K, batch * pixels), "weight": (K, G)}
    names = {
        "forward": ("weight", "x"),
        "grad_input": ("weight", "grad_output"),
        "grad_weight": ("grad_output", "x"),
    }
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        ROOFS[op](*(torch.zeros(columns[name]) for name in names[op]))
    assert counter.get_total_flops() == channels.flops(batch, pixels)
