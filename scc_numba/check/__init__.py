"""Is a kernel right? The checker of this project's tests, of its command and of its exercises.

    >>> from scc_numba.check import check
    >>> from scc_numba.kernels import find_rung
    >>> result = check(find_rung("f1"), "forward", max_examples=50)
    >>> result.passed
    True

`check` takes any callable with the signature of `Rung.run`. It draws layers, puts the callable through the
properties in `scc_numba.check.properties`, and reports the smallest layer that breaks one.
"""

from scc_numba.check.checker import CheckResult, Failure, check
from scc_numba.check.properties import PROPERTIES
from scc_numba.check.strategies import Case, cases
from scc_numba.check.tolerance import errors_in_bounds

__all__ = ["PROPERTIES", "Case", "CheckResult", "Failure", "cases", "check", "errors_in_bounds"]
