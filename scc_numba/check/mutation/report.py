"""What came of a campaign, in words and as a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scc_numba.check.mutation.equivalents import Equivalent, Key, key_of
from scc_numba.check.mutation.verdict import Verdict

TO_DIE = 0.95  # of all mutants that are kernels
COLUMNS = (
    "rung", "function", "line_number", "line", "kind", "was", "becomes", "nth", "state", "by", "where", "said",
    "same_code", "equivalent", "seconds",
)  # fmt: skip


@dataclass(frozen=True)
class Share:
    """How the mutants of one rung, or of several, fared.

    Attributes:
        name: of the rung.
        killed: broke a property.
        equivalent: survived, and are declared to make no difference.
        survived: survived, and ask for a reason or a test.
        stillborn: no kernels; counted nowhere.
    """

    name: str
    killed: int
    equivalent: int
    survived: int
    stillborn: int

    @property
    def kernels(self) -> int:
        """All that were compiled."""
        return self.killed + self.equivalent + self.survived

    @property
    def of_all(self) -> float:
        """The killed as a share of all that are kernels, the equivalent ones among them; 1 where there are none."""
        return self.killed / self.kernels if self.kernels else 1.0

    @property
    def of_those_that_differ(self) -> float:
        """The killed as a share of those that are not declared equivalent."""
        return self.killed / (self.killed + self.survived) if self.killed + self.survived else 1.0


def shares(verdicts: Sequence[Verdict], equivalents: dict[Key, Equivalent]) -> list[Share]:
    """One for each rung, in the order of the verdicts, and one for all."""
    rungs = list(dict.fromkeys(verdict.mutant.rung for verdict in verdicts))
    return [_share(rung, [v for v in verdicts if v.mutant.rung == rung], equivalents) for rung in rungs] + [
        _share("all", verdicts, equivalents)
    ]


def _share(name: str, verdicts: Iterable[Verdict], equivalents: dict[Key, Equivalent]) -> Share:
    counts = {"killed": 0, "equivalent": 0, "survived": 0, "stillborn": 0}
    for verdict in verdicts:
        known = verdict.state == "survived" and key_of(verdict.mutant) in equivalents
        counts["equivalent" if known else verdict.state] += 1
    return Share(name, **counts)


def survivors(verdicts: Iterable[Verdict], equivalents: dict[Key, Equivalent]) -> list[str]:
    """Each survivor: its line, the change, and why it is equivalent, or what is known of it."""
    found = []
    for verdict in verdicts:
        if verdict.state != "survived":
            continue
        known = equivalents.get(key_of(verdict.mutant))
        if known is not None:
            why = f"equivalent: {known.reason}"
        elif verdict.same_code:
            why = f"asks for a layer on which the compiled code differs: held {verdict.where}"
        else:
            why = f"asks for a test, or for a reason: held {verdict.where}"
        found.append(f"{verdict.mutant}\n    {why}")
    return found


def contradictions(verdicts: Iterable[Verdict], equivalents: dict[Key, Equivalent]) -> list[str]:
    """Mutants that are declared equivalent, and died."""
    return [
        f"{verdict.mutant}\n    is declared equivalent, but breaks {verdict.by} on {verdict.where}"
        for verdict in verdicts
        if verdict.state == "killed" and key_of(verdict.mutant) in equivalents
    ]


def to_csv(verdicts: Iterable[Verdict], equivalents: dict[Key, Equivalent]) -> str:
    """All verdicts, a line each, in the columns `COLUMNS`."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for verdict in verdicts:
        known = equivalents.get(key_of(verdict.mutant))
        values = {**vars(verdict.mutant), **vars(verdict), "equivalent": known.reason if known else ""}
        values["seconds"] = f"{verdict.seconds:.1f}"
        table.writerow([values[column] for column in COLUMNS])
    return text.getvalue()
