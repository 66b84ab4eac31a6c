"""Hand-computed cases, an oracle in plain Python, and what must hold whatever the records are."""

import math
from statistics import quantiles

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbench.metrics import Limit, formulas

MS = 1_000_000
S = 1_000_000_000


@pytest.fixture
def two_replies(make_record):
    """One reply of three tokens, one of five in three arrivals, the second of which shares a read with the third."""
    return [
        make_record(id="a", due_ns=0, sent_ns=10 * MS, arrivals_ns=[110 * MS, 150 * MS, 210 * MS], prompt_tokens=7),
        make_record(
            id="b", due_ns=5 * MS, sent_ns=5 * MS, arrivals_ns=[205 * MS, 405 * MS, 405 * MS, 505 * MS],
            arrival_tokens=[1, 1, 2, 1], arrival_coalesced=[False, True, False, False],
            completion_tokens=5, coalesced=1, prompt_tokens=9,
        ),
    ]  # fmt: skip


def test_latencies_by_hand(two_replies, make_sample):
    sample = make_sample(two_replies)
    assert formulas.service_latency(sample).values == pytest.approx([0.2, 0.5])
    assert formulas.response_latency(sample).values == pytest.approx([0.21, 0.5])
    assert formulas.latency(sample).values == pytest.approx([0.2, 0.5])
    assert formulas.latency(make_sample(two_replies, open_load=True)).values == pytest.approx([0.21, 0.5])
    assert formulas.ttft(sample).values == pytest.approx([0.1, 0.2])
    assert formulas.tpot(sample).values == pytest.approx([0.05, 0.075])
    assert formulas.token_throughput(sample).values == pytest.approx([15, 10])
    assert formulas.prompt_tokens(sample).values.tolist() == [7, 9]
    assert formulas.completion_tokens(sample).values.tolist() == [3, 5]


def test_gaps_at_a_coalesced_arrival_are_left_out(two_replies, make_sample):
    gaps = formulas.itl(make_sample(two_replies))
    assert gaps.values == pytest.approx([0.04, 0.06, 0.1])
    assert (gaps.count, gaps.requests) == (3, 2)


def test_rates_by_hand(two_replies, make_sample):
    sample = make_sample(two_replies, [(0, 250 * MS)])
    assert formulas.tps(sample).value == pytest.approx(1 / 0.25)
    assert formulas.output_throughput(sample).value == pytest.approx((3 + 1) / 0.25)
    whole = make_sample(two_replies, [(0, S)])
    assert formulas.tps(whole).value == pytest.approx(2)
    assert formulas.output_throughput(whole).value == pytest.approx(8)


def test_tokens_are_spread_evenly_where_the_server_does_not_tell(make_record, make_sample):
    reply = make_record(due_ns=0, sent_ns=0, arrivals_ns=[1 * S, 2 * S, 3 * S, 4 * S], completion_tokens=10)
    assert formulas.output_throughput(make_sample([reply], [(0, 2 * S)])).value == pytest.approx(2.5 * 2 / 2)


def test_an_unstreamed_reply_has_its_tokens_at_its_end_and_no_ttft(make_record, make_sample):
    reply = make_record(
        due_ns=0, sent_ns=0, streamed=False, last_token_ns=2 * S, last_byte_ns=2 * S, end_ns=2 * S, completion_tokens=8,
        arrivals_ns=[2 * S], first_token_ns=None,
    )  # fmt: skip
    sample = make_sample([reply], [(0, 2 * S)])
    assert formulas.output_throughput(sample).value == pytest.approx(4)
    assert formulas.service_latency(sample).values == pytest.approx([2])
    for metric in (formulas.ttft, formulas.tpot, formulas.itl):
        assert metric(sample).count == 0
        assert "streamed" in metric(sample).why_none()


