"""The benchmark's device where there is no GPU: torch on the CPU, rungs on the emulator, times that are made up."""

from collections import Counter

import torch

from scc_numba.device import device_array, to_device, to_host
from scc_numba.measure.bench.gpu import Timing


class FakeDevice:
    """Times are what `seconds` says of the task at hand; each call runs once.

    Attributes:
        seconds: from a part of the task's description to its time.
        timed: how often each task was timed.
        events: what is to happen at a task: an exception to raise.
        broken: whether the context is.
    """

    torch_name, target = "cpu", "sm_90"

    def __init__(self, gpu="Fake GPU"):
        self.gpu, self.seconds, self.timed, self.events, self.broken = gpu, {}, Counter(), {}, False
        self.task, self.tile = "", ""

    def on_task(self, text):
        self.task, self.tile = text, ""

    def time(self, calls, quick=False):
        self.timed[self.task] += 1
        for part, event in list(self.events.items()):
            if part in f"{self.task} {self.tile}":
                del self.events[part]
                self.broken = getattr(event, "breaks", False)
                raise event
        for call in calls:
            call()
        found = [value for part, value in self.seconds.items() if part in f"{self.task} {self.tile}"]
        median = found[-1] if found else 1e-3
        return Timing((median * 0.9, median, median * 1.2), (2e-6, 3e-6, 4e-6))

    def launcher(self, rung, layer, tile):
        self.tile = "x".join(map(str, tile))
        launch = rung.build(layer, tile)

        def run(*tensors):
            *operands, result = tensors
            arrays = [to_device(tensor.numpy()) for tensor in operands]
            there = device_array(tuple(result.shape), layer.dtype)
            launch(*arrays, there)
            result.copy_(torch.from_numpy(to_host(there)))

        return run

    def machine(self):
        return {
            "gpu": self.gpu,
            "target": self.target,
            "torch": "2.x",
            "driver": "1.2",
            "cuda": "13",
            "sm_clock_mhz": "7",
        }

    def is_alive(self):
        return not self.broken

    def free_memory(self):
        pass
