"""Where the authors' kernels agree with this project's operator, and where not, each with a layer that shows it."""

from fractions import Fraction
from itertools import product

import authors_equations as authors
import numpy as np
import pytest
from scc_reference import SlidingChannels, scc_forward, scc_grad_input, scc_grad_weight

GRID = list(
    product(
        (4, 8, 12, 16, 32),  # C
        (4, 16, 33),  # K
        (1, 2, 4),  # groups
        (Fraction(0), Fraction(1, 4), Fraction(33, 100), Fraction(1, 2), Fraction(3, 4)),  # overlap
    )
)


def agreement(C, K, groups, overlap):
    """Whether forward, grad_input and grad_weight agree on small integers; None where theirs divides by zero."""
    channels = SlidingChannels(C, K, groups, overlap)
    G = channels.group_width
    if int((1 - overlap) * G) == 0:
        return None
    draw = np.random.default_rng(0)
    x, weight, grad = (draw.integers(-3, 4, shape).astype(float) for shape in ((2, C, 3), (K, G), (2, K, 3)))
    return (
        np.array_equal(authors.forward(x, weight, overlap), scc_forward(x, weight, channels=channels)),
        np.array_equal(
            authors.grad_input(grad, weight, overlap, C), scc_grad_input(grad, weight, channels=channels)
        ),
        np.array_equal(authors.grad_weight(grad, x, overlap, G), scc_grad_weight(grad, x, channels=channels)),
    )


def has_whole_step(C, groups, overlap):
    return ((1 - overlap) * (C // groups)).denominator == 1


@pytest.mark.parametrize(
    ("C", "K", "groups", "overlap"),
    [row for row in GRID if has_whole_step(row[0], row[2], row[3]) and row[3] <= Fraction(1, 2)],
)
def test_agrees_where_the_step_is_whole_and_two_filters_at_most_share_a_channel(C, K, groups, overlap):
    assert agreement(C, K, groups, overlap) == (True, True, True)


@pytest.mark.parametrize(
    ("C", "K", "groups", "overlap"),
    [(8, 16, 1, 0.75), (16, 16, 2, 0.75), (32, 33, 4, 0.75)],
)
def test_differs_in_both_gradients_where_three_filters_share_a_channel(C, K, groups, overlap):
    assert agreement(C, K, groups, Fraction(str(overlap))) == (True, False, False)


@pytest.mark.parametrize(("C", "K", "groups"), [(8, 16, 2), (12, 16, 1), (16, 16, 2), (32, 33, 4)])
def test_differs_in_the_window_where_the_step_is_not_whole(C, K, groups):
    # (1 − 0.33)·G is no integer: their forward rounds k·(1 − overlap)·G, their backward (1 − overlap)·G down
    forward, _, _ = agreement(C, K, groups, Fraction(33, 100))
    assert not forward


def test_differs_in_the_window_where_float32_rounds_a_whole_step_down():
    # 0.6 is no binary fraction: 3·(1 − 0.6)·10 comes out just below 12 in float32, and is rounded down to 11
    assert [authors.start(k, 0.6, 10, 20) for k in range(4)] != [0, 4, 8, 12]
    forward, _, _ = agreement(20, 10, 2, Fraction(6, 10))
    assert not forward


def test_divides_by_zero_where_the_step_rounds_to_none():
    assert agreement(4, 4, 4, Fraction(1, 4)) is None


def test_their_gradient_is_not_that_of_their_own_forward_where_the_step_is_not_whole():
    C, K, G, overlap = 8, 8, 4, 0.33
    read = np.zeros((K, C), bool)
    for k, j in np.ndindex(K, G):
        read[k, (authors.start(k, overlap, G, C) + j) % C] = True
    visited = np.zeros((K, C), bool)
    for k, _, c in authors.visits(overlap, G, C, K):
        visited[k, c] = True
    assert not np.array_equal(read, visited)
