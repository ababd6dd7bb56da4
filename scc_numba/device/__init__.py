"""Where a kernel runs: a GPU if there is one, else the emulator, else Numba's simulator.

    from numba import cuda                 # the language inside a kernel
    from scc_numba.device import jit       # where it runs

    @jit
    def double(x, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = 2 * x[i]

    double[grid, block](x, y)

`SCC_NUMBA_DEVICE=gpu|emulator|simulator` overrides the choice. `scc-numba doctor` says which was made, and why.
"""

from scc_numba.device.backend import backend
from scc_numba.device.choice import Choice, NoBackend, choose
from scc_numba.device.kernel import Kernel, LaunchError, device_function, jit
from scc_numba.device.memory import device_array, synchronize, to_device, to_host
from scc_numba.device.prepared import PreparedLaunch
from scc_numba.device.profile import LaunchRecord, Profile, profile

__all__ = [
    "Choice",
    "Kernel",
    "LaunchError",
    "LaunchRecord",
    "NoBackend",
    "PreparedLaunch",
    "Profile",
    "backend",
    "choose",
    "device_array",
    "device_function",
    "jit",
    "profile",
    "synchronize",
    "to_device",
    "to_host",
]