def test_tokens_without_an_arrival_of_their_own_come_at_the_end(make_record, make_sample):
    times = {"due_ns": 0, "sent_ns": 0, "last_token_ns": 3 * S, "last_byte_ns": 3 * S, "end_ns": 3 * S, "completion_tokens": 8}
    whole = make_record(id="a", streamed=False, arrivals_ns=[S, 3 * S], **times)
    unlisted = make_record(id="b", streamed=True, **times)
    for reply in (whole, unlisted):
        assert formulas.output_throughput(make_sample([reply], [(0, 2 * S)])).value == 0
        assert formulas.output_throughput(make_sample([reply], [(0, 4 * S)])).value == pytest.approx(2)


def test_a_reply_without_a_token_ends_with_its_last_byte(make_record, make_sample):
    reply = make_record(due_ns=0, sent_ns=0, last_byte_ns=S, end_ns=S, completion_tokens=0)
    sample = make_sample([reply])
    assert formulas.service_latency(sample).values == pytest.approx([1])
    assert formulas.ttft(sample).count == 0
    assert formulas.token_throughput(sample).values == pytest.approx([0])


def test_a_coalesced_first_token_leaves_ttft_and_tpot_unknown_for_that_request(make_record, make_sample):
    hidden = make_record(id="a", due_ns=0, sent_ns=0, arrivals_ns=[S, S, 2 * S], first_token_ns=None)
    known = make_record(id="b", due_ns=0, sent_ns=0, arrivals_ns=[S, 2 * S])
    sample = make_sample([hidden, known])
    assert formulas.ttft(sample).values == pytest.approx([1])
    assert formulas.tpot(sample).values == pytest.approx([1])


def test_one_token_has_no_tpot(make_record, make_sample):
    assert formulas.tpot(make_sample([make_record(due_ns=0, sent_ns=0, arrivals_ns=[S])])).count == 0


def test_both_ends_belong_to_the_window(make_record, make_sample):
    rows = [make_record(id=str(due), due_ns=due, sent_ns=due, arrivals_ns=[due + 1], end_ns=due) for due in (9, 10, 15, 20, 21)]
    sample = make_sample(rows, [(10, 20)])
    assert formulas.latency(sample).count == 3
    assert formulas.tps(sample).value == pytest.approx(3 / 10e-9)


def test_warm_up_and_requests_due_outside_do_not_count_in_latencies_but_what_arrives_counts_in_rates(make_record, make_sample):
    warm = make_record(id="w", phase="warmup", due_ns=2 * S, sent_ns=2 * S, arrivals_ns=[3 * S])
    early = make_record(id="e", due_ns=0, sent_ns=0, arrivals_ns=[3 * S])
    drained = make_record(id="d", phase="drain", due_ns=3 * S, sent_ns=3 * S, arrivals_ns=[9 * S])
    sample = make_sample([warm, early, drained], [(2 * S, 5 * S)])
    assert formulas.latency(sample).values == pytest.approx([6])
    assert formulas.tps(sample).value == pytest.approx(2 / 3)
    assert formulas.output_throughput(sample).value == pytest.approx(2 / 3)


def test_failures_have_no_latency_and_count_in_the_error_rate(make_record, make_sample):
    rows = [
        make_record(id="ok", due_ns=0, sent_ns=0, arrivals_ns=[S]),
        make_record(id="bad", due_ns=0, sent_ns=0, arrivals_ns=[S], status="error", error_kind="reset"),
        make_record(id="slow", due_ns=0, sent_ns=0, status="timeout", end_ns=5 * S),
        make_record(id="cut", due_ns=0, sent_ns=0, status="cancelled", phase="drain", end_ns=5 * S),
        make_record(id="never", status="not_sent"),
        make_record(id="warm", phase="warmup", due_ns=0, sent_ns=0, status="error", end_ns=S),
    ]
    sample = make_sample(rows)
    assert formulas.latency(sample).count == 1
    assert formulas.error_rate(sample).value == pytest.approx(2 / 3)
    assert formulas.count_by_status(sample) == {"ok": 1, "error": 2, "timeout": 1, "cancelled": 1, "not_sent": 1}


