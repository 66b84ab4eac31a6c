"""The engine on virtual time: hours of load in moments, with exact figures."""

from contextlib import contextmanager
from itertools import accumulate, pairwise

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fmbench.engine import Assignment, measure
from fmbench.errors import InvokeError
from fmbench.load import Concurrency, ConstantRate, Poisson, Replay
from fmbench.types import Completion, Delta, Parameters, Prompt, Request, Usage

SECOND = 1_000_000_000


def now():
    return round(trio.current_time() * SECOND)


class Memory:
    """A log in memory."""

    def __init__(self):
        self.records = []

    def appending(self, records):
        self.records += records
        yield


class Model:
    """A session whose model takes its time: ``ttft`` seconds, then ``tokens`` pieces ``itl`` seconds apart."""

    def __init__(self, ttft=0.5, itl=0.1, tokens=3, fail=lambda _id: None):
        self.ttft, self.itl, self.tokens, self.fail = ttft, itl, tokens, fail
        self.in_flight = self.most = 0

    def encode(self, prompt, parameters):
        return Request(payload=prompt.text)

    @contextmanager
    def _counted(self):
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    async def send(self, request, exchange):
        with self._counted():
            exchange.sent()
            if error := self.fail(exchange.id):
                await anyio.sleep(self.ttft)
                raise error
            await anyio.sleep(self.ttft)
            for number in range(self.tokens):
                exchange.piece(f"t{number} ")
                if number < self.tokens - 1:
                    await anyio.sleep(self.itl)

    def decode(self, pieces, head):
        deltas = [Delta(index, text=piece) for index, piece in enumerate(pieces)]
        if len(deltas) < self.tokens:
            raise InvokeError("incomplete", "the reply ended early")
        return Completion(
            deltas=deltas, streamed=True, finish_reason="stop", usage=Usage(prompt_tokens=7, completion_tokens=len(deltas))
        )


def drive(load, session=None, prompts=10, **fields):
    session = session or Model()
    if isinstance(prompts, int):
        prompts = [Prompt(id=f"p{number}", text=f"prompt {number}") for number in range(prompts)]
    assignment = Assignment(
        experiment="e", id_prefix="r", load=load, prompts=prompts, requests=[session.encode(p, Parameters()) for p in prompts],
        origin_ns=0, estimate=lambda text: len(text.split()), **{"warmup": 0, **fields},
    )  # fmt: skip
    log = Memory()

    async def main():
        return await measure(session, assignment, log, now=now)

    outcome = anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    return outcome, log.records


def test_a_closed_load_keeps_its_streams_busy_and_no_more():
    session = Model()
    outcome, records = drive(Concurrency(4, requests=40), session)
    assert session.most == 4
    assert len(records) == 40 == outcome.scheduled
    assert {r.status for r in records} == {"ok"}
    assert all(r.last_token_ns - r.sent_ns == pytest.approx(0.7 * SECOND, abs=10) for r in records)
    assert all(r.first_token_ns - r.sent_ns == pytest.approx(0.5 * SECOND, abs=10) for r in records)
    start, end = outcome.window
    assert start == 0
    assert end == pytest.approx(9 * 0.7 * SECOND, abs=100)


def test_each_streams_own_sequence_is_fixed():
    _, records = drive(Concurrency(2, requests=10), prompts=4)
    by_number = {int(r.id.rsplit("-", 1)[1]): r for r in records}
    assert [by_number[n].prompt_id for n in range(10)] == [f"p{n % 4}" for n in range(10)]


def test_without_a_stop_each_prompt_goes_once_and_at_least_130_requests():
    _, records = drive(Concurrency(8), prompts=10)
    assert len(records) == 130
    _, records = drive(Concurrency(8), prompts=150)
    assert sorted(r.prompt_id for r in records) == sorted(f"p{n}" for n in range(150))


