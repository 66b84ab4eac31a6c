"""The search alone: made-up probes, no endpoint, no clock."""

import math

import numpy as np
import pytest

from fmbench import SLO, ConfigError
from fmbench.advice import Evidence, Search, Trial, Values, answer_of, evidence_of, limits_of, requests_for

P95 = "latency_p95_seconds"
ABOUT = {"deployment": "d", "prompts": "p", "parameters": {}}


def search(*, whole=True, **more):
    given = {"start": 1.0, "least": 1.0, "most": 4096.0, "requests": 200} | more
    return Search(whole=whole, **given)


def drive(plan, respond, slo):
    """Try what the search wants, ``respond(load, requests, number)`` being seconds and failures, until it ends."""
    trials = []
    while not isinstance(step := plan.next(trials), str):
        seconds, failed = respond(step.load, step.requests, len(trials))
        values = Values(seconds[~failed], failed, open_load=not plan.whole)
        trials.append(
            Trial(step.load, step.requests, tuple(evidence_of(name, limit, values) for name, limit in limits_of(slo).items()))
        )
        assert len(trials) <= 100
    answer = answer_of(plan, trials, step, about=ABOUT, over="concurrency" if plan.whole else "requests/s")
    return answer, trials


def steps_at(capacity, seed=0):
    """Latencies that jump from well below a second to well above it."""
    rng = np.random.default_rng(seed)

    def respond(load, requests, _number):
        middle = 0.5 if load <= capacity else 2.0
        return middle + rng.uniform(-0.1, 0.1, requests), np.zeros(requests, bool)

    return respond


@pytest.mark.parametrize("capacity", [1, 2, 3, 7, 8, 13, 64, 100])
def test_a_sharp_limit_is_found_exactly(capacity):
    answer, _ = drive(search(), steps_at(capacity), SLO(**{P95: 1.0}))
    assert (answer.standing, answer.load, answer.low, answer.high) == ("found", capacity, capacity, capacity)
    assert answer.broke.limit == P95
    assert answer.broke.load == capacity + 1


def test_a_limit_that_not_even_the_lowest_load_meets_says_how_far_off_it_is():
    answer, trials = drive(search(), steps_at(0), SLO(**{P95: 1.0}))
    assert answer.standing == "unmet"
    assert answer.load is None
    assert answer.broke.value == pytest.approx(2.08, abs=0.03)
    assert "even at concurrency 1: latency p95 was 2.0" in answer.sentence
    assert "% over the 1 s allowed" in answer.sentence
    assert len(trials) == 1


def test_a_limit_that_nothing_breaks_is_answered_with_at_least():
    answer, _ = drive(search(most=32.0), steps_at(1000), SLO(**{P95: 1.0}))
    assert (answer.standing, answer.load, answer.high) == ("at least", 32, None)
    assert "up to concurrency 32 at least" in answer.sentence


def test_failures_count_against_a_percentile():
    def respond(load, requests, _number):
        failed = np.arange(requests) % 10 == 0 if load > 6 else np.zeros(requests, bool)
        return np.full(requests, 0.1), failed

    answer, _ = drive(search(), respond, SLO(**{P95: 1.0, "error_rate": 0.5}))
    assert answer.load == 6
    assert answer.broke.limit == P95
    assert answer.broke.value is None


def test_an_error_rate_breaks_it_even_where_it_is_not_named():
    def respond(load, requests, _number):
        failed = np.arange(requests) % 5 == 0 if load > 9 else np.zeros(requests, bool)
        return np.full(requests, 0.1), failed

    answer, _ = drive(search(), respond, SLO(latency_p50_seconds=1.0))
    assert (answer.load, answer.broke.limit) == (9, "error_rate")
    assert answer.broke.value == pytest.approx(0.2)


def test_no_error_at_all_may_be_asked_for():
    def respond(load, requests, _number):
        failed = np.zeros(requests, bool)
        failed[3] = load > 5
        return np.full(requests, 0.1), failed

    answer, _ = drive(search(), respond, SLO(**{P95: 1.0, "error_rate": 0}))
    assert answer.load == 5
    assert answer.broke.limit == "error_rate"


def test_a_mean_has_its_capacity_too():
    rng = np.random.default_rng(2)

    def respond(load, requests, _number):
        return rng.exponential(load / 10, requests), np.zeros(requests, bool)

    answer, _ = drive(search(whole=False, least=0.01), respond, SLO(latency_mean_seconds=1.0))
    assert answer.standing == "found"
    assert answer.load == pytest.approx(10, rel=0.05)
    assert answer.low <= answer.load <= answer.high


