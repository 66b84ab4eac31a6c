import math
from fractions import Fraction

import numpy as np
import orjson
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbench.metrics import QUANTILES, Distribution, order_statistics, requests_needed

finite = st.floats(min_value=0, max_value=1e6, allow_nan=False)


def binomial_at_most(k, n, p):
    return sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize(("q", "needed"), [(0.5, 11), (0.9, 64), (0.95, 130), (0.99, 662)])
def test_requests_needed_are_those_of_mlperfs_early_stopping(q, needed):
    assert requests_needed(q) == needed


@pytest.mark.parametrize("q", ["0.5", "0.75", "0.8", "0.9", "0.95", "0.98"])
def test_requests_needed_is_the_smallest_number_that_keeps_the_risk(q):
    beyond = 1 - Fraction(q)
    needed = requests_needed(float(q))
    assert binomial_at_most(1, needed, beyond) <= Fraction(1, 100)
    assert binomial_at_most(1, needed - 1, beyond) > Fraction(1, 100)


def test_a_low_quantile_needs_as_many_requests_as_its_mirror_image():
    assert requests_needed(0.05) == requests_needed(0.95)


@pytest.mark.parametrize("q", [0, 1, -0.5, 95])
def test_a_quantile_lies_between_0_and_1(q):
    values = Distribution(np.arange(100.0), "s")
    with pytest.raises(ValueError, match="between 0 and 1"):
        values.quantile(q)
    with pytest.raises(ValueError, match="between 0 and 1"):
        order_statistics(100, q)


@given(st.lists(finite, min_size=1, max_size=200), st.sampled_from(QUANTILES))
def test_quantiles_are_numpys_and_pandas_own_or_none(values, q):
    found = Distribution(np.array(values), "s").quantile(q)
    if len(values) < requests_needed(q):
        assert found is None
    else:
        assert found == pytest.approx(np.quantile(values, q))
        assert found == pytest.approx(pd.Series(values).quantile(q))


@pytest.mark.parametrize("q", QUANTILES)
def test_one_request_too_few_hides_a_percentile(q):
    needed = requests_needed(q)
    assert Distribution(np.arange(float(needed)), "s").quantile(q) is not None
    too_few = Distribution(np.arange(float(needed - 1)), "s")
    assert too_few.quantile(q) is None
    assert too_few.interval(q) is None
    assert too_few.why_none(q) == f"p{q * 100:g} needs {needed} requests, and there are {needed - 1}"


def test_many_gaps_of_few_requests_do_not_make_a_percentile():
    assert Distribution(np.arange(10_000.0), "s", requests=100).p95 is None
    assert Distribution(np.arange(10_000.0), "s", requests=130).p95 is not None


def test_named_statistics():
    values = Distribution(np.arange(1000.0), "s")
    assert (values.p50, values.p90, values.p95, values.p99) == tuple(np.quantile(np.arange(1000.0), QUANTILES))
    assert (values.mean, values.minimum, values.maximum, values.count, values.requests) == (499.5, 0, 999, 1000, 1000)


def test_nothing_is_none_and_never_nan():
    nothing = Distribution(np.empty(0), "s", reason="no reply was streamed")
    assert (nothing.mean, nothing.minimum, nothing.maximum, nothing.p50, nothing.interval(0.5)) == (None,) * 5
    assert nothing.why_none() == nothing.why_none(0.5) == "no reply was streamed"
    assert b"nan" not in orjson.dumps(nothing.as_dict()).lower()


def test_as_dict_holds_what_the_attributes_say():
    values = Distribution(np.arange(130.0), "s")
    told = orjson.loads(orjson.dumps(values.as_dict()))
    assert (told["p95"], told["p99"], told["count"]) == (values.p95, None, 130)
    assert tuple(told["p95_interval"]) == values.interval(0.95)


def test_values_cannot_be_changed():
    given_away = np.arange(3.0)
    Distribution(given_away, "s")
    with pytest.raises(ValueError, match="read-only"):
        given_away.fill(1)


@pytest.mark.parametrize(
    ("n", "q"), [(5, "0.5"), (6, "0.5"), (11, "0.5"), (20, "0.5"), (64, "0.9"), (130, "0.95"), (150, "0.05"), (300, "0.99")]
)
def test_order_statistics_are_the_narrowest_that_keep_both_tails(n, q):
    exact, tail = Fraction(q), Fraction(1, 40)
    ranks = order_statistics(n, float(q))
    lowest = max((rank for rank in range(1, n + 1) if binomial_at_most(rank - 1, n, exact) <= tail), default=None)
    highest = min((rank for rank in range(1, n + 1) if 1 - binomial_at_most(rank - 1, n, exact) <= tail), default=None)
    assert ranks == (None if lowest is None or highest is None else (lowest, highest))


def test_the_median_of_eleven_lies_between_the_second_and_the_tenth():
    assert Distribution(np.arange(1.0, 12.0), "s").interval(0.5) == (2, 10)


@pytest.mark.parametrize(("n", "q"), [(11, 0.5), (130, 0.5), (64, 0.9), (130, 0.95), (400, 0.95), (662, 0.99)])
def test_intervals_hold_the_true_quantile_as_often_as_they_say(n, q):
    draw = np.random.default_rng(20)
    truth = math.exp(math.sqrt(2) * _inverse_erf(2 * q - 1))
    trials = 1000
    inside = 0
    for _ in range(trials):
        low, high = Distribution(draw.lognormal(size=n), "s").interval(q)
        inside += low <= truth <= high
    error = math.sqrt(0.95 * 0.05 / trials)
    assert inside / trials > 0.95 - 4 * error
    assert inside / trials < 0.9995


def test_the_interval_of_gaps_that_hang_together_is_as_wide_as_their_requests_make_it():
    draw = np.random.default_rng(21)
    requests, gaps, trials = 40, 50, 400
    inside = naive = 0
    for _ in range(trials):
        values = np.repeat(draw.normal(size=requests), gaps) + 0.01 * draw.normal(size=requests * gaps)
        low, high = Distribution(values, "s", requests=requests).interval(0.5)
        inside += low <= 0 <= high
        low, high = Distribution(values, "s").interval(0.5)
        naive += low <= 0 <= high
    assert inside / trials > 0.92
    assert naive / trials < 0.5


@settings(max_examples=50)
@given(st.lists(finite, min_size=130, max_size=300), st.sampled_from((0.5, 0.9, 0.95)))
def test_an_interval_surrounds_the_quantile_and_consists_of_values(values, q):
    found = Distribution(np.array(values), "s")
    low, high = found.interval(q)
    assert low <= found.quantile(q) <= high
    assert {low, high} <= set(values)


def _inverse_erf(x):
    low, high = -6.0, 6.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if math.erf(middle) < x else (low, middle)
    return low