def test_seconds_end_a_closed_load_and_what_is_in_flight_is_awaited():
    outcome, records = drive(Concurrency(3, seconds=10))
    assert outcome.window[1] - outcome.window[0] == 10 * SECOND
    assert all(r.due_ns < 10 * SECOND for r in records)
    assert {r.status for r in records} == {"ok"}
    assert max(r.end_ns for r in records) > 10 * SECOND


def test_warmup_goes_first_and_does_not_count():
    outcome, records = drive(Concurrency(2, requests=10), warmup=4)
    phases = [r.phase for r in sorted(records, key=lambda r: r.due_ns)]
    assert phases.count("warmup") == 4
    assert phases.count("measured") == 10
    assert (
        outcome.window[0] == min(r.due_ns for r in records if r.phase == "measured") == pytest.approx(2 * 0.7 * SECOND, abs=100)
    )


def test_an_open_load_does_not_wait_for_replies():
    outcome, records = drive(ConstantRate(10, requests=50), Model(ttft=30))
    assert sorted(r.due_ns for r in records) == pytest.approx([n * SECOND / 10 for n in range(50)], abs=10)
    assert all(r.sent_ns >= r.due_ns for r in records)
    assert outcome.window == (0, pytest.approx(4.9 * SECOND, abs=10))


def test_an_hour_of_poisson_arrivals_in_moments():
    outcome, records = drive(Poisson(1, seed=3, seconds=3600))
    due = sorted(r.due_ns for r in records)
    assert outcome.window[1] - outcome.window[0] == 3600 * SECOND
    assert len(due) == pytest.approx(3600, rel=0.1)
    gaps = [later - earlier for earlier, later in pairwise(due)]
    assert sum(g > SECOND for g in gaps) / len(gaps) == pytest.approx(0.368, abs=0.05)
    _, again = drive(Poisson(1, seed=3, seconds=3600))
    assert sorted(r.due_ns for r in again) == due


def test_a_request_that_waits_for_a_place_is_timed_from_when_it_was_due():
    _, records = drive(ConstantRate(10, requests=20, max_concurrency=1), Model(tokens=1, ttft=1))
    records.sort(key=lambda r: r.due_ns)
    assert records[-1].due_ns == pytest.approx(1.9 * SECOND, abs=10)
    waited = [r for r in records if r.status == "not_sent"]
    sent = [r for r in records if r.status == "ok"]
    assert len(waited) + len(sent) == 20
    assert sent[1].sent_ns - sent[1].due_ns == pytest.approx(0.9 * SECOND, abs=100)


def test_a_request_that_hangs_times_out_and_its_stream_goes_on():
    class Hanging(Model):
        async def send(self, request, exchange):
            if exchange.id.endswith("3"):
                exchange.sent()
                exchange.piece("t0 ")
                await anyio.sleep_forever()
            await super().send(request, exchange)

    _, records = drive(Concurrency(1, requests=6), Hanging(), request_timeout_seconds=5)
    hung = next(r for r in records if r.id.endswith("3"))
    assert hung.status == hung.error_kind == "timeout"
    assert hung.end_ns - hung.due_ns == pytest.approx(5 * SECOND, rel=1e-6)
    assert [r.status for r in records].count("ok") == 5


def test_failures_are_values_and_do_not_end_a_run():
    def fail(identifier):
        return (
            InvokeError("throttled", "slow down", 429)
            if identifier.endswith("2")
            else RuntimeError("oops")
            if identifier.endswith("4")
            else None
        )

    _, records = drive(Concurrency(2, requests=10), Model(fail=fail))
    kinds = {r.id[-1]: (r.status, r.error_kind, r.http_status) for r in records if r.status != "ok"}
    assert kinds == {"2": ("error", "throttled", 429), "4": ("error", "bug", None)}


