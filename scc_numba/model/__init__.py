"""Speed of light: the least time that a kernel's work can take on a GPU, from data sheets. Numbers in, numbers out.

    from scc_numba.model import Work, find_gpu, speed_of_light
    light = speed_of_light(Work(...), find_gpu("H200"))
    light.seconds, light.binding          # 1.2e-4, "issue"

This is a model, no measurement: each resource is taken to work at its peak all the time, side by side with the
others. A real kernel is slower, by its latencies, its waits, and clocks below the boost clock.
"""

from scc_numba.model.bounds import Bound, SpeedOfLight, Waves, Work, speed_of_light
from scc_numba.model.gpus import GPUS, Gpu, find_gpu

__all__ = ["GPUS", "Bound", "Gpu", "SpeedOfLight", "Waves", "Work", "find_gpu", "speed_of_light"]
