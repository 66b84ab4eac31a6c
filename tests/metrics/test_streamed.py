"""A sample that is read in parts, and holds no value, tells what one that has everything in memory tells."""

from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbench.metrics import Limit, Sample, formulas, sample
from fmbench.metrics.distribution import requests_needed
from fmbench.recording import schema

MS = 1_000_000
DISTRIBUTIONS = (
    "latency", "service_latency", "response_latency", "ttft", "itl", "tpot", "token_throughput", "client_delay",
    "prompt_tokens", "completion_tokens",
)  # fmt: skip
FIGURES = ("tps", "output_throughput", "error_rate", "coalesced_share")


@st.composite
def records(draw):
    """Replies of all kinds: nulls wherever there may be some, lists that the server told in part, coalesced arrivals."""
    found = []
    for number in range(draw(st.integers(0, 25))):
        sent = draw(st.none() | st.integers(0, 900))
        gaps = draw(st.none() | st.lists(st.integers(0, 90), max_size=6))
        arrivals = None if gaps is None else [int(at) * MS for at in (sent or 0) + np.cumsum(np.array(gaps, np.int64))]
        flags = st.lists(st.booleans(), min_size=len(arrivals or ()), max_size=len(arrivals or ()))
        last = draw(st.none() | st.just(arrivals[-1])) if arrivals else None
        found.append({
            "id": f"r-{number % 20}", "prompt_id": f"p-{number % 7}",
            "streamed": draw(st.sampled_from([True, True, False, None])),
            "status": draw(st.sampled_from(["ok", "ok", "ok", "error", "timeout", "cancelled", "not_sent"])),
            "phase": draw(st.sampled_from(["warmup", "measured", "measured", "drain"])),
            "due_ns": draw(st.none() | st.integers(0, 1000).map(lambda at: at * MS)),
            "sent_ns": None if sent is None else sent * MS,
            "first_token_ns": arrivals[0] if arrivals else None, "last_token_ns": last,
            "last_byte_ns": arrivals[-1] + MS if arrivals else None, "end_ns": draw(st.none() | st.integers(0, 1500 * MS)),
            "arrivals_ns": arrivals, "arrival_coalesced": draw(st.none() | flags),
            "arrival_tokens": draw(st.sampled_from([None, [3] * len(arrivals or ()), [1]])),
            "completion_tokens": draw(st.sampled_from([0, 1, 2, 60, None])) if draw(st.booleans()) else 9,
            "prompt_tokens": draw(st.none() | st.integers(1, 9)), "client_delay_ns": draw(st.none() | st.integers(0, 9999)),
            "cached_tokens": None,
        })  # fmt: skip
    return found


windows = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 600)), max_size=3).map(
    lambda pairs: [(start * MS, (start + length) * MS) for start, length in pairs]
)


@contextmanager
def nothing_held(most=0):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "HELD", most)
        patch.setattr(formulas, "HELD", most)
        yield


@pytest.fixture(scope="module")
def both(make_record):
    def make(rows, spans, size, *, open_load):
        table = pa.Table.from_pylist([make_record(**row) for row in rows], schema=schema())
        parts = lambda: table.to_batches(max_chunksize=size)  # noqa: E731
        return Sample(table, spans, open_load=open_load), Sample(parts, spans, open_load=open_load)

    return make


@settings(deadline=None)
@given(records(), windows, st.integers(1, 9), st.booleans())
def test_distributions(both, rows, spans, size, open_load):
    whole, parted = both(rows, spans, size, open_load=open_load)
    for name in DISTRIBUTIONS:
        held = getattr(formulas, name)(whole)
        with nothing_held():
            read = getattr(formulas, name)(parted)
        assert (read.count, read.requests, read.unit, read.why_none()) == (
            held.count, held.requests, held.unit, held.why_none(),
        )  # fmt: skip
        assert read.mean == (None if held.mean is None else pytest.approx(held.mean, rel=1e-12))
        assert read.values.tolist() == held.values.tolist()
        assert read.curve([0, 0.3, 0.5, 0.95, 1]) == (
            np.quantile(held.values, [0, 0.3, 0.5, 0.95, 1]).tolist() if held.count else []
        )
        for q in (0.5, 0.9):
            assert read.quantile(q) == held.quantile(q)
            assert read.interval(q) == held.interval(q)


