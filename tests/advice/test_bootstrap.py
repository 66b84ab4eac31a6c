"""The block bootstrap and the laws beside it, against closed forms and published tables."""

import math

import numpy as np
import pytest

from fmbench.advice.bootstrap import block_length, draws, widening
from fmbench.advice.chance import fisher_tail, holm, share_difference, student_tail
from fmbench.metrics.laws import student_quantile


def autoregressive(count, rho, rng):
    noise = rng.standard_normal(count + 200) * math.sqrt(1 - rho**2)
    values = np.zeros(count + 200)
    for index in range(1, len(values)):
        values[index] = rho * values[index - 1] + noise[index]
    return values[200:]


def test_blocks_grow_with_how_long_neighbours_hang_together():
    rng = np.random.default_rng(1)
    lengths = [np.median([block_length(autoregressive(1000, rho, rng)) for _ in range(20)]) for rho in (0.0, 0.5, 0.9)]
    # A twentieth of the series at least, a sixth of it at most.
    assert lengths[0] == lengths[1] == 50 < lengths[2] <= 1000 / 6
    assert block_length(autoregressive(1000, 0.0, rng), neighbours=30) >= 120


@pytest.mark.parametrize("values", [np.zeros(0), np.ones(5), np.full(100, 2.5)])
def test_a_series_without_anything_to_hang_together_has_blocks_of_one(values):
    assert block_length(values) == 1


def test_draws_are_whole_blocks_of_neighbours_round_the_end():
    drawn, scale = draws(100, 10, 200, np.random.default_rng(2))
    assert drawn.shape == (200, 100)
    assert (drawn.sum(axis=1) == 100).all()
    assert scale == 1
    changes = (drawn != np.roll(drawn, 1, axis=1)).sum(axis=1)
    assert changes.max() <= 20  # ten blocks have twenty edges
    uneven, scale = draws(95, 10, 50, np.random.default_rng(3))
    assert (uneven.sum(axis=1) == 100).all()
    assert scale == pytest.approx(math.sqrt(100 / 95))


def test_the_spread_of_drawn_means_is_that_of_the_mean():
    """The variance of an AR(1) mean is known: (1 + rho) / (1 - rho) / n."""
    rng = np.random.default_rng(4)
    found = []
    for _ in range(60):
        values = autoregressive(600, 0.6, rng)
        length = block_length(values)
        drawn, scale = draws(600, length, 300, rng)
        means = (drawn @ values) / drawn.sum(axis=1)
        found.append((means.std(ddof=1) * scale * widening(values, length)) ** 2)
    assert np.mean(found) == pytest.approx(1.6 / 0.4 / 600, rel=0.2)


def test_what_still_hangs_together_widens_and_never_narrows():
    rng = np.random.default_rng(5)
    assert widening(autoregressive(2000, 0.95, rng), 3) > 1.5
    alternating = np.tile([1.0, -1.0], 200)
    assert widening(alternating, 1) == 1
    assert widening(np.zeros(10), 1) == widening(np.array([1.0, 2.0]), 1) == 1


@pytest.mark.parametrize(
    ("value", "freedom", "tail"), [(2.228, 10, 0.025), (12.706, 1, 0.025), (1.645, 1e6, 0.05), (0, 3, 0.5)]
)
def test_students_tails_are_the_tables(value, freedom, tail):
    assert student_tail(value, freedom) == pytest.approx(tail, rel=1e-3)
    assert student_tail(-value, freedom) == pytest.approx(1 - tail, rel=1e-3)
    if value:
        assert student_quantile(1 - tail, freedom) == pytest.approx(value, rel=1e-3)


def test_fishers_test_is_that_of_the_tea_tasting_lady():
    assert fisher_tail((1, 3), (4, 4)) == pytest.approx(17 / 70)
    assert fisher_tail((0, 0), (10, 10)) == 1


def test_newcombes_interval_is_the_published_one():
    """Newcombe 1998, table II, case (a), method 10: 56/70 - 48/80."""
    assert share_difference((48, 56), (80, 70)) == pytest.approx((0.0524, 0.3339), abs=1e-4)


def test_holms_adjustment():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]
