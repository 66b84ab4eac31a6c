"""Loads are pure plans: the same each time, each request once, streams apart."""

import math
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmbench.errors import ConfigError
from fmbench.load import Concurrency, ConstantRate, Gamma, Load, Poisson, Ramp, Replay
from fmbench.types import Prompt

STEADY = [ConstantRate(7), Poisson(7), Gamma(7, 0.5)]
OPEN = [*STEADY, Ramp(2, 12), Replay()]


def prompts(count, gap=0.25):
    return [Prompt(id=f"p{number}", text="x", at_seconds=3 + number * gap) for number in range(count)]


def planned(load, count=7, warmup=0):
    return list(load.plan(load.arranged(prompts(count)), warmup=warmup))


def due(load, count=7, warmup=0):
    return [item.due_seconds for item in planned(load, count, warmup)]


def with_stop(load, **stop):
    return type(load)(**{name: getattr(load, name) for name in load.__slots__} | stop)


@given(n=st.integers(1, 9), requests=st.integers(1, 60), warmup=st.integers(0, 12), count=st.integers(1, 30))
def test_a_closed_plan_deals_every_request_to_one_stream(n, requests, warmup, count):
    load = Concurrency(n, requests=requests)
    dealt = [item for stream in range(n) for item in load.plan(prompts(count), warmup=warmup, stream=stream)]
    assert sorted(item.number for item in dealt) == list(range(warmup + requests))
    assert sum(item.measured for item in dealt) == requests
    assert all(item.prompt == (item.number - warmup) % count for item in dealt)


@pytest.mark.parametrize("load", [Concurrency(1, requests=2), *(with_stop(load, requests=2) for load in OPEN)], ids=str)
def test_warmup_takes_the_prompts_that_come_last(load):
    assert [item.prompt for item in planned(load, 10, warmup=3)] == [7, 8, 9, 0, 1]


@pytest.mark.parametrize("load", OPEN, ids=str)
@given(requests=st.integers(1, 60), warmup=st.integers(0, 12), count=st.integers(1, 30))
def test_an_open_plan_numbers_its_requests_in_the_order_in_which_they_are_due(load, requests, warmup, count):
    dealt = planned(with_stop(load, requests=requests), count, warmup)
    assert [item.number for item in dealt] == list(range(warmup + requests))
    assert [item.measured for item in dealt] == [False] * warmup + [True] * requests
    assert dealt[0].due_seconds == 0
    assert all(earlier.due_seconds <= later.due_seconds for earlier, later in pairwise(dealt))
    assert dealt == planned(with_stop(load, requests=requests), count, warmup)


@pytest.mark.parametrize("load", OPEN, ids=str)
def test_what_is_measured_is_due_at_the_same_distances_with_and_without_warmup(load):
    load = with_stop(load, requests=40)
    without, behind = due(load, 30), due(load, 30, warmup=9)
    assert [at - behind[9] for at in behind[9:]] == pytest.approx(without, abs=1e-9)


@pytest.mark.parametrize("load", OPEN, ids=str)
def test_an_open_load_stops_by_requests_by_seconds_or_by_what_comes_first(load):
    assert len(due(load, 10)) == 130
    assert len(due(load, 150)) == 150
    for_ten = due(with_stop(load, seconds=10), 30)
    assert all(at < 10 for at in for_ten)
    assert len(for_ten) > 20
    assert due(with_stop(load, seconds=10, requests=12), 30) == for_ten[:12]
    assert len(due(with_stop(load, seconds=10, requests=12), 30)) == 12
    assert due(with_stop(load, seconds=10, requests=10_000), 30) == for_ten


