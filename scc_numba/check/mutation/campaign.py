"""Many mutants, one after the other, in processes of their own.

A process of its own, since a thousand compiled kernels fill memory that Numba does not give back: each process is
replaced after some. And so that Ctrl-C ends the work between two mutants, with the verdicts so far kept.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from scc_numba.check.mutation.mutants import Mutant
from scc_numba.check.mutation.verdict import Verdict, judge, kernel_holds

MUTANTS_OF_A_PROCESS = 30
PATIENCE = 5  # times the time of a mutant, after which a process that says nothing has died


HOLDS = 20  # times the same, in which a rung as it is is tried on all its layers
A_MOMENT = 0.5  # seconds, in which Ctrl-C is heard


class BrokenRung(ValueError):
    """A rung that does not hold by itself: then a mutant's death says nothing."""


def run_mutants(
    mutants: Sequence[Mutant], *, layers: int, seconds: float, processes: int = 1
) -> Iterator[Verdict | str]:
    """Verdicts as they come; before those of a rung its name, when it is found to hold by itself.

    Args:
        mutants: what to try.
        layers: how many layers are drawn for a mutant that holds on the chosen ones.
        seconds: the time for one mutant; see `judge`.
        processes: how many to run at once.

    Raises:
        BrokenRung: a rung breaks a property with no change made.
        RuntimeError: a process died.
    """
    # fork would copy locks that other threads hold; forkserver is as quick, where there is one
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if "forkserver" in methods:
        context.set_forkserver_preload([__name__])
    with (
        tempfile.TemporaryDirectory(prefix="scc-numba-mutants-") as cache,
        context.Pool(processes, _begin, (cache,), maxtasksperchild=MUTANTS_OF_A_PROCESS) as pool,
    ):
        for rung in dict.fromkeys(mutant.rung for mutant in mutants):
            ((_, problem),) = _patiently(pool.imap(_holds, [rung]), HOLDS * seconds)
            if problem is not None:
                raise BrokenRung(f"rung {rung} is wrong as it is, so no mutant of it can be judged: {problem}")
            yield rung
            its_own = [mutant for mutant in mutants if mutant.rung == rung]
            verdicts = pool.imap_unordered(partial(judge, layers=layers, seconds=seconds), its_own)
            yield from _patiently(verdicts, PATIENCE * seconds + 60)


def _holds(rung: str) -> tuple[str, str | None]:
    return rung, kernel_holds(rung)


def _begin(cache: str) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that asked is told, and ends this one
    os.environ["SCC_NUMBA_CACHE_DIR"] = cache  # nobody wants a mutant's code a second time


def _patiently(results: Any, seconds: float) -> Iterator[Any]:
    waited = 0.0
    while True:
        try:
            result = results.next(timeout=A_MOMENT)
        except multiprocessing.TimeoutError:
            waited += A_MOMENT
            if waited > seconds:
                raise RuntimeError(f"no verdict for {waited:.0f} s: a process has died, or hangs") from None
        except StopIteration:
            return
        else:
            waited = 0.0
            yield result
