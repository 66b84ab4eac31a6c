"""Loads are pure plans: the same each time, each request once, streams apart."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmbench.errors import ConfigError
from fmbench.load import Concurrency, ConstantRate, Poisson


@given(n=st.integers(1, 9), requests=st.integers(1, 60), warmup=st.integers(0, 12), prompts=st.integers(1, 30))
def test_a_closed_plan_deals_every_request_to_one_stream(n, requests, warmup, prompts):
    load = Concurrency(n, requests=requests)
    planned = [item for stream in range(n) for item in load.plan(prompts, warmup=warmup, stream=stream)]
    assert sorted(item.number for item in planned) == list(range(warmup + requests))
    assert sum(item.measured for item in planned) == requests
    assert all(item.prompt == (item.number - warmup) % prompts for item in planned)


def test_warmup_takes_the_prompts_that_come_last():
    planned = list(Concurrency(1, requests=2).plan(10, warmup=3))
    assert [item.prompt for item in planned] == [7, 8, 9, 0, 1]


@given(rate=st.floats(0.1, 1000), requests=st.integers(1, 50), warmup=st.integers(0, 5))
def test_a_constant_rate_has_equal_gaps(rate, requests, warmup):
    due = [item.due_seconds for item in ConstantRate(rate, requests=requests).plan(7, warmup=warmup)]
    assert len(due) == requests + warmup
    assert due[0] == 0
    assert all(later - earlier == pytest.approx(1 / rate) for earlier, later in pairwise(due))


def test_seconds_count_the_measured_part():
    planned = list(ConstantRate(10, seconds=2).plan(5, warmup=7))
    assert sum(item.measured for item in planned) == 20


def test_poisson_arrivals_pass_for_poisson():
    due = [item.due_seconds for item in Poisson(50, seed=11, requests=20000).plan(5, warmup=0)]
    counts = {}
    for at in due:
        counts[int(at)] = counts.get(int(at), 0) + 1
    whole = [counts.get(second, 0) for second in range(int(due[-1]))]
    mean = sum(whole) / len(whole)
    dispersion = sum((count - mean) ** 2 for count in whole) / (len(whole) - 1) / mean
    assert mean == pytest.approx(50, rel=0.03)
    assert dispersion == pytest.approx(1, abs=0.25)
    assert [item.due_seconds for item in Poisson(50, seed=12, requests=9).plan(5, warmup=0)] != due[:9]


@pytest.mark.parametrize(
    "make",
    [lambda: Concurrency(0), lambda: Concurrency(1, requests=0), lambda: Poisson(0), lambda: ConstantRate(1, seconds=-1)],
)
def test_a_load_that_makes_no_sense_is_refused(make):
    with pytest.raises(ConfigError):
        make()


def test_loads_read_well():
    assert [str(load) for load in (Concurrency(4), ConstantRate(2.5), Poisson(3))] == ["concurrency 4", "2.5/s", "Poisson 3/s"]