def gaps_in_plain_python(row, spans):
    counted = row["status"] == "ok" and row["phase"] != "warmup" and row["due_ns"] is not None
    if not counted or not any(start <= row["due_ns"] <= end for start, end in spans) or row["streamed"] is not True:
        return []
    times = row["arrivals_ns"] or []
    flags = row["arrival_coalesced"] or [False] * len(times)
    pairs = zip(times, times[1:], flags, flags[1:], strict=False)
    return [(later - earlier) / 1e9 for earlier, later, one, other in pairs if not one and not other]


@settings(deadline=None)
@given(records(), windows, st.integers(1, 9), st.sampled_from([0, 3, 1000]))
def test_gaps_are_those_of_the_definition(both, rows, spans, size, most):
    _, parted = both(rows, spans, size, open_load=False)
    with nothing_held(most):
        found = formulas.itl(parted)
    true = [gaps_in_plain_python(row, spans) for row in rows]
    every = [gap for gaps in true for gap in gaps]
    assert found.values.tolist() == every
    assert found.requests == sum(bool(gaps) for gaps in true)
    if every:
        assert found.curve([0.5, 0.99]) == np.quantile(every, [0.5, 0.99]).tolist()
        enough = found.requests >= requests_needed(0.5)
        assert found.p50 == (np.quantile(every, 0.5) if enough else None)


@settings(deadline=None)
@given(records(), windows, st.integers(1, 9), st.booleans())
def test_figures(both, rows, spans, size, open_load):
    whole, parted = both(rows, spans, size, open_load=open_load)
    for name in FIGURES:
        one, other = getattr(formulas, name)(whole), getattr(formulas, name)(parted)
        assert other.reason == one.reason
        assert other.value == (None if one.value is None else pytest.approx(one.value, rel=1e-12))
    assert formulas.count_by_status(parted) == formulas.count_by_status(whole)
    for statistic in ("mean", "p50", "p99"):
        limits = [Limit("itl", statistic, 0.03), Limit("latency", "p95", 0.4)]
        assert formulas.goodput(parted, limits) == formulas.goodput(whole, limits)
        assert formulas.good_share(parted, limits) == formulas.good_share(whole, limits)


@settings(max_examples=30, deadline=None)
@given(records(), st.integers(1, 9))
def test_different_texts_are_counted(both, rows, size):
    _, parted = both(rows, [], size, open_load=False)
    assert parted.distinct("id") == len({row["id"] for row in rows})
    chosen = parted.among("status", "ok")
    assert parted.distinct("prompt_id", chosen) == len({row["prompt_id"] for row in rows if row["status"] == "ok"})


@settings(max_examples=20, deadline=None)
@given(records(), st.integers(1, 9))
def test_columns_come_in_parts_as_in_whole(both, rows, size):
    whole, parted = both(rows, [], size, open_load=False)
    assert len(parted) == len(whole) == len(rows)
    for column in ("due_ns", "sent_ns", "http_status", "cached_tokens"):
        assert np.array_equal(parted.numbers(column), whole.numbers(column), equal_nan=True)
    for status in ("ok", "error", "gone"):
        assert parted.among("status", status).tolist() == [row["status"] == status for row in rows]
    assert parted.among("streamed", False).tolist() == [row["streamed"] is False for row in rows]
    assert parted.arrival_counts.tolist() == [len(row["arrivals_ns"] or ()) for row in rows]


def test_a_column_of_more_words_than_a_short_integer_counts(make_record):
    table = pa.Table.from_pylist([make_record(id=str(number)) for number in range(33_000)], schema=schema())
    found = Sample(table, [], open_load=False).among("id", "5", "32999")
    assert np.flatnonzero(found).tolist() == [5, 32999]
