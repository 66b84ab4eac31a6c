"""The checks of whether latency held still: on simulated queues with fixed seeds."""

import numpy as np
import pytest

from fmbench.metrics.formulas import tps

MS = 1_000_000


@pytest.fixture
def judged(check_of, at):
    """One check of an experiment whose latencies are these, in milliseconds."""

    def judge(name, values_ms, *, open_load=True, **about):
        change = lambda number: at(number * MS, int(values_ms[number] * MS))  # noqa: E731
        return check_of(name, len(values_ms), change, open_load=open_load, **about)

    return judge


def test_a_queue_that_grows_fails(judged, queue_latencies):
    values = queue_latencies(np.random.default_rng(2), 1.5, 400, 0)
    check = judged("growing_queue", values)
    assert check.verdict == "fail"
    assert check.figure > check.limit


def test_a_steady_queue_passes_however_long_it_is(judged, queue_latencies):
    values = queue_latencies(np.random.default_rng(3), 0.8, 400, 2000)
    assert judged("growing_queue", values).verdict == "pass"


def test_a_latency_that_grows_while_the_endpoint_keeps_up_is_a_warning(judged):
    values = np.linspace(1, 5, 400) + np.random.default_rng(4).normal(0, 0.3, 400)
    check = judged("growing_queue", values)
    assert check.verdict == "warn"
    assert 0 < check.figure < check.limit


def test_requests_that_were_given_up_waited_at_least_so_long(check_of, at):
    lost = {"status": "cancelled", "last_token_ns": None, "last_byte_ns": None}

    def change(number):
        return at(number * MS, (number + 1) * MS) | (lost if number > 10 else {})

    assert check_of("growing_queue", 400, change, open_load=True).verdict == "fail"


def test_a_load_that_varies_may_have_latencies_that_do(judged):
    values = np.linspace(1, 50, 400)
    for name in ("growing_queue", "steady_state"):
        assert judged(name, values, load={"type": "Ramp"}) is None
    assert judged("growing_queue", values, open_load=False) is None


@pytest.mark.parametrize("change", [0.5, -0.3])
def test_a_latency_that_moves_is_no_steady_state(judged, change):
    noise = np.random.default_rng(6).normal(0, 0.05, 400)
    values = 2 + 2 * change * np.linspace(0, 1, 400) + noise
    check = judged("steady_state", values, open_load=False)
    assert check.verdict == "warn"
    assert np.sign(check.figure) == np.sign(change)


def test_a_latency_that_only_fluctuates_is_steady(judged):
    values = 2 + np.random.default_rng(8).exponential(4, 60)
    check = judged("steady_state", values, open_load=False)
    assert check.verdict == "pass"


def test_a_window_of_a_few_latencies_is_no_steady_state(check_of, judged):
    check = judged("steady_state", np.full(100, 40), open_load=False)
    assert check.verdict == "warn"
    assert "holds only 2.5 mean latencies" in check.finding
    assert check_of("steady_state", 29) is None


def test_a_window_shorter_than_half_a_latency_has_no_rates(make_subject, check_of):
    """Twenty requests at once: the window is over long before the first reply."""
    slow = {"last_token_ns": 900_000_000, "last_byte_ns": 900_000_000, "end_ns": 900_000_000}
    check = check_of("steady_state", 20, lambda number: slow)
    assert check.verdict == "fail"
    assert check.figure < check.limit == 0.5
    rate = tps(make_subject(20, lambda number: slow).sample)
    assert rate.value is None
    assert rate.reason == "the window is shorter than 0.5 mean latencies"
