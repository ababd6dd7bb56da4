"""Is the checker any good? Break the rungs' kernels on purpose, one small change at a time, and see it notice.

    operators      what is changed: constants, comparisons, terms, arguments, statements, barriers
    mutants        every such change of a rung's kernel, and the rung with it made
    layers         the layers that kill most mutants, tried before any are drawn
    verdict        one mutant: killed, survived, or no kernel at all
    equivalents    changes that cannot be seen in the result, each with the reason
    campaign       many mutants, in processes of their own
    report         shares, survivors, and the table of all results

`scc-numba mutants` and `make mutants` run it.
"""

from scc_numba.check.mutation.campaign import BrokenRung, run_mutants
from scc_numba.check.mutation.equivalents import Equivalent, declared, stale
from scc_numba.check.mutation.mutants import Mutant, mutants_of, sample
from scc_numba.check.mutation.verdict import Verdict, judge

__all__ = [
    "BrokenRung",
    "Equivalent",
    "Mutant",
    "Verdict",
    "declared",
    "judge",
    "mutants_of",
    "run_mutants",
    "sample",
    "stale",
]