@pytest.mark.parametrize("load", OPEN, ids=str)
@pytest.mark.parametrize("stop", [{}, {"requests": 40}, {"seconds": 3}, {"seconds": 3, "requests": 4}])
def test_sending_lasts_as_long_as_is_told_beforehand(load, stop):
    load = with_stop(load, **stop)
    last = due(load, 30, warmup=5)[-1]
    told = load.sending_seconds(load.arranged(prompts(30)), warmup=5)
    start = due(load, 30, warmup=5)[5]
    assert told == pytest.approx(start + 3 if stop == {"seconds": 3} else last)
    if not isinstance(load, Replay):
        assert load.sending_seconds(None, warmup=5) == (pytest.approx(told) if stop else None)


@given(rate=st.floats(0.1, 1000), requests=st.integers(1, 50), warmup=st.integers(0, 5))
def test_a_constant_rate_has_equal_gaps(rate, requests, warmup):
    at = due(ConstantRate(rate, requests=requests), warmup=warmup)
    assert len(at) == requests + warmup
    assert all(later - earlier == pytest.approx(1 / rate) for earlier, later in pairwise(at))


def test_seconds_count_the_measured_part():
    assert sum(item.measured for item in planned(ConstantRate(10, seconds=2), warmup=7)) == 20


# The gaps' distribution, from fixed seeds. The figures have standard errors of about 1 / sqrt(20000), 0.7 %.


def gaps(load):
    return [later - earlier for earlier, later in pairwise(islice(due(with_stop(load, requests=20_001)), 20_001))]


def variation(values):
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1)) / mean


@pytest.mark.parametrize(
    ("load", "expected"), [(Poisson(50, seed=11), 1), (Gamma(50, 1), 1), (Gamma(50, 0.25), 2), (Gamma(50, 4), 0.5)], ids=str
)
def test_gaps_vary_as_they_should(load, expected):
    found = gaps(load)
    assert sum(found) / len(found) == pytest.approx(1 / 50, rel=0.05)
    assert variation(found) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("load", [Poisson(50), Gamma(50, 0.5), Ramp(5, 50)], ids=str)
def test_another_seed_gives_other_gaps(load):
    assert due(with_stop(load, seed=1, requests=9)) != due(with_stop(load, seed=2, requests=9))


def test_a_ramps_rate_goes_evenly_from_one_value_to_the_other():
    at = due(Ramp(10, 110, seconds=200, seed=4))
    for begin, expected in ((0, 12.5), (90, 60), (190, 107.5)):
        rate = sum(begin <= moment < begin + 10 for moment in at) / 10
        # 10 seconds hold 600 requests or so, 1,000 at the end: the standard error is 4 %, and 9 % at the beginning.
        assert rate == pytest.approx(expected, rel=0.2)
    assert len(at) == pytest.approx(60 * 200, rel=0.03)


def test_a_ramp_goes_down_as_well_and_keeps_its_last_rate():
    at = due(Ramp(100, 20, over_seconds=50, seconds=150, seed=4))
    assert sum(moment < 50 for moment in at) == pytest.approx(3000, rel=0.06)
    assert sum(moment >= 50 for moment in at) == pytest.approx(2000, rel=0.08)


def test_a_ramp_without_seconds_spans_the_planned_requests():
    at = due(Ramp(10, 30, requests=4000, seed=2))
    assert at[-1] == pytest.approx(200, rel=0.05)


def test_a_ramp_that_does_not_climb_is_poisson():
    assert due(Ramp(50, 50, over_seconds=10, seed=3, requests=900)) == pytest.approx(due(Poisson(50, seed=3, requests=900)))


# Replay.


def test_a_replay_keeps_the_prompts_own_times_whatever_their_order():
    trace = [Prompt(id=str(at), text="x", at_seconds=at) for at in (9, 4, 4.5, 30)]
    load = Replay(requests=4)
    arranged = load.arranged(trace)
    sent = [(arranged[item.prompt].id, item.due_seconds) for item in load.plan(arranged, warmup=0)]
    assert sent == [("4", 0), ("4.5", 0.5), ("9", 5), ("30", 26)]


