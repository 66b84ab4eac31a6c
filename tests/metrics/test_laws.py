"""The laws behind the intervals, against published values."""

import math

import numpy as np
import pytest

from fmbench.metrics.correlation import block_correlation, effective_size, ratio_error
from fmbench.metrics.laws import beta_cdf, beta_quantile, share_interval, student_quantile


@pytest.mark.parametrize(
    ("freedom", "p", "value"), [(9, 0.975, 2.2622), (29, 0.975, 2.0452), (1, 0.975, 12.7062), (4, 0.95, 2.1318)]
)
def test_students_quantiles_are_the_tables(freedom, p, value):
    assert student_quantile(p, freedom) == pytest.approx(value, abs=5e-5)


def test_the_beta_law_has_its_closed_forms():
    for x in (0.01, 0.3, 0.5, 0.99):
        assert beta_cdf(x, 1, 1) == pytest.approx(x)
        assert beta_cdf(x, 3, 1) == pytest.approx(x**3)
        assert beta_cdf(x, 1, 4) == pytest.approx(1 - (1 - x) ** 4)
    assert beta_quantile(0.25, 2, 1) == pytest.approx(0.5)
    assert (beta_cdf(0, 2, 3), beta_cdf(1, 2, 3)) == (0, 1)


def test_the_binomial_tail_is_the_beta_law():
    n, k, p = 130, 4, 0.05
    tail = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))
    assert 1 - beta_cdf(p, k + 1, n - k) == pytest.approx(tail)


def test_clopper_and_pearsons_interval_is_the_published_one():
    assert share_interval(10, 100) == pytest.approx((0.0490, 0.1762), abs=1e-4)
    assert share_interval(0, 100) == pytest.approx((0, 1 - 0.025**0.01))
    assert share_interval(100, 100) == pytest.approx((0.025**0.01, 1))


def correlated(rng, count, keep):
    noise, values, value = rng.normal(size=count), np.empty(count), 0.0
    for place, step in enumerate(noise):
        value = keep * value + math.sqrt(1 - keep**2) * step
        values[place] = value
    return values


def test_independent_values_count_fully_and_correlated_ones_for_less():
    rng = np.random.default_rng(3)
    sizes = {}
    for keep in (0.0, 0.9):
        over = [(correlated(rng, 10_000, keep) > 1.645).astype(float) for _ in range(20)]
        sizes[keep] = float(np.mean([effective_size(one, np.ones(10_000), 10_000) for one in over]))
    assert sizes[0.0] > 7_000
    assert 500 < sizes[0.9] < 2_500


def test_the_interval_of_a_correlated_mean_covers_it():
    rng = np.random.default_rng(4)
    hits = naive = 0
    for _ in range(200):
        values = 5 + correlated(rng, 3_000, 0.9)
        low, high = ratio_error(values, np.ones(3_000)).interval()
        hits += low <= 5 <= high
        naive += abs(values.mean() - 5) <= 1.96 * values.std() / math.sqrt(3_000)
    assert hits >= 180
    assert naive < 120


def test_blocks_shorter_than_what_happens_are_alike():
    rng = np.random.default_rng(5)
    assert block_correlation(rng.normal(size=4_000)) < 0.3
    assert block_correlation(np.cumsum(rng.normal(size=4_000))) > 0.5


def test_too_few_values_have_no_error():
    assert ratio_error(np.ones(9), np.ones(9)) is None
    assert effective_size(np.ones(9), np.ones(9), 9) == 1
