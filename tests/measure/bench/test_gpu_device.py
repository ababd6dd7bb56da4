"""The clockwork of the real device, on a CUDA that only notes what is asked of it."""

import subprocess
from types import SimpleNamespace

import pytest

from scc_numba.device import NoBackend, backend
from scc_numba.measure.bench import gpu
from scc_numba.measure.bench.gpu import FEWEST, MOST, QUICK, GpuDevice, clocks, require_gpu


class FakeCuda:
    """Its events are `milliseconds` apart."""

    def __init__(self, milliseconds):
        self.log, self.milliseconds = [], milliseconds

    def synchronize(self):
        self.log.append("wait")

    def _sleep(self, cycles):
        assert cycles > 0
        self.log.append("hold")

    def Event(self, enable_timing):
        assert enable_timing
        return SimpleNamespace(
            record=lambda: self.log.append("event"),
            synchronize=lambda: self.log.append("wait"),
            elapsed_time=lambda end: self.milliseconds,
        )


def device(milliseconds):
    made = object.__new__(GpuDevice)
    cuda = FakeCuda(milliseconds)
    made._torch = SimpleNamespace(cuda=cuda)
    made._flush = SimpleNamespace(zero_=lambda: cuda.log.append("flush"))
    return made, cuda.log


@pytest.mark.parametrize(
    ("milliseconds", "quick", "samples"),
    [(0.01, False, MOST), (10, False, 15), (900, False, FEWEST), (10, True, QUICK)],
)
def test_samples_are_as_many_as_fit(milliseconds, quick, samples):
    made, _ = device(milliseconds)
    timing = made.time([lambda: None, lambda: None], quick)
    assert timing.gpu == (milliseconds / 1e3,) * samples
    assert timing.median == milliseconds / 1e3
    assert len(timing.host) == 2


def test_between_two_events_is_one_call_on_a_cold_cache():
    made, log = device(10)
    made.time([lambda: log.append("a"), lambda: log.append("b")])
    assert log[:3] == ["a", "b", "wait"]  # warm-up
    assert log[3:9] == ["wait", "a", "wait", "wait", "b", "wait"]  # what the host takes
    rest = log[9:]
    rounds = [rest[i : i + 6] for i in range(0, len(rest), 6)]
    assert rounds[0] == ["flush", "hold", "event", "a", "event", "wait"]
    assert [each[3] for each in rounds[1:5]] == ["a", "b", "a", "b"]
    assert all([*each[:3], *each[4:]] == ["flush", "hold", "event", "event", "wait"] for each in rounds)


def test_a_context_that_is_broken_is_noticed():
    made, _ = device(1)

    def broken():
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    made._torch.cuda.synchronize = broken
    assert not made.is_alive()


def test_what_nvidia_smi_says(monkeypatch):
    asked = []

    def answer(command, **options):
        asked.append(command)
        if "-i" in command:
            raise subprocess.CalledProcessError(6, command)
        return SimpleNamespace(stdout="570.1, 1980, 3201, 40\n570.1, 345, 3201, 30\n")

    monkeypatch.setattr(subprocess, "run", answer)
    found = clocks("123")
    assert found == {"driver": "570.1", "sm_clock_mhz": "1980", "memory_clock_mhz": "3201", "temperature_c": "40"}
    assert [("GPU-123" in command) for command in asked] == [True, False]
    monkeypatch.setattr(subprocess, "run", lambda *a, **o: (_ for _ in ()).throw(FileNotFoundError()))
    assert set(clocks("").values()) == {""}


def test_without_a_gpu_it_says_so_and_offers_the_model():
    if backend().name == "gpu":
        pytest.skip("there is one")
    with pytest.raises(NoBackend, match=r"none to use here: .*`scc-numba model` .*neither is a time"):
        require_gpu()


def test_a_torch_without_cuda_is_told(monkeypatch):
    pytest.importorskip("torch")
    import torch

    monkeypatch.setattr(gpu, "choose", lambda: SimpleNamespace(backend="gpu", reason=""))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(NoBackend, match="this torch has no CUDA, or finds no GPU"):
        require_gpu()


@pytest.mark.gpu
def test_a_gpu_is_timed():
    if backend().name != "gpu":
        pytest.skip("needs a CUDA GPU")
    torch = pytest.importorskip("torch")
    made = GpuDevice()
    x = torch.zeros(2**24, device="cuda")
    timing = made.time([lambda: x.add_(1)])
    bytes_moved = 2 * x.nbytes
    assert 1e9 < bytes_moved / timing.median < 1e14  # a cold 64 MB in and out: nothing that runs at once or never
    assert made.is_alive()
    assert made.machine()["gpu"]