def test_tokens_of_a_reply_broken_off_count_as_arrived_where_they_were_counted(make_record, make_sample):
    broken = make_record(due_ns=0, sent_ns=0, arrivals_ns=[S, 2 * S], status="error", completion_tokens=2)
    uncounted = make_record(due_ns=0, sent_ns=0, arrivals_ns=[S, 2 * S], status="error", completion_tokens=None)
    assert formulas.output_throughput(make_sample([broken, uncounted], [(0, 2 * S)])).value == pytest.approx(1)


def test_a_reply_whose_tokens_nobody_counted_leaves_the_throughput_unknown(make_record, make_sample):
    reply = make_record(due_ns=0, sent_ns=0, arrivals_ns=[S], completion_tokens=None)
    found = formulas.output_throughput(make_sample([reply]))
    assert (found.value, found.reason) == (None, "some replies' tokens were not counted")


def test_a_status_nobody_knows_is_not_passed_over(make_record, make_sample):
    with pytest.raises(AssertionError, match="not known"):
        formulas.count_by_status(make_sample([make_record(status="lost")]))


def test_nothing_recorded_is_unknown_with_a_reason(make_sample):
    sample = make_sample([])
    for figure in (formulas.tps(sample), formulas.output_throughput(sample), formulas.error_rate(sample)):
        assert (figure.value, figure.reason) == (None, "no request was recorded")
    assert formulas.itl(sample).why_none() == formulas.latency(sample).why_none() == "no request was recorded"


def test_no_window_is_unknown_with_a_reason(make_record, make_sample):
    sample = make_sample([make_record(due_ns=0, sent_ns=0, arrivals_ns=[S])], [])
    assert formulas.tps(sample).value is None
    assert "no window" in formulas.tps(sample).reason
    assert "no window" in formulas.latency(sample).why_none()


def test_every_request_failed_is_a_true_zero_for_rates_and_unknown_for_latencies(make_record, make_sample):
    sample = make_sample([make_record(due_ns=0, status="error", error_kind="connect", end_ns=S)], [(0, S)])
    assert formulas.tps(sample).value == formulas.output_throughput(sample).value == 0
    assert formulas.error_rate(sample).value == 1
    assert formulas.latency(sample).why_none() == "no request that was due in the window succeeded"


def test_goodput_applies_each_limit_to_the_single_request(two_replies, make_record, make_sample):
    failed = make_record(id="f", due_ns=0, sent_ns=0, arrivals_ns=[50 * MS], status="error")
    sample = make_sample([*two_replies, failed], [(0, S)])

    def good(*limits):
        return formulas.goodput(sample, limits).value, formulas.good_share(sample, limits).value

    assert good() == (2, pytest.approx(2 / 3))
    assert good(Limit("latency", "p95", 0.2)) == (1, pytest.approx(1 / 3))
    assert good(Limit("latency", "p95", 0.6), Limit("ttft", "p99", 0.1)) == (1, pytest.approx(1 / 3))
    assert good(Limit("tpot", "mean", 0.05)) == (1, pytest.approx(1 / 3))
    assert good(Limit("response_latency", "p50", 0.205)) == (0, 0)
    assert good(Limit("service_latency", "p50", 0.205)) == (1, pytest.approx(1 / 3))
    assert good(Limit("itl", "mean", 0.05)) == (1, pytest.approx(1 / 3))
    assert good(Limit("itl", "p50", 0.049)) == (0, 0)


def test_goodput_is_unknown_where_the_slo_asks_for_what_no_request_has(make_record, make_sample):
    reply = make_record(due_ns=0, sent_ns=0, streamed=False, last_token_ns=S, last_byte_ns=S, end_ns=S, completion_tokens=2)
    for find in (formulas.goodput, formulas.good_share):
        found = find(make_sample([reply]), [Limit("ttft", "p95", 1)])
        assert (found.value, found.reason) == (None, "no reply was streamed, so no request has TTFT")


