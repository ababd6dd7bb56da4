"""Changes that are known to make no difference: declared in equivalents.toml, each with the reason."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

from scc_numba.check.mutation.mutants import Mutant, mutants_of
from scc_numba.kernels import find_rung

FILE = Path(__file__).with_name("equivalents.toml")
Key = tuple[str, str, str, str, str, int]


@dataclass(frozen=True)
class Equivalent:
    """A change that no result can show.

    Attributes:
        rung, function, line, was, becomes, nth: which, as in `Mutant`; a line's number may change, its words not.
        reason: why it makes no difference.
    """

    rung: str
    function: str
    line: str
    was: str
    becomes: str
    reason: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.rung}, {self.function}: {self.line}\n    {self.was} → {self.becomes}, number {self.nth}"

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.rung, self.function, self.line, self.was, self.becomes, self.nth


def key_of(mutant: Mutant) -> Key:
    """What a mutant's declaration is found by."""
    return mutant.rung, mutant.function, mutant.line, mutant.was, mutant.becomes, mutant.nth


@cache
def declared(file: Path = FILE) -> dict[Key, Equivalent]:
    """All declarations of a file.

    Raises:
        ValueError: an entry lacks something, has something else, gives no reason, or is there twice.
    """
    found: dict[Key, Equivalent] = {}
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("equivalent", [])
    known = {field.name for field in fields(Equivalent)}
    for number, entry in enumerate(entries, 1):
        where = f"{file.name}, entry {number}"
        missing = sorted(known - {"nth"} - set(entry))
        if missing or set(entry) - known:
            raise ValueError(f"{where}: lacks {missing}, has unknown {sorted(set(entry) - known)}")
        if not entry["reason"].strip():
            raise ValueError(f"{where}: gives no reason")
        several = entry["becomes"] if isinstance(entry["becomes"], list) else [entry["becomes"]]
        for becomes in several:
            equivalent = Equivalent(**{**entry, "becomes": becomes})
            if equivalent.key in found:
                raise ValueError(f"{where}: {equivalent.line!r}, {equivalent.was!r} is declared twice")
            found[equivalent.key] = equivalent
    return found


def stale(equivalents: dict[Key, Equivalent]) -> list[Equivalent]:
    """Declarations that fit no change of their rung's file as it is now.

    Raises:
        ValueError: one is for a rung that does not exist.
    """
    now = {rung: {key_of(mutant) for mutant in mutants_of(rung)} for rung in {e.rung for e in equivalents.values()}}
    for rung in now:
        find_rung(rung)
    return [equivalent for key, equivalent in equivalents.items() if key not in now[equivalent.rung]]
