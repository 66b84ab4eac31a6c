"""The checks of the client itself."""

import pytest

MS = 1_000_000


@pytest.mark.parametrize(("p99", "verdict"), [(5 * MS, "pass"), (6 * MS, "warn"), (51 * MS, "fail")])
def test_a_loop_that_comes_late_is_told_of(check_of, p99, verdict):
    check = check_of("loop_lag", loop_lag={"p50_ns": 0, "p99_ns": p99, "max_ns": 70 * MS})
    assert (check.verdict, check.figure) == (verdict, p99 / 1e9)
    assert "70 ms at worst" in check.finding
    shared = check_of("loop_lag", loop_lag={"p99_ns": 10 * p99, "max_ns": 10 * p99}, shared_host=True)
    assert (shared.verdict == "fail") == (verdict == "fail")


@pytest.mark.parametrize(
    ("waited", "ran", "verdict"), [(0.2, 2.0, "pass"), (1.0, 2.0, "warn"), (0.05, 0.01, "pass"), (0.11, 0.01, "warn")]
)
def test_a_thread_that_waits_for_its_processor_is_on_a_contended_core(check_of, waited, ran, verdict):
    check = check_of("core_contention", queue={"waited_seconds": waited, "ran_seconds": ran, "timeslices": 9})
    assert check.verdict == verdict
    assert check.figure == pytest.approx(waited / (waited + ran))


@pytest.mark.parametrize(
    ("name", "calm", "pressed"),
    [
        ("client_cpu", {"process_seconds": 7.0, "wall_seconds": 10.0}, {"process_seconds": 9.0, "wall_seconds": 10.0}),
        ("host_pressure", {"pressure_percent": 25.0}, {"pressure_percent": 26.0}),
    ],
)
def test_a_busy_client_and_a_busy_machine_are_warned_of(check_of, name, calm, pressed):
    assert check_of(name, cpu=calm).verdict == "pass"
    assert check_of(name, cpu=pressed).verdict == "warn"


def test_what_the_system_does_not_tell_is_not_judged(check_of):
    for name in ("loop_lag", "core_contention", "host_pressure", "client_cpu"):
        assert check_of(name, cpu={}, queue={}, loop_lag={}) is None
    assert check_of("clock_mapping", clock_step_seconds=None) is None


def test_a_clock_that_steps_is_warned_of(check_of):
    assert check_of("clock_mapping", clock_step_seconds=150e-6).verdict == "warn"
    assert check_of("clock_mapping", clock_step_seconds=50e-6).verdict == "pass"


def test_the_error_bound_is_the_sum_of_what_may_be_off(check_of):
    check = check_of("error_bound", write_delay_seconds=30e-6, clock_step_seconds=2e-6)
    assert (check.verdict, check.figure) == ("pass", pytest.approx(32e-6))
    assert "32 µs off at most (99th percentiles: writing 30 µs + clock 2 µs)" in check.finding


def one_by_user(number):
    return {"clock": "user"} if number == 3 else {}


@pytest.mark.parametrize(("lag", "verdict"), [(0, "warn"), (3 * MS, "warn"), (4 * MS, "fail")])
def test_stamps_of_the_reader_err_by_the_loop_s_lag_too(check_of, lag, verdict):
    check = check_of("error_bound", 700, one_by_user, loop_lag={"p99_ns": lag, "max_ns": lag, "grain_ns": 1_100_000})
    assert check.verdict == verdict
    assert check.figure == pytest.approx(1e-6 + 1.1e-3 + lag / 1e9)


def test_an_error_that_is_small_against_the_figures_does_not_fail(check_of):
    slow = lambda number: one_by_user(number) | {"first_token_ns": number * MS + 1000 * MS}  # noqa: E731
    lag = {"p99_ns": 40 * MS, "max_ns": 40 * MS, "grain_ns": 1_100_000}
    assert check_of("error_bound", 700, slow, loop_lag=lag).verdict == "warn"


def test_an_unknown_error_has_no_figure(check_of):
    check = check_of("error_bound", 700, one_by_user, loop_lag={})
    assert (check.verdict, check.figure) == ("warn", None)


def test_an_adapter_that_does_not_say_when_it_sends_is_told_of(check_of):
    check = check_of("error_bound", 700, lambda _: {"sent_source": "entry"})
    assert check.verdict == "warn"
    assert "does not say when it sends" in check.finding


def test_a_worker_that_died_is_named(check_of):
    well, dead = {"worker": 0, "died": None}, {"worker": 1, "died": "it was killed by signal 9"}
    assert check_of("workers", workers=(well, well)).verdict == "pass"
    check = check_of("workers", workers=(well, dead))
    assert (check.verdict, check.figure) == ("fail", 1)
    assert "1 of 2 workers died (worker 1: it was killed by signal 9)" in check.finding
    assert check_of("workers") is None