def test_an_experiment_whose_first_requests_all_fail_stops_and_accounts_for_the_rest():
    outcome, records = drive(
        Concurrency(4, requests=100), Model(fail=lambda _: InvokeError("server", "down", 500)), stop_on_errors=20
    )
    assert "first 20 requests all failed" in outcome.stopped
    statuses = [r.status for r in records]
    assert len(records) == 100 == outcome.scheduled
    assert 20 <= statuses.count("error") <= 24
    assert statuses.count("not_sent") == 100 - statuses.count("error")


def test_what_outlasts_the_drain_is_cancelled():
    _, records = drive(ConstantRate(1, requests=5), Model(ttft=60), drain_seconds=58.5)
    assert [(r.status, r.phase) for r in sorted(records, key=lambda r: r.due_ns)] == [("ok", "measured")] * 3 + [
        ("cancelled", "drain")
    ] * 2


def test_only_what_is_missing_is_sent():
    _, records = drive(Concurrency(2, requests=10), done=frozenset({0, 1, 5}))
    assert sorted(int(r.id[-1]) for r in records) == [2, 3, 4, 6, 7, 8, 9]


def test_cancelling_leaves_every_finished_request_in_the_log():
    session, log = Model(), Memory()
    prompts = [Prompt(id="p", text="x")]
    assignment = Assignment(
        experiment="e", id_prefix="r", load=Concurrency(2, seconds=100), prompts=prompts, requests=[Request(payload="x")],
        warmup=0, origin_ns=0, estimate=len,
    )  # fmt: skip

    async def main():
        with anyio.move_on_after(3.0):
            await measure(session, assignment, log, now=now)

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    assert [r.status for r in log.records].count("ok") == 8
    assert [r.status for r in log.records].count("cancelled") == 2
    assert session.in_flight == 0


def test_arrivals_that_share_a_read_are_told_and_a_shared_first_token_has_no_ttft():
    class Merged(Model):
        async def send(self, request, exchange):
            exchange.sent(now())
            await anyio.sleep(1)
            for at in (1, 1, 2, 3, 3):
                exchange.piece("t ", at=at * SECOND)

    _, [record] = drive(Concurrency(1, requests=1), Merged(tokens=5))
    assert list(record.arrival_coalesced) == [True, False, False, True, False]
    assert record.coalesced == 2
    assert record.first_token_ns is None
    assert record.last_token_ns == 3 * SECOND
    assert record.clock == "kernel"


def test_a_decoder_is_fed_every_piece_once_and_bytes_are_not_kept():
    class Decoder:
        def __init__(self):
            self.deltas = []

        def feed(self, piece):
            self.deltas.append(Delta(len(self.deltas), text=piece))

        def close(self, head):
            return Completion(deltas=self.deltas, streamed=True, finish_reason="stop")

    session = Model(tokens=500, itl=0.01)
    session.decoder = Decoder
    _, records = drive(Concurrency(3, requests=9), session)
    assert {r.completion for r in records} == {"".join(f"t{n} " for n in range(500))}
    assert all(len(r.arrivals_ns) == 500 for r in records)
    assert {r.completion_tokens_source for r in records} == {"estimated"}


@given(
    gaps=st.lists(st.integers(0, 5 * SECOND), min_size=1, max_size=30),
    speed=st.sampled_from([0.5, 1.0, 2.0, 10.0]),
    took=st.floats(0.001, 5),
)
@settings(max_examples=50, deadline=None)
def test_a_replay_delivers_the_gaps_of_its_trace(gaps, speed, took):
    times = [0, *accumulate(gaps)]
    prompts = [Prompt(id=f"p{number}", text="x", at_seconds=at / SECOND) for number, at in enumerate(times)]
    _, records = drive(Replay(speed=speed, requests=len(times)), Model(ttft=took), prompts)
    records.sort(key=lambda record: record.id)
    for name in ("due_ns", "sent_ns"):
        delivered = [getattr(later, name) - getattr(earlier, name) for earlier, later in pairwise(records)]
        assert delivered == pytest.approx([gap / speed for gap in gaps], abs=100)  # the virtual clock counts seconds in a float
