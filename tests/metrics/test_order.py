"""Order statistics and quantiles are exact, whether values are held, read again, or met in passes."""

import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fmbench.metrics import Distribution, order_statistics
from fmbench.metrics.distribution import asked_ranks
from fmbench.metrics.order import Held, Passes, Reread, Spread, select

SHARES = [0, 0.001, 0.25, 0.5, 0.9, 0.95, 0.99, 1]


def chunked(values, size):
    return [np.array(values[start : start + size], np.int64) for start in range(0, len(values), size)]


def spread_of(chunks):
    spread = Spread()
    for chunk in chunks:
        spread.add(chunk)
    return spread


whole_numbers = st.one_of(
    st.lists(st.integers(-5, 5), min_size=1, max_size=60),  # many alike
    st.lists(st.integers(9_000_000, 11_000_000), min_size=1, max_size=200),  # gaps of 10 ms
    st.lists(st.integers(-(2**52), 2**52), min_size=1, max_size=60),
)


@given(whole_numbers, st.integers(1, 7))
@example([7] * 20, 3)
@example([0, 2**52], 1)
def test_every_rank_is_found_in_passes(values, size):
    chunks = chunked(values, size)
    found = select(lambda: chunks, range(len(values)), min(values), max(values))
    assert [found[rank] for rank in range(len(values))] == sorted(values)


def test_few_passes_are_enough_for_gaps_of_every_length():
    numbers = np.random.default_rng(1)
    for middle in (1e4, 1e7, 1e9, 1e11):
        values = np.abs(numbers.normal(middle, middle / 50, 20_000)).astype(np.int64)
        passes = 0

        def chunks(values=values):
            nonlocal passes
            passes += 1
            yield from np.array_split(values, 7)

        ranks = asked_ranks(len(values), 5000)
        found = select(chunks, ranks, int(values.min()), int(values.max()))
        assert np.array_equal([found[rank] for rank in ranks], np.sort(values)[ranks])
        assert passes <= 3


@given(whole_numbers, st.integers(1, 7))
def test_quantiles_in_passes_are_numpys_to_the_last_bit(values, size):
    chunks = chunked(values, size)
    seconds = np.array(values) / 1e9
    passing = Distribution(Passes(lambda: chunks, spread_of(chunks)), "s")
    held = Distribution(seconds, "s")
    again = Distribution(Reread(seconds, seconds.copy, asked_ranks(len(values), len(values))), "s")
    for one in (passing, held, again):
        assert one.curve(SHARES) == np.quantile(seconds, SHARES).tolist()
        assert (one.count, one.minimum, one.maximum) == (len(values), seconds.min(), seconds.max())
        assert one.mean == pytest.approx(seconds.mean(), rel=1e-12, abs=1e-9)
        assert one.values.tolist() == seconds.tolist()
        assert not one.values.flags.writeable
        assert [one.interval(q) for q in (0.5, 0.9)] == [held.interval(q) for q in (0.5, 0.9)]


def test_what_is_reported_is_asked_for_at_once():
    values = np.arange(1000) * 1_000_000
    passes = []

    def chunks():
        passes.append(1)
        return [values]

    found = Distribution(Passes(chunks, spread_of([values])), "s", requests=700)
    said = found.as_dict()
    first = len(passes)
    assert found.as_dict() == said
    assert len(passes) == first <= 2
    assert said == Distribution(values / 1e9, "s", requests=700).as_dict()


def test_values_that_were_let_go_are_made_again_only_for_what_nobody_expected():
    values = np.random.default_rng(2).random(700)
    calls = []

    def again():
        calls.append(1)
        return values.copy()

    found = Distribution(Reread(values.copy(), again, asked_ranks(700, 700)), "s")
    said, held = found.as_dict(), Distribution(values, "s").as_dict()
    assert said.pop("mean") == pytest.approx(held.pop("mean"))
    assert said == held
    assert not calls
    assert found.quantile(0.75) == np.quantile(values, 0.75)
    assert len(calls) == 1
    assert np.array_equal(found.values, values)


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50))
def test_held_values_answer_like_numpy(values):
    held = Held(np.array(values))
    assert list(held.at(range(len(values)))) == sorted(values)
    assert Distribution(np.array(values), "s").curve(SHARES) == pytest.approx(np.quantile(values, SHARES), rel=0, abs=0)


def at_most(n, q, k):
    """P(Binomial(n, q) <= k), without rounding."""
    q = Fraction(q)
    return sum(math.comb(n, i) * q**i * (1 - q) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize(("n", "q"), [(30, 0.5), (130, 0.95), (400, 0.9), (700, 0.99), (1500, 0.25)])
def test_the_ranks_of_an_interval_are_those_of_the_exact_binomial_law(n, q):
    lower, upper = order_statistics(n, q)
    tail = Fraction(1, 40)
    assert at_most(n, q, lower - 1) <= tail < at_most(n, q, lower)
    assert at_most(n, q, upper - 2) < 1 - tail <= at_most(n, q, upper - 1)


def test_the_interval_of_a_million_holds_the_quantile_nineteen_times_in_twenty():
    lower, upper = order_statistics(1_000_000, 0.95)
    sigma = math.sqrt(1_000_000 * 0.95 * 0.05)
    assert lower == pytest.approx(950_000 - 1.96 * sigma, abs=3)
    assert upper == pytest.approx(950_000 + 1.96 * sigma, abs=3)
    draw = random.Random(3)
    inside = sum(lower <= round(draw.gauss(950_000, sigma)) < upper for _ in range(4000))
    assert 0.94 < inside / 4000 < 0.96
