import pytest

from fmbench.validity import Check, worst
from fmbench.validity.checks import assess, on_this_host, shared_host

MS = 1_000_000


def some(share, **change):
    """Give the first ``share`` of 700 requests a change."""
    return lambda number: change if number < share * 700 else {}


EVERY_LOAD = {
    "measured", "accounting", "error_rate", "unfinished", "percentile_requests", "littles_law", "steady_state", "error_bound",
    "kernel_stamps", "coalesced", "client_delay", "loop_lag", "clock_mapping", "client_cpu", "core_contention",
    "host_pressure", "prompt_repetition", "cached_tokens", "completion_tokens_source", "output_length",
}  # fmt: skip


@pytest.mark.parametrize(
    ("open_load", "more"),
    [(False, {"achieved_concurrency"}), (True, {"schedule_slip", "achieved_rate", "growing_queue"})],
)
def test_an_experiment_without_fault_passes_every_check(make_subject, open_load, more):
    checks = assess([make_subject(open_load=open_load)])
    assert {check.name for check in checks} == EVERY_LOAD | more
    assert [check for check in checks if check.verdict != "pass"] == []
    assert all(check.experiment == "e" and not check.remedy and check.finding for check in checks)
    assert len({check.name for check in checks}) == len(checks)


@pytest.mark.parametrize(
    ("name", "change", "verdict"),
    [
        ("error_rate", some(0.05, status="error", error_kind="server"), "warn"),
        ("error_rate", some(0.06, status="timeout"), "fail"),
        ("unfinished", some(0.01, status="cancelled", phase="drain"), "warn"),
        ("unfinished", some(0.06, status="cancelled", phase="drain"), "fail"),
        ("kernel_stamps", some(0.01, clock="user"), "warn"),
        ("coalesced", some(0.009, arrival_coalesced=[True, False]), "pass"),
        ("coalesced", some(0.02, arrival_coalesced=[True, False]), "warn"),
        ("coalesced", some(0.11, arrival_coalesced=[True, False]), "fail"),
        ("client_delay", some(0.02, client_delay_ns=MS), "pass"),
        ("client_delay", some(0.02, client_delay_ns=MS + MS // 10), "warn"),
        ("client_delay", some(0.02, client_delay_ns=50 * MS), "warn"),
        ("client_delay", some(0.02, client_delay_ns=50 * MS + MS // 10), "fail"),
        ("client_delay", some(0.005, client_delay_ns=50 * MS), "pass"),
        ("prompt_repetition", some(0.01, prompt_id="p-0"), "warn"),
        ("cached_tokens", some(0.002, cached_tokens=1), "warn"),
        ("completion_tokens_source", some(0.002, completion_tokens_source="estimated"), "warn"),
    ],
)
def test_each_check_says_from_where_on_it_doubts(check_of, name, change, verdict):
    check = check_of(name, 700, change)
    assert check.verdict == verdict
    assert bool(check.remedy) == (verdict != "pass")
    assert check.figure is not None


@pytest.mark.parametrize(
    "change", [some(0.11, arrival_coalesced=[True, False]), some(0.02, client_delay_ns=400 * MS)], ids=["coalesced", "delay"]
)
def test_the_scheduler_of_a_shared_host_is_warned_of_and_fails_only_beyond_ten_times_the_limit(make_subject, change):
    for shared, verdict in ((True, "warn"), (False, "fail")):
        doubts = [check.verdict for check in assess([make_subject(700, change, shared_host=shared)]) if check.verdict != "pass"]
        assert doubts == [verdict]


def test_no_kernel_stamps_say_nothing_of_the_client_delay(check_of):
    assert check_of("client_delay", 700, some(1, client_delay_ns=None, clock="user")) is None


@pytest.mark.parametrize(
    ("count", "missing", "needed"),
    [(10, "p50 (needs 11) and p90 (needs 64) and p95 (needs 130) and p99 (needs 662)", 11), (130, "p99 (needs 662)", 662)],
)
def test_percentiles_that_cannot_be_told_are_named(check_of, count, missing, needed):
    check = check_of("percentile_requests", count)
    assert (check.verdict, check.figure, check.limit) == ("warn", count, needed)
    assert missing in check.finding
    assert "662" in check.remedy


def test_no_successful_request_at_all_is_a_failure(check_of):
    check = check_of("percentile_requests", 20, lambda number: {"status": "error"})
    assert check.verdict == "fail"
    assert "succeeded" in check.finding


def test_an_experiment_that_was_not_sent_fails_once_and_says_why(make_subject):
    checks = assess(
        [make_subject(5, lambda number: {"status": "not_sent", "due_ns": None}, status="not_sent", reason="no quota")]
    )
    doubts = [check for check in checks if check.verdict != "pass"]
    assert [(check.name, check.verdict, check.finding) for check in doubts] == [("measured", "fail", "not sent: no quota")]


@pytest.mark.parametrize(
    ("status", "verdict"), [("pending", "fail"), ("stopped", "fail"), ("partial", "warn"), ("measured", "pass")]
)
def test_only_what_was_measured_to_its_end_passes(check_of, status, verdict):
    assert check_of("measured", status=status).verdict == verdict


@pytest.mark.parametrize(
    ("planned", "ended", "change", "verdict"),
    [
        (700, True, some(0), "pass"),
        (None, True, some(0), "pass"),
        (701, True, some(0), "fail"),
        (699, True, some(0), "fail"),
        (701, False, some(0), "warn"),
        (700, False, some(0.01, id="r-0"), "fail"),
    ],
)
def test_each_planned_request_has_one_record(check_of, planned, ended, change, verdict):
    assert check_of("accounting", 700, change, planned=planned, ended=ended).verdict == verdict


def test_repeated_records_are_counted(check_of):
    assert "; 6 of them repeated" in check_of("accounting", 700, some(0.01, id="r-0")).finding
    assert "repeated" not in check_of("accounting", planned=701).finding


def test_warm_up_and_unsent_requests_repeat_no_prompt(check_of):
    for change in ({"phase": "warmup"}, {"status": "not_sent"}):
        check = check_of(
            "prompt_repetition", 700, lambda number, change=change: change | {"prompt_id": "p-9"} if number < 9 else {}
        )
        assert check.verdict == "pass"


@pytest.mark.parametrize(("turn", "verdict"), [(2, "pass"), (1, "warn")])
def test_a_conversations_own_history_may_be_cached_and_its_first_turn_ought_not(check_of, turn, verdict):
    def change(number):
        session, place = divmod(number, 3)
        return {"session": f"s-{session}", "turn": place + 1, "cached_tokens": 25 if place + 1 == turn else 0}

    check = check_of("cached_tokens", 600, change)
    assert check.verdict == verdict
    assert check.finding.startswith("the server had 16.7% of the prompt tokens cached, and ")


def test_a_session_that_comes_again_repeats_its_prompts(check_of):
    def change(number):  # each of 100 sessions of three turns comes twice
        session, place = divmod(number % 300, 3)
        again = "#2" if number >= 300 else ""
        return {"session": f"s-{session}{again}", "turn": place + 1, "prompt_id": f"s-{session}-{place}"}

    check = check_of("prompt_repetition", 600, change)
    assert (check.verdict, check.figure) == ("warn", 0.5)


def test_nothing_recorded_is_judged_without_a_number_made_up(make_subject):
    checks = assess([make_subject(0, planned=0)])
    assert {check.name: check.verdict for check in checks} == {
        "measured": "pass", "accounting": "pass", "percentile_requests": "fail", "loop_lag": "pass", "clock_mapping": "pass",
        "client_cpu": "pass", "core_contention": "pass", "host_pressure": "pass",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:8080", True), ("http://127.8.0.1", True), ("http://localhost:1/v1", True),
        ("http://[::1]:8080", True), ("https://api.example.com", False), ("http://10.0.0.1", False),
        ("sagemaker://region/name", False), ("", False),
    ],
)  # fmt: skip
def test_loopback_is_this_host(url, here):
    assert on_this_host(url) is here


def test_a_shared_host_is_named():
    assert shared_host(["a", "b"], []).verdict == "pass"
    check = shared_host(["a", "b"], ["b"])
    assert (check.verdict, check.figure, check.experiment) == ("warn", 0.5, None)
    assert check.finding.startswith("b ")


def test_the_worst_verdict_counts():
    passing, warning, failing = (Check(name="n", verdict=verdict, finding="f") for verdict in ("pass", "warn", "fail"))
    assert worst([]) == worst([passing]) == "pass"
    assert worst([passing, warning, passing]) == "warn"
    assert worst([failing, warning]) == "fail"
    assert failing.as_dict()["verdict"] == "fail"