def test_the_limit_that_breaks_first_decides():
    rng = np.random.default_rng(2)

    def respond(load, requests, _number):
        return rng.exponential(load / 10, requests), np.zeros(requests, bool)

    answer, _ = drive(search(whole=False, least=0.01), respond, SLO(latency_mean_seconds=1.0, latency_p95_seconds=1.5))
    assert answer.broke.limit == P95
    assert answer.load == pytest.approx(10 * 1.5 / math.log(20), rel=0.05)


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_a_response_without_any_order_ends(whole, seed):
    rng = np.random.default_rng(seed)

    def respond(_load, requests, _number):
        return rng.choice([0.5, 2.0], p=[0.95, 0.05] if rng.uniform() < 0.5 else [0.9, 0.1], size=requests), np.zeros(
            requests, bool
        )

    answer, trials = drive(search(whole=whole, least=1.0 if whole else 0.01, max_requests=20_000), respond, SLO(**{P95: 1.0}))
    assert sum(trial.requests for trial in trials) <= 20_000
    assert answer.sentence


def test_a_response_that_is_not_monotone_is_told_and_the_lower_part_is_the_answer():
    def respond(load, requests, _number):
        bad = 5 <= load <= 6
        return (2.0 if bad else 0.5) + np.random.default_rng(1).uniform(0, 0.1, requests), np.zeros(requests, bool)

    answer, _ = drive(search(start=6.0), respond, SLO(**{P95: 1.0}))
    assert (answer.load, answer.note) == (4, None)  # what lies above was never asked for
    answer, _ = drive(search(start=8.0, most=12.0), respond, SLO(**{P95: 1.0}))
    assert answer.standing == "at least"


def test_the_requests_allowed_end_it_with_a_wide_interval_and_say_so():
    rng = np.random.default_rng(2)

    def respond(load, requests, _number):
        return rng.exponential(load / 10, requests), np.zeros(requests, bool)

    plan = search(whole=False, start=8.0, least=0.01, max_requests=1_500)
    answer, trials = drive(plan, respond, SLO(**{P95: 3.0}))
    assert sum(trial.requests for trial in trials) <= 1_500
    assert "ended early: the search had all the requests it may send" in answer.sentence
    assert answer.high / answer.low > 1.1
    assert answer.low <= 10 * 3 / math.log(20) <= answer.high


def test_one_short_probe_that_broke_it_by_chance_does_not_keep_the_search_below():
    usual = steps_at(100.0)

    def respond(load, requests, number):
        seconds, failed = usual(load, requests, number)
        unlucky = 50 < load < 100 and requests <= 200  # one in twelve is slow, where one in twenty may be
        return seconds + 5.0 * (unlucky * (np.arange(requests) % 12 == 5)), failed

    answer, trials = drive(search(whole=False, start=20.0, least=1.0), respond, SLO(**{P95: 1.0}))
    assert any(not trial.leans for trial in trials if trial.load < 100)
    assert answer.standing == "found"
    assert answer.load == pytest.approx(100, rel=0.05)


def test_a_queue_that_is_still_building_up_does_not_hold():
    growing = np.linspace(0.1, 0.9, 400)
    still = Values(growing, np.zeros(400, bool))
    assert evidence_of(P95, 1.0, still).holds(0.9) is None
    steady = Values(np.random.default_rng(1).uniform(0.1, 0.9, 400), np.zeros(400, bool))
    assert evidence_of(P95, 1.0, steady).holds(0.9) is True
    assert evidence_of(P95, 0.2, still).holds(0.9) is False


def test_a_metric_that_no_request_has_is_not_known():
    none = Values(np.empty(0), np.zeros(0, bool))
    trial = Trial(1.0, 200, (evidence_of("ttft_p95_seconds", 1.0, none),))
    assert search().next([trial]) == "unknown"
    answer = answer_of(search(), [trial], "unknown", about=ABOUT, over="concurrency")
    assert (answer.standing, answer.load) == ("unknown", None)


def test_an_itls_values_are_its_gaps_and_a_failed_request_stands_for_as_many():
    owners = np.repeat(np.arange(1, 100), 4)
    failed = np.zeros(100, bool)
    failed[0] = True
    found = evidence_of("itl_p95_seconds", 0.05, Values(np.full(396, 0.01), failed, owners=owners))
    assert found.share == pytest.approx(4 / 400)
    assert found.requests == 100


def test_as_many_requests_are_planned_as_a_percentile_needs():
    assert requests_for(SLO(latency_p95_seconds=1)) == 200
    assert requests_for(SLO(latency_p99_seconds=1)) == 993
    assert requests_for(SLO(latency_p50_seconds=1, error_rate=0.01)) == 993
    assert requests_for(SLO(latency_mean_seconds=1)) == 200


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"start": 0.5}, "start"),
        ({"tolerance": 0.0}, "tolerance"),
        ({"confidence": 1.0}, "confidence"),
        ({"max_requests": 0}, "max_requests"),
    ],
)
def test_what_is_out_of_its_range_is_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        search(**given)


def test_an_answer_is_plain_values_for_json():
    import json

    answer, _ = drive(search(), steps_at(3), SLO(**{P95: 1.0}))
    told = json.loads(json.dumps(answer.as_dict(), allow_nan=False))
    assert told["load"] == 3
    assert told["broke"]["limit"] == P95


def test_evidence_of_nothing_holds_nothing():
    assert Evidence(name=P95, limit=1.0, requests=0, allowed=0.05).holds(0.9) is None
