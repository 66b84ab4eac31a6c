"""Reported minus true, by hand; and what the budget makes of it."""

import pytest

from fmbench.calibration import Budget, Level, Spread
from fmbench.calibration.errors import compared
from fmbench.simulator import Truth

MS = 1_000_000


def true(identifier="a", received=100 * MS, sent=(150, 160, 170), planned=(150, 160, 170), **fields):
    return Truth(
        id=identifier, path="/", received_ns=received, sent_ns=[at * MS for at in sent], planned_ns=[at * MS for at in planned],
        status=200, fault=None, ended="whole", streamed=True, prompt_tokens=1, output_tokens=len(sent), **fields,
    )  # fmt: skip


def row(identifier="a", sent=0, arrived=(50, 60, 70), coalesced=(False, False, False), **fields):
    arrivals = [round(at * MS) for at in arrived]
    known = {
        "id": identifier, "status": "ok", "sent_ns": round(sent * MS), "arrivals_ns": arrivals, "arrival_coalesced": coalesced,
        "first_token_ns": None if coalesced[0] else arrivals[0], "last_token_ns": arrivals[-1], "client_delay_ns": 7000,
    }  # fmt: skip
    return known | fields


def level(rows, truths, streams=4):
    return compared(streams, rows, {truth.id: truth for truth in truths}, client_cores=0.5)


def test_no_error_is_none():
    found = level([row()], [true()])
    assert (found.requests, found.failed, found.unknown_ttft, found.coalesced_share) == (1, 0, 0, 0)
    for error in (found.ttft_error, found.itl_error, found.latency_error, found.server_lateness):
        assert (error.p50, error.p99) == (0, 0)
    assert found.client_delay.p99 == 7e-6


def test_errors_are_what_is_reported_less_what_was():
    found = level([row(sent=-0.5, arrived=(50, 61, 70))], [true(planned=(149, 160, 168))])
    assert found.ttft_error.p50 == pytest.approx(0.0005)
    assert found.latency_error.p50 == pytest.approx(0.0005)
    assert sorted(found.itl_error.values) == pytest.approx([-0.001, 0.001])
    assert found.server_lateness.p99 == pytest.approx(0.002)


def test_what_shared_a_read_is_left_out_and_counted():
    found = level([row(arrived=(60, 60, 70), coalesced=(True, False, False)), row("b")], [true(), true("b")])
    assert found.unknown_ttft == 1
    assert found.coalesced_share == pytest.approx(1 / 6)
    assert len(found.ttft_error.values) == 1
    assert len(found.itl_error.values) == 1 + 2
    assert found.ttft_error.p50 == 0


def test_a_request_that_failed_or_that_nobody_knows_is_counted_only():
    rows = [row(), row("b", status="error"), row("c"), row("d", arrived=(50, 60), coalesced=(False, False))]
    found = level(rows, [true(), true("b"), true("d")])
    assert (found.requests, found.failed) == (1, 3)


def test_the_99th_percentile_is_of_the_size():
    spread = Spread.of([-0.003, *[0.001] * 99])
    assert (spread.p50, spread.p99) == (0.001, 0.001)
    assert Spread.of([-0.003, *[0.001] * 9]).p99 == 0.003
    assert Spread.of([]) is None


def spread(p50, p99):
    return Spread(p50, p99, ())


def made(*, streams=4, error=(1e-5, 1e-4), late=1e-4, coalesced=0.0, failed=0, **fields):
    errors = dict.fromkeys(("ttft_error", "itl_error", "latency_error"), spread(*error))
    return Level(
        streams=streams, requests=10, failed=failed, unknown_ttft=0, coalesced_share=coalesced, client_delay=spread(0, 0),
        server_lateness=spread(0, late), client_cores=0.1, **{**errors, **fields},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("fields", "outcome", "reason"),
    [
        ({}, "met", None),
        ({"late": 0.5}, "met", None),
        ({"error": (-2e-4, 3e-4)}, "missed", "TTFT: the median error is -0.2 ms, limit 0.1 ms"),
        ({"error": (0, 0.002)}, "missed", "latency: the error at p99 is 2 ms, limit 1 ms"),
        ({"itl_error": spread(0, 0.002)}, "missed", "ITL: the error at p99 is 2 ms, limit 1 ms"),
        ({"ttft_error": None}, "missed", "TTFT is not known for any request"),
        ({"coalesced": 0.02}, "missed", "2.0% of the tokens shared a read with a later one, limit 1.0%"),
        ({"coalesced": 0.02, "late": 0.5}, "unclear", "the truth server itself was 500 ms late at p99"),
        ({"failed": 3, "late": 0.5}, "missed", "3 of 13 requests failed"),
    ],
)
def test_the_budget_judges(fields, outcome, reason):
    verdict = Budget().judge(made(**fields))
    assert verdict.outcome == outcome
    assert (reason in verdict.reasons) if reason else not verdict.reasons


def test_a_machine_keeps_it_where_a_level_does_and_none_misses():
    met, missed, unclear = made(), made(coalesced=0.02), made(coalesced=0.02, late=0.5)
    assert Budget().keeps([met, unclear])
    assert not Budget().keeps([met, missed])
    assert not Budget().keeps([unclear])
    assert not Budget().keeps([])
