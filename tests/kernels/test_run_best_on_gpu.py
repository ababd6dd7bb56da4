"""`run_best` on a GPU: right on any stream, for any layout, with nothing copied and nothing waited for."""

import numpy as np
import pytest
import scc_reference
from test_best import LAYER, draw_operands

from scc_numba.device import backend
from scc_numba.kernels import OPS, run_best

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(backend().name != "gpu" or not torch.cuda.is_available(), reason="needs a CUDA GPU"),
]


def tensors_of(op, seed=0):
    arrays = draw_operands(op, LAYER, seed, spatial=(7, 7))
    wide = {name: array.astype(np.float64) for name, array in arrays.items()}
    expected = getattr(scc_reference, f"scc_{op}")(**wide, channels=LAYER.channels)
    return [torch.from_numpy(array).cuda() for array in arrays.values()], expected


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("tf32", [False, True])
def test_it_is_right_time_and_again(op, tf32):
    for seed in range(3):
        tensors, expected = tensors_of(op, seed)
        result = run_best(op, *tensors, channels=LAYER.channels, allow_tf32=tf32)
        tolerance = 2e-2 if tf32 else 1e-4
        worst = tolerance * np.abs(expected).max()
        np.testing.assert_allclose(result.cpu().numpy(), expected, rtol=tolerance, atol=worst)


@pytest.mark.parametrize("op", OPS)
def test_it_runs_on_torchs_stream(op):
    tensors, expected = tensors_of(op)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(2):
            result = run_best(op, *tensors, channels=LAYER.channels)
    stream.synchronize()
    np.testing.assert_allclose(result.cpu().numpy(), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("op", OPS)
def test_nothing_is_waited_for(op):
    tensors, _ = tensors_of(op)
    run_best(op, *tensors, channels=LAYER.channels)
    torch.cuda.synchronize()
    torch.cuda._sleep(200_000_000)  # some 0.1 s on the same stream
    run_best(op, *tensors, channels=LAYER.channels)
    done = torch.cuda.Event()
    done.record()
    assert not done.query()
    torch.cuda.synchronize()


def test_gaps_in_memory_and_gradients():
    tensors, expected = tensors_of("forward")
    gaps = [torch.stack([t, t], -1)[..., 0].requires_grad_() for t in tensors]
    result = run_best("forward", *gaps, channels=LAYER.channels)
    np.testing.assert_allclose(result.cpu().numpy(), expected, rtol=1e-4, atol=1e-3)