def test_a_reply_of_one_token_cannot_miss_a_limit_between_tokens(make_record, make_sample):
    sample = make_sample([make_record(due_ns=0, sent_ns=0, arrivals_ns=[S])], [(0, S)])
    assert formulas.goodput(sample, [Limit("itl", "p99", 0.1), Limit("tpot", "mean", 0.1)]).value == 1


# Whatever the records are.


@st.composite
def rows(draw):
    """Records as an engine may write them, streamed or not, of every status."""
    found = []
    for number in range(draw(st.integers(0, 12))):
        due = draw(st.integers(0, 1000)) * MS
        sent = due + draw(st.integers(0, 50)) * MS
        gaps = draw(st.lists(st.integers(0, 100), min_size=0, max_size=6))
        arrivals = [int(at) for at in sent + MS * np.cumsum(gaps).astype(np.int64)] if gaps else None
        streamed = draw(st.booleans())
        status = draw(st.sampled_from(["ok", "ok", "ok", "error", "timeout", "cancelled", "not_sent"]))
        told = draw(st.booleans())
        changes = {
            "id": f"r-{number}", "prompt_id": f"p-{number}", "status": status, "streamed": streamed,
            "phase": draw(st.sampled_from(["warmup", "measured", "measured", "drain"])), "due_ns": due, "sent_ns": sent,
            "end_ns": (arrivals[-1] if arrivals else sent) + MS, "last_byte_ns": (arrivals[-1] if arrivals else sent) + MS,
            "completion_tokens": 2 * len(gaps), "prompt_tokens": draw(st.integers(1, 9)),
        }  # fmt: skip
        if streamed and arrivals:
            changes |= {"arrivals_ns": arrivals, "arrival_tokens": [2] * len(arrivals) if told else None}
            changes["arrival_coalesced"] = draw(st.lists(st.booleans(), min_size=len(arrivals), max_size=len(arrivals)))
        found.append(changes)
    return found


def in_plain_python(row, windows):
    """The definitions of DESIGN once more, a record at a time."""
    last = row["last_token_ns"] if row["last_token_ns"] is not None else row["last_byte_ns"]
    due = any(start <= row["due_ns"] <= end for start, end in windows)
    counted = row["status"] == "ok" and row["phase"] != "warmup" and due
    ended = row["status"] == "ok" and any(start <= row["end_ns"] <= end for start, end in windows)
    arrivals = row["arrivals_ns"] or []
    each = row["arrival_tokens"] or [row["completion_tokens"] / len(arrivals)] * len(arrivals) if arrivals else []
    pairs = zip(arrivals, each, strict=True) if arrivals else [(last, row["completion_tokens"])]
    tokens = sum(n for at, n in pairs if any(start <= at <= end for start, end in windows))
    flags = row["arrival_coalesced"] or []
    gaps = [
        (arrivals[i + 1] - arrivals[i]) / 1e9 for i in range(len(arrivals) - 1) if not flags[i] and not flags[i + 1]
    ] if row["streamed"] else []  # fmt: skip
    return counted, ended, (last - row["sent_ns"]) / 1e9, tokens, gaps


@given(rows(), st.lists(st.integers(0, 1500), min_size=2, max_size=2, unique=True))
def test_the_columns_say_what_plain_python_says(make_record, make_sample, found, ends):
    records = [make_record(**row) for row in found]
    windows = [(min(ends) * MS, max(ends) * MS)]
    sample = make_sample(records, windows)
    told = [in_plain_python(row, windows) for row in records]
    seconds = (max(ends) - min(ends)) / 1e3
    assert formulas.service_latency(sample).values == pytest.approx([one[2] for one in told if one[0]])
    assert formulas.itl(sample).values == pytest.approx([gap for one in told if one[0] for gap in one[4]])
    held = formulas.held_latencies(sample)
    if records and held is not None and held < formulas.LEAST_LATENCIES:
        assert formulas.tps(sample).value is None
    elif records:
        assert formulas.tps(sample).value == pytest.approx(sum(one[1] for one in told) / seconds)
        assert formulas.output_throughput(sample).value == pytest.approx(sum(one[3] for one in told) / seconds)


