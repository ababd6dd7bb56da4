"""Which backend is chosen, for which reason."""

import subprocess
import sys

import pytest

from scc_numba.device import choice
from scc_numba.device.choice import Driver, choose_for

NO_GPU = Driver((), None, "the CUDA driver library libcuda.so.1 is not installed")
ONE_GPU = Driver(("NVIDIA H200",), "13.0", None)


@pytest.fixture
def machine(monkeypatch):
    def set_up(driver, emulator_problem=None):
        monkeypatch.setattr(choice, "driver", lambda: driver)
        monkeypatch.setattr(choice, "emulator_problem", lambda: emulator_problem)

    return set_up


@pytest.mark.parametrize("name", ["gpu", "emulator", "simulator", " Emulator "])
def test_the_environment_decides(name, machine):
    machine(ONE_GPU)
    chosen = choose_for({"SCC_NUMBA_DEVICE": name})
    assert chosen.backend == name.strip().lower()
    assert "SCC_NUMBA_DEVICE" in chosen.reason


@pytest.mark.parametrize(
    ("name", "hint"), [("emulater", "did you mean 'emulator'?"), ("cuda", "is not one of gpu")]
)
def test_a_misspelt_name_is_an_error_with_a_hint(name, hint):
    with pytest.raises(ValueError, match=f"SCC_NUMBA_DEVICE='{name}'") as raised:
        choose_for({"SCC_NUMBA_DEVICE": name})
    assert hint in str(raised.value)


def test_a_gpu_comes_first(machine):
    machine(ONE_GPU)
    assert choose_for({}).backend == "gpu"
    assert "NVIDIA H200" in choose_for({}).reason


def test_then_the_emulator(machine):
    machine(NO_GPU)
    assert choose_for({}).backend == "emulator"
    assert "libcuda" in choose_for({}).reason


def test_then_the_simulator_which_says_what_is_missing(machine):
    machine(NO_GPU, "the compiler library nvvm is missing; pip install 'numba-cuda[cu13]'")
    chosen = choose_for({})
    assert chosen.backend == "simulator"
    assert "nvvm is missing" in chosen.reason


def test_numbas_own_switch_counts(machine):
    machine(ONE_GPU)
    assert choose_for({"NUMBA_ENABLE_CUDASIM": "1"}).backend == "simulator"
    assert choose_for({"NUMBA_ENABLE_CUDASIM": "0"}).backend == "gpu"


def test_choosing_imports_no_numba():
    code = "import sys, scc_numba.device; scc_numba.device.choose(); print('numba' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"
