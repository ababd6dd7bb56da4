"""One mutant before the checker: killed, survived, or no kernel at all."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from scc_numba.check.checker import broken_by, check
from scc_numba.check.mutation.layers import chosen
from scc_numba.check.mutation.mutants import Mutant, changed_rung, mutated
from scc_numba.check.properties import PROPERTIES
from scc_numba.check.strategies import Case
from scc_numba.check.trial import Trial
from scc_numba.device import NoBackend, backend
from scc_numba.device.emulator import Emulator
from scc_numba.emulator import CompilerMissing
from scc_numba.emulator.frontend import load
from scc_numba.emulator.targets import find_target
from scc_numba.kernels import Launch, Rung, find_rung
from scc_numba.kernels.run import kernel_operands

State = Literal["killed", "survived", "stillborn"]
MOST_STEPS = 20_000  # basic blocks of one launch; the kernels themselves take at most a few thousand


@dataclass(frozen=True)
class Verdict:
    """What became of a mutant.

    Attributes:
        mutant: the change.
        state: "killed"; "survived"; or "stillborn": what stands there is no kernel, the compiler refuses it.
        by: the property that it broke, "" if none.
        where: the layer and tile that showed it, or how many layers did not.
        said: the difference, or the compiler's words, in a line.
        same_code: whether the compiler made the same PTX of it as of the kernel, for every chosen layer.
        seconds: of a processor that it took.
    """

    mutant: Mutant
    state: State
    by: str
    where: str
    said: str
    same_code: bool
    seconds: float


class OutOfTime(Exception):
    """The time for a mutant is up."""


def judge(mutant: Mutant, *, layers: int, seconds: float) -> Verdict:
    """Try a mutant on the chosen layers, then on drawn ones, until it breaks a property.

    Args:
        mutant: the change.
        layers: how many are drawn for a mutant that holds on the chosen ones.
        seconds: how long to go on. A mutant that has broken nothing by then survives, and `where` says so. An
            endless loop ends sooner, by a limit on its steps, and is a broken property.
    """
    return judge_rung(mutated(mutant), mutant, layers=layers, seconds=seconds)


def judge_rung(rung: Rung, mutant: Mutant, *, layers: int, seconds: float) -> Verdict:
    """The same for a rung that is already made."""
    begin, used = time.monotonic(), time.process_time()
    original = find_rung(mutant.rung)
    same = True
    tried = 0

    def verdict(state: State, by: str, where: str, said: str) -> Verdict:
        return Verdict(mutant, state, by, where, _in_a_line(said), same and tried > 0, time.process_time() - used)

    def tick(count: int) -> None:
        if time.monotonic() - begin > seconds:
            raise OutOfTime

    with _few_steps():
        try:
            for case in chosen(rung):
                tick(tried)
                try:
                    unchanged = _code(rung, case) == _code(original, case)
                except (NoBackend, CompilerMissing):
                    raise
                except Exception as error:  # of the compiler, or of the emulator's reader of PTX
                    return verdict("stillborn", "", "", str(error))
                same = same and unchanged
                tried += 1
                if unchanged:
                    continue  # the same instructions do the same
                trial = Trial(rung.op, rung.run, rung, case, rung.deterministic)
                for holds in PROPERTIES:
                    broken = broken_by(holds, trial)
                    if broken is not None:
                        return verdict("killed", holds.__name__, f"{case}, tile {trial.tile}", str(broken))
            if same and not rung.compiled_per_layer:
                return verdict("survived", "", f"{tried} chosen layers, whose code is the same for every layer", "")
            result = check(rung, rung.op, max_examples=layers, shrink=False, on_example=tick)
            if result.failure is not None:
                failure = result.failure
                where = f"{failure.case}, tile {failure.tile}"
                return verdict("killed", failure.property, where, failure.difference)
        except OutOfTime:
            return verdict("survived", "", f"{tried} chosen layers and some drawn ones, until time was up", "")
    return verdict("survived", "", f"{tried} chosen and {result.examples} drawn layers", "")


def kernel_holds(name: str) -> str | None:
    """None if a rung as it is holds every property on the chosen layers, else what it breaks."""
    rung = changed_rung(find_rung(name), None)
    with _few_steps():
        for case in chosen(rung):
            trial = Trial(rung.op, rung.run, rung, case, rung.deterministic)
            for holds in PROPERTIES:
                broken = broken_by(holds, trial)
                if broken is not None:
                    return f"{holds.__name__} on {case}, tile {trial.tile}: {broken}"
    return None


@contextmanager
def _few_steps() -> Iterator[None]:
    where = backend()
    if not isinstance(where, Emulator):
        raise ValueError(f"mutants run on the emulator, not on the {where.name}: set SCC_NUMBA_DEVICE=emulator")
    before = where.most_steps
    where.most_steps = MOST_STEPS
    try:
        yield
    finally:
        where.most_steps = before


class _Asked:
    """Stands in for a kernel in a launch, and takes note of the arguments."""

    def __init__(self) -> None:
        self.arguments: tuple[Any, ...] = ()

    def __getitem__(self, configuration: Any) -> Any:
        return self.take

    def take(self, *arguments: Any) -> None:
        self.arguments = arguments


def _code(rung: Rung, case: Case) -> list[str]:
    """The PTX of a rung's kernels for a case, without the names of things and the numbers of lines."""
    layer = case.layer
    tiles = rung.tiles(layer)
    shapes = {"forward": ("x", "weight", "bias"), "grad_input": ("grad_output", "weight")}
    names = shapes.get(rung.op, ("grad_output", "x"))
    of = {
        "x": layer.input_shape,
        "grad_output": layer.output_shape,
        "weight": layer.weight_shape,
        "bias": layer.output_shape[1:2],
    }
    operands = {name: np.zeros(of[name], layer.dtype) for name in names}
    arrays = [*kernel_operands(rung.op, operands, layer), np.zeros(layer.result_shape(rung.op), layer.dtype)]
    launch: Launch | None = rung.build(layer, tiles[case.tile % len(tiles)])
    assert launch is not None
    asked = _Asked()
    replace(launch, kernel=asked, zeroed=None, then=None)(*arrays)  # type: ignore[arg-type]
    kernel = launch.kernel
    loaded = load(
        kernel.function,
        asked.arguments,
        find_target(backend().target or ""),
        kernel.signature(asked.arguments),
        kernel.options,
    )
    return normal(loaded.text)


def normal(text: str) -> list[str]:
    """The lines of PTX that are instructions, with every symbol numbered in the order in which it turns up."""
    numbers: dict[str, str] = {}

    def number(found: re.Match[str]) -> str:
        return numbers.setdefault(found[0], f"_Z{len(numbers)}")

    lines = (line.partition("//")[0].strip() for line in text.splitlines())
    kept = [line for line in lines if line and not line.startswith((".loc", ".file", ".version", ".section"))]
    return [re.sub(r"_Z\w+|\$L__\w+|[\w$]*__nv\w+|cudapy\w+", number, line) for line in kept]


def _in_a_line(text: str) -> str:
    return " ".join(text.split())[:300]