def test_a_replay_can_be_faster_and_cut_out_a_window():
    assert due(Replay(speed=10, requests=4)) == pytest.approx([0, 0.025, 0.05, 0.075])
    load = Replay(from_seconds=3.5, seconds=1)
    arranged = load.arranged(prompts(20))
    assert [arranged[item.prompt].id for item in load.plan(arranged, warmup=0)] == ["p2", "p3", "p4", "p5"]


def test_a_trace_begins_again_one_mean_gap_after_its_last_request():
    assert due(Replay(requests=7), 3) == pytest.approx([0, 0.25, 0.5, 0.75, 1, 1.25, 1.5])


def test_a_trace_whose_requests_all_come_at_once_still_takes_time():
    assert due(Replay(requests=3), 1, warmup=1) == [0, 1, 2, 3]


@pytest.mark.parametrize("at", [None, math.nan, math.inf])
def test_a_replay_without_a_time_for_each_prompt_is_refused(at):
    with pytest.raises(ConfigError, match=r"prompt 'b' has no at_seconds; give each prompt its time"):
        Replay().arranged([Prompt(id="a", text="x", at_seconds=1), Prompt(id="b", text="x", at_seconds=at)])


def test_a_replay_from_after_the_last_prompt_is_refused():
    with pytest.raises(ConfigError, match=r"no prompt is left from from_seconds=99 on; the last is at 4\.5"):
        Replay(from_seconds=99).arranged(prompts(7))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Concurrency(0), "concurrency must be 1 or more, not 0"),
        (lambda: Concurrency(1, requests=0), "requests must be 1 or more, not 0"),
        (lambda: Poisson(0), "per_second must be above 0, not 0"),
        (lambda: ConstantRate(math.inf), "per_second must be above 0, not inf"),
        (lambda: ConstantRate(1, seconds=-1), "seconds must be above 0, not -1"),
        (lambda: ConstantRate(1, max_concurrency=0), "max_concurrency must be 1 or more, not 0"),
        (lambda: Gamma(1, 0), "shape must be above 0, not 0"),
        (lambda: Ramp(0, 1), "start_per_second must be above 0, not 0"),
        (lambda: Ramp(1, -1), "end_per_second must be above 0, not -1"),
        (lambda: Ramp(1, 2, over_seconds=0), "over_seconds must be above 0, not 0"),
        (lambda: Replay(speed=0), "speed must be above 0, not 0"),
        (lambda: Concurrency("4"), "concurrency must be a whole number, not '4'"),
        (lambda: Concurrency(1.5), "concurrency must be a whole number, not 1.5"),
        (lambda: Poisson("10"), "per_second must be a number, not '10'"),
        (lambda: Poisson(10, requests=2.5), "requests must be a whole number, not 2.5"),
        (lambda: Poisson(10, seed=None), "seed must be a whole number, not None"),
        (lambda: ConstantRate(10, seconds=math.inf), "seconds must be above 0, not inf"),
        (lambda: ConstantRate(10, max_concurrency=2.5), "max_concurrency must be a whole number, not 2.5"),
    ],
)
def test_a_load_that_makes_no_sense_is_refused(make, said):
    with pytest.raises(ConfigError) as refused:
        make()
    assert str(refused.value) == said


def test_loads_read_well():
    loads = [
        Concurrency(4),
        ConstantRate(2.5),
        Poisson(3),
        Gamma(3, 0.5),
        Ramp(1, 50),
        Ramp(1, 50, 60),
        Replay(),
        Replay(2, 90),
    ]
    assert [str(load) for load in loads] == [
        "concurrency 4", "2.5/s", "Poisson 3/s", "Gamma 3/s, shape 0.5", "ramp 1/s to 50/s", "ramp 1/s to 50/s in 60 s",
        "replay", "replay at 2 times its speed from 90 s",
    ]  # fmt: skip
    assert all(isinstance(load, Load) for load in loads)
