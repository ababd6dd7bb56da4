"""Every known-wrong kernel is caught, and by the property that is there for it."""

import pytest
from gallery import GALLERY

from scc_numba.check import check
from scc_numba.device import backend


@pytest.mark.parametrize("wrong", GALLERY, ids=lambda wrong: wrong.name)
def test_is_caught(wrong):
    if wrong.refused and backend().name != "emulator":
        pytest.skip("only the emulator sees memory accesses: elsewhere the result may be right by luck")
    result = check(wrong.run, wrong.op, max_examples=100, deterministic=wrong.name == "order of the day" or None)
    assert not result.passed
    assert result.failure.property == wrong.caught_by, str(result)
    if wrong.refused:
        assert wrong.refused in result.failure.difference
    else:
        assert "raises" not in result.failure.difference, "caught for another reason"


def test_names_are_unique():
    names = [wrong.name for wrong in GALLERY]
    assert len(set(names)) == len(names) >= 8