@given(rows(), st.sampled_from(["mean", "p50", "p95"]), st.integers(0, 100))
def test_goodput_never_exceeds_tps_and_is_tps_without_limits(make_record, make_sample, found, statistic, most):
    sample = make_sample([make_record(**row) for row in found], [(0, 2 * S)])
    assert formulas.goodput(sample, []) == formulas.tps(sample)
    for metric in ("latency", "ttft", "itl", "tpot"):
        good = formulas.goodput(sample, [Limit(metric, statistic, most / 1e3)]).value
        assert good is None or good <= formulas.tps(sample).value


@given(rows())
def test_ttft_is_no_more_than_latency_and_response_no_less_than_service(make_record, make_sample, found):
    sample = make_sample([make_record(**row) for row in found])
    assert (formulas.response_seconds_of(sample) >= formulas.service_seconds_of(sample) - 1e-12).all()
    ttft = formulas.ttft_seconds_of(sample)
    assert not (ttft > formulas.service_seconds_of(sample)).any()
    assert not (formulas.tpot_seconds_of(sample) < 0).any()


@given(rows(), st.integers(1, 1999))
def test_a_window_cut_in_two_gives_the_same_figures(make_record, make_sample, found, cut):
    records = [make_record(**row) for row in found]
    whole, halves = make_sample(records, [(0, 2 * S)]), make_sample(records, [(0, cut * MS), (cut * MS, 2 * S)])
    assert formulas.tps(whole) == formulas.tps(halves)
    assert formulas.output_throughput(whole) == formulas.output_throughput(halves)
    assert formulas.latency(whole).values.tolist() == formulas.latency(halves).values.tolist()


@given(rows(), st.randoms(use_true_random=False))
def test_the_order_of_the_records_does_not_matter(make_record, make_sample, found, shuffle):
    records = [make_record(**row) for row in found]
    before = make_sample(records, [(0, S)])
    shuffle.shuffle(records)
    after = make_sample(records, [(0, S)])
    assert sorted(formulas.latency(before).values) == sorted(formulas.latency(after).values)
    assert sorted(formulas.itl(before).values) == sorted(formulas.itl(after).values)
    assert formulas.tps(before) == formulas.tps(after)


@settings(max_examples=30)
@given(st.lists(st.lists(st.integers(1, 90), min_size=1, max_size=9), min_size=1, max_size=5), st.integers(1, 99))
def test_the_statistic_of_each_requests_gaps_is_numpys(make_record, make_sample, replies, percent):
    records = [
        make_record(id=str(n), due_ns=0, sent_ns=0, arrivals_ns=[0, *np.cumsum(np.array(gaps) * MS).tolist()])
        for n, gaps in enumerate(replies)
    ]
    found = formulas.itl_seconds_of(make_sample(records), f"p{percent}")
    assert found == pytest.approx([np.quantile(np.array(gaps) / 1e3, percent / 100) for gaps in replies])
    means = formulas.itl_seconds_of(make_sample(records), "mean")
    assert means == pytest.approx([np.mean(gaps) / 1e3 for gaps in replies])


def test_the_plain_library_agrees_on_what_linear_means(make_record, make_sample):
    records = [make_record(id=str(n), due_ns=0, sent_ns=0, arrivals_ns=[(n * n + 1) * MS]) for n in range(130)]
    found = formulas.latency(make_sample(records))
    assert found.p95 == pytest.approx(quantiles(found.values, n=20, method="inclusive")[-1])
    assert not math.isnan(found.p95)
