"""`check`: draw layers, try every property on each, and report the smallest layer that breaks one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import hypothesis
from hypothesis.errors import FlakyFailure

from scc_numba.check.picture import draw_window
from scc_numba.check.properties import ABOUT_WINDOWS, PROPERTIES, Property, returns_an_array
from scc_numba.check.strategies import Case, cases
from scc_numba.check.trial import Broken, Trial
from scc_numba.device import backend
from scc_numba.device.number import in_numpy, is_floating, number_type
from scc_numba.kernels import OPS, Op, Rung, Tile
from scc_numba.kernels.rung import closest

DTYPES = ("float32", "float64")  # that are drawn for a callable which does not say what it computes in


@dataclass(frozen=True)
class Failure:
    """The smallest layer found that breaks a property.

    Attributes:
        property: name of the property, a function in `scc_numba.check.properties`.
        promise: what it says, in a sentence.
        case: the layer and its data's seed.
        tile: the rung's tile, if it is a rung.
        difference: what differs, and where.
        picture: the window concerned, as it should be read and as it is; "" where no window is concerned.
        also: names of the other properties that this layer breaks.
        always: False if the failure did not come back when the same case was tried again.
    """

    property: str
    promise: str
    case: Case
    tile: Tile | None
    difference: str
    picture: str
    also: tuple[str, ...]
    always: bool = True

    def __str__(self) -> str:
        lines = [
            f"property   {self.property}: {self.promise}",
            f"layer      {self.case}" + (f", tile {self.tile}" if self.tile else ""),
            f"difference {self.difference}",
        ]
        if self.also:
            lines.append(f"also broken {', '.join(self.also)}")
        if not self.always:
            lines.append("the failure comes and goes on the same data: suspect a race or memory never written")
        return "\n".join(lines) + (f"\n\n{self.picture}" if self.picture else "")


@dataclass(frozen=True)
class CheckResult:
    """What `check` found.

    Attributes:
        op: the operation.
        examples: how many layers were tried until the first failure, or in all.
        failure: None if every property held on every layer.
    """

    op: Op
    examples: int
    failure: Failure | None

    @property
    def passed(self) -> bool:
        """Whether nothing failed."""
        return self.failure is None

    @property
    def _layers(self) -> str:
        return f"{self.examples} layer{'s' if self.examples != 1 else ''}"

    def __str__(self) -> str:
        if self.failure is None:
            return f"right: {self.op} holds all {len(PROPERTIES)} properties on {self._layers}"
        return f"wrong: {self.op} fails after {self._layers}; the smallest failing one:\n\n{self.failure}"


def check(
    run: Callable[..., Any] | Rung,
    op: Op,
    *,
    max_examples: int = 100,
    dtypes: Sequence[str] | str | None = None,
    seed: int = 0,
    deterministic: bool | None = None,
    shrink: bool = True,
    on_example: Callable[[int], None] | None = None,
) -> CheckResult:
    """Hold a callable to the properties of `scc_numba.check.properties`, on drawn layers.

    Args:
        run: called as `Rung.run`: `run(x, weight, bias=None, channels=…)`, `run(grad_output, weight, channels=…)`
            or `run(grad_output, x, channels=…)`, NumPy in and out. A `Rung` is tried at the tiles it offers.
        op: "forward", "grad_input" or "grad_weight".
        max_examples: how many layers to draw.
        dtypes: the types to draw, by name; by default those of the rung, float32 and float64 where it is none.
            16-bit types are accumulated in float32, and rounded once. bfloat16 needs the package ml_dtypes.
        seed: the same seed draws the same layers.
        deterministic: whether two runs must give the same bits; by default, what the rung says, else no.
        shrink: whether to look for the smallest layer that fails; without, the first one found is reported.
        on_example: called with the number of layers tried so far.

    Returns:
        The result; nothing is raised for a wrong kernel.

    Raises:
        ValueError: there is no such operation, or the rung is of another.
        TypeError: what is to be checked cannot be called.
        NoBackend: the rung cannot run, for a reason that is not its own.
    """
    if not (callable(run) or isinstance(run, Rung)):
        hint = f"; find_rung({run!r}) gives the rung of that name" if isinstance(run, str) else ""
        raise TypeError(f"run={run!r} cannot be called{hint}")
    if op not in OPS:
        raise ValueError(f"op={op!r} is not an operation: {closest(str(op), OPS)}")
    if not isinstance(max_examples, int) or max_examples < 1:
        raise ValueError(f"max_examples={max_examples!r} must be a whole number, at least 1")
    rung = run if isinstance(run, Rung) else None
    if dtypes is None:
        dtypes = in_numpy(DTYPES if rung is None else rung.dtypes)
    dtypes = _floating_dtypes(dtypes)
    if rung is not None:
        if rung.op != op:
            raise ValueError(f"op={op!r}, but rung {rung.name} computes {rung.op}")
        supported = [dtype for dtype in dtypes if dtype in rung.dtypes]
        if not supported:
            raise ValueError(f"dtypes={dtypes}, but rung {rung.name} computes in {' or '.join(rung.dtypes)}")
        dtypes = supported
        deterministic = rung.deterministic if deterministic is None else deterministic
        backend()  # one that cannot start is not the kernel's fault, and is raised here
    call: Callable[..., Any] = rung.run if rung is not None else run  # type: ignore[assignment]

    def trial(case: Case) -> Trial:
        return Trial(op, call, rung, case, bool(deterministic))

    search = _Search(trial, on_example, ENOUGH_FAILURES if shrink else 1)
    search.run(max_examples, dtypes, seed)
    if not search.broken:
        return CheckResult(op, search.examples, None)
    holds = next(holds for holds in PROPERTIES if holds in search.broken)
    if not shrink:
        return CheckResult(op, search.first_failure, _as_found(holds, *search.broken[holds]))
    failure = _smallest(holds, trial, max_examples, dtypes, seed)
    return CheckResult(op, search.first_failure, failure or _failure(holds, *search.broken[holds], always=False))


def _floating_dtypes(dtypes: Sequence[Any] | str) -> list[str]:
    """Names of dtypes, given as one or several; an error for none, or for one that is not floating."""
    types = [number_type(dtype) for dtype in ([dtypes] if isinstance(dtypes, str) else dtypes)]
    if not types or not all(map(is_floating, types)):
        raise ValueError(f"dtypes={dtypes!r} must name one floating-point type or more, such as float32")
    names = [dtype.name for dtype in types]
    if in_numpy(names) != tuple(names):
        raise ValueError(f"dtypes={dtypes!r}: NumPy has bfloat16 from the package ml_dtypes; pip install ml_dtypes")
    return names


ENOUGH_FAILURES = 12  # drawn layers that fail, after which no better name for the mistake is expected


class _Search:
    """Draws layers and notes which properties break; does not shrink yet.

    One drawn layer can break a lesser property by chance (the smallest has one channel and one pixel), so some
    more are drawn before the mistake is named.
    """

    def __init__(
        self, trial: Callable[[Case], Trial], on_example: Callable[[int], None] | None, enough: int
    ) -> None:
        self.trial, self.on_example, self.enough = trial, on_example, enough
        self.examples = self.failures = self.first_failure = 0
        self.broken: dict[Property, tuple[Trial, Broken]] = {}

    def run(self, max_examples: int, dtypes: Sequence[str], seed: int) -> None:
        """Draw until enough layers failed, or all passed."""

        @_drawn(max_examples, dtypes, seed, hypothesis.Phase.generate)
        def look(case: Case) -> None:
            if self.failures >= self.enough:
                return  # Hypothesis cannot be told to stop, but need not be kept busy
            self.examples += 1
            if self.on_example is not None:
                self.on_example(self.examples)
            trial = self.trial(case)
            for holds in PROPERTIES:
                broken = broken_by(holds, trial)
                if broken is not None:
                    self.failures += 1
                    self.first_failure = self.first_failure or self.examples
                    self.broken.setdefault(holds, (trial, broken))
                    break

        look()


def _smallest(
    holds: Property, trial: Callable[[Case], Trial], max_examples: int, dtypes: Sequence[str], seed: int
) -> Failure | None:
    """The smallest layer on which one property breaks, or None if it did not break again."""
    latest: list[tuple[Trial, Broken]] = []

    @_drawn(max_examples, dtypes, seed, hypothesis.Phase.generate, hypothesis.Phase.shrink)
    def shrink(case: Case) -> None:
        attempt = trial(case)
        broken = broken_by(holds, attempt)
        if broken is not None:
            latest.append((attempt, broken))
            raise broken

    always = False
    try:
        shrink()
    except Broken:
        always = True
    except FlakyFailure:
        pass  # the failure came and went: `always` says so
    return _failure(holds, *latest[-1], always=always) if latest else None


def _drawn(max_examples: int, dtypes: Sequence[str], seed: int, *phases: hypothesis.Phase) -> Callable[[Any], Any]:
    """Hypothesis, set up to draw the same cases for the same seed."""

    def decorate(test: Callable[[Case], None]) -> Callable[[], None]:
        settings = hypothesis.settings(
            max_examples=max_examples,
            deadline=None,
            database=None,
            report_multiple_bugs=False,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=phases,
            print_blob=False,
        )
        return hypothesis.seed(seed)(settings(hypothesis.given(case=cases(dtypes))(test)))

    return decorate


def _failure(holds: Property, trial: Trial, broken: Broken, always: bool) -> Failure:
    fresh = Trial(trial.op, trial.run, trial.rung, trial.case, trial.deterministic)
    # what raises raises everywhere: that it does so once is enough to say
    others = PROPERTIES if holds is not returns_an_array else ()
    also = [other.__name__ for other in others if other is not holds and broken_by(other, fresh)]
    picture = draw_window(fresh, broken.filter_) if holds in ABOUT_WINDOWS else ""
    return replace(_as_found(holds, trial, broken), picture=picture, also=tuple(also), always=always)


def _as_found(holds: Property, trial: Trial, broken: Broken) -> Failure:
    promise = " ".join((holds.__doc__ or "").split())
    return Failure(holds.__name__, promise, trial.case, trial.tile, str(broken), picture="", also=())


def broken_by(holds: Property, trial: Trial) -> Broken | None:
    """How a trial breaks a property, or None."""
    try:
        holds(trial)
    except Broken as broken:
        return broken
    return None
