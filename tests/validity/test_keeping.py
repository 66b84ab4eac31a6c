"""The checks of the load that was kept, and of whether the figures fit together."""

import numpy as np
import pytest

MS = 1_000_000


@pytest.fixture
def late(at):
    """Some share of the requests is sent late."""
    return lambda by, share=1.0: lambda number: at(number * MS + by, due=number * MS) if number < 700 * share else {}


@pytest.mark.parametrize(
    ("by", "share", "verdict"),
    [(MS // 3, 1.0, "pass"), (2 * MS, 0.005, "pass"), (2 * MS, 0.02, "warn"), (11 * MS, 1.0, "fail")],
)
def test_requests_that_are_sent_late_are_told_of(check_of, late, by, share, verdict):
    assert check_of("schedule_slip", 700, late(by, share), open_load=True).verdict == verdict


def test_lateness_that_is_small_against_the_latency_does_not_fail(check_of, at):
    change = lambda number: at(number * MS + 11 * MS, took=500 * MS, due=number * MS)  # noqa: E731
    assert check_of("schedule_slip", 700, change, open_load=True).verdict == "warn"


def test_connecting_and_signing_is_the_adapter_s_time(check_of, late):
    change = lambda number: late(11 * MS)(number) | {"connect_ns": 8 * MS, "tls_ns": 2 * MS, "sign_ns": MS}  # noqa: E731
    check = check_of("schedule_slip", 700, change, open_load=True)
    assert (check.verdict, check.figure) == ("pass", 0)


def test_a_request_that_waited_for_a_place_is_not_the_client_s_fault(check_of, at):
    # One place, and requests that take 2.1 ms due each millisecond: the n-th is sent 1.1 n milliseconds late.
    queue = lambda number: at(2_137_000 * number, 2_137_000, due=number * MS)  # noqa: E731
    check = check_of("schedule_slip", 700, queue, open_load=True, load={"per_second": 1000, "max_concurrency": 1})
    assert check.verdict == "pass"
    assert "100% more waited for a place under max_concurrency, up to 0.787 s" in check.finding
    assert check_of("schedule_slip", 700, queue, open_load=True).verdict == "fail"


def test_a_closed_load_has_no_schedule(check_of):
    assert check_of("schedule_slip") is None
    assert check_of("achieved_rate") is None
    assert check_of("achieved_concurrency", open_load=True) is None


@pytest.mark.parametrize(("streams", "verdict"), [(2, "pass"), (3, "warn"), (5, "fail")])
def test_streams_that_were_not_kept_busy_are_told_of(check_of, streams, verdict):
    check = check_of("achieved_concurrency", streams=streams)
    assert check.verdict == verdict
    assert check.figure == pytest.approx(2 / streams, rel=0.01)


def test_sessions_are_what_a_closed_load_of_conversations_keeps_pauses_included(check_of, at):
    def turn(number):  # two sessions at a time, of ten turns each, whose pauses are four times as long as their replies
        pair, place = divmod(number, 20)
        return at((pair * 100 + (place // 2) * 10) * MS, 2 * MS) | {"session": f"{pair}-{place % 2}", "turn": place // 2 + 1}

    check = check_of("achieved_concurrency", 700, turn, streams=2)
    assert check.verdict == "pass"
    assert "sessions, pauses included" in check.finding
    assert check_of("achieved_concurrency", 700, lambda number: turn(number) | {"session": None}, streams=2).verdict == "fail"


@pytest.mark.parametrize(("unsent", "verdict"), [(0, "pass"), (7, "pass"), (10, "warn"), (100, "fail")])
def test_requests_that_were_held_back_are_missing_from_the_rate(check_of, at, unsent, verdict):
    change = lambda number: (  # noqa: E731
        at(number * MS) | {"sent_ns": None, "end_ns": None, "status": "not_sent"} if number < unsent else {}
    )
    check = check_of("achieved_rate", 700, change, open_load=True)
    assert check.verdict == verdict
    assert check.figure == pytest.approx(1 - unsent / 700)
    assert check.finding.startswith("requests a second: 1000 asked for, 1000 offered, ")


def test_figures_that_fit_together_keep_little_s_law(check_of, at):
    rng = np.random.default_rng(5)
    begin = np.cumsum(rng.exponential(MS, 700)).astype(int)
    took = rng.exponential(20 * MS, 700).astype(int)
    check = check_of("littles_law", 700, lambda number: at(int(begin[number]), int(took[number])), open_load=True)
    assert check.verdict == "pass"
    assert check.figure < check.limit


def test_requests_in_flight_that_no_latency_tells_of_break_little_s_law(check_of, at):
    # A third of the requests hang until they time out: throughput and latency are of the others.
    hang = lambda number: at(number * MS, 60 * MS) | {"status": "timeout"} if number % 3 == 0 else {}  # noqa: E731
    check = check_of("littles_law", 700, hang, open_load=True)
    assert check.verdict == "fail"
    assert check_of("littles_law", 29) is None


def test_who_is_due_between_an_end_and_the_next_sending_waits_behind_the_others(check_of, at):
    # As above, but 5 µs pass from each end to the next sending, and everyone is due in such a gap.
    def queue(number):
        round_trip = 2_142_000
        due = round_trip * (number * MS // round_trip) + 2_139_000 + number
        return at(round_trip * number, 2_137_000, due=min(due, round_trip * number))

    check = check_of("schedule_slip", 700, queue, open_load=True, load={"per_second": 1000, "max_concurrency": 1})
    assert check.verdict == "pass"


def test_each_worker_has_its_share_of_the_places(check_of, at):
    # Of two places worker 0 has one: its requests wait for one another, while worker 1 has little to do.
    def dealt(number):
        if number >= 35:
            return at(number * MS, MS // 2) | {"worker": 1}
        return at(20 * MS * number, 20 * MS - 1000, due=max(0, 20 * MS * number - 15 * MS))

    check = check_of("schedule_slip", 700, dealt, open_load=True, load={"per_second": 1000, "max_concurrency": 2})
    assert check.verdict == "pass"
    assert "5% more waited" in check.finding
