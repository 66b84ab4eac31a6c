"""Conversations on virtual time: a turn carries the model's own answers, after its pause; sessions are the unit."""

from itertools import pairwise

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fmbench.engine import Assignment, as_planned, measure
from fmbench.engine.conversing import SharedAlarm
from fmbench.engine.pacing import CoarseAlarm
from fmbench.errors import InvokeError
from fmbench.load import Concurrency, ConstantRate, Poisson, Ramp, Replay, conversing
from fmbench.types import Completion, Delta, Parameters, Prompt, Request, Usage

SECOND = 1_000_000_000


def now():
    return round(trio.current_time() * SECOND)


class Memory:
    def __init__(self):
        self.records = []

    def appending(self, records):
        self.records += records
        yield


class Model:
    """Answers each request after ``seconds``, with a text that names what it was asked last."""

    def __init__(self, seconds=1.0, fail=lambda _asked: None):
        self.seconds, self.fail = seconds, fail
        self.heard = {}
        self.encoded_at = {}
        self.most = self.in_flight = 0

    def encode(self, prompt, parameters):
        messages = prompt.messages or [{"role": "user", "content": prompt.text}]
        if "unspeakable" in messages[-1]["content"] and "<the" not in str(messages):
            raise ValueError("no word for it")
        self.encoded_at[messages[-1]["content"]] = now() if "<the" not in str(messages) else None
        return Request(payload=messages)

    async def send(self, request, exchange):
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            exchange.sent()
            self.heard[exchange.id] = request.payload
            await anyio.sleep(self.seconds)
            if error := self.fail(request.payload[-1]["content"]):
                raise error
            exchange.piece("re: " + request.payload[-1]["content"])
        finally:
            self.in_flight -= 1

    def decode(self, pieces, head):
        deltas = [Delta(0, text=pieces[0])]
        return Completion(deltas=deltas, streamed=True, finish_reason="stop", usage=Usage(completion_tokens=1))


def talk(name, turns, pause=0.0, **first):
    return [
        Prompt(
            id=f"{name}{turn}", text=f"{name}{turn}?", after=f"{name}{turn - 1}" if turn else None,
            pause_seconds=pause if turn else 0.0, **({} if turn else first),
        )
        for turn in range(turns)
    ]  # fmt: skip


def drive(load, prompts, session=None, parameters=None, **fields):
    session, parameters = session or Model(), parameters or Parameters()
    load = conversing(load, prompts)
    prompts = load.arranged(prompts)

    async def main():
        assignment = Assignment(
            experiment="e", id_prefix="r", load=load, prompts=prompts, origin_ns=0, parameters=parameters,
            requests=[session.encode(prompt, parameters) for prompt in as_planned(prompts)],
            estimate=lambda text: len(text.split()), **{"warmup": 0, **fields},
        )  # fmt: skip
        return await measure(session, assignment, log, now=now)

    log = Memory()
    outcome = anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    assert outcome.scheduled == len(log.records) == len({record.id for record in log.records})
    return outcome, sorted(log.records, key=lambda record: record.id), session


def seconds(ns):
    return pytest.approx(ns * SECOND, abs=100)


def test_a_turn_carries_all_that_was_said_with_the_models_own_answers():
    _, records, session = drive(Concurrency(1, requests=3), talk("a", 3))
    assert [(one.session, one.turn, one.status) for one in records] == [("a0", 1, "ok"), ("a0", 2, "ok"), ("a0", 3, "ok")]
    assert [(message["role"], message["content"]) for message in session.heard[records[2].id]] == [
        ("user", "a0?"), ("assistant", "re: a0?"), ("user", "a1?"), ("assistant", "re: a1?"), ("user", "a2?"),
    ]  # fmt: skip


def test_messages_are_kept_as_they_are_and_a_system_message_stays_first():
    prompts = [
        Prompt(id="x", messages=[{"role": "system", "content": "be brief"}, {"role": "user", "content": "x?"}]),
        Prompt(id="y", messages=[{"role": "user", "content": "y?"}], after="x"),
    ]
    _, records, session = drive(Concurrency(1, requests=2), prompts)
    assert [message["role"] for message in session.heard[records[1].id]] == ["system", "user", "assistant", "user"]


def test_a_turn_is_due_when_the_reply_before_it_has_ended_and_the_pause_is_over_and_is_encoded_before():
    _, records, session = drive(Concurrency(1, requests=3), talk("a", 3, pause=7.5))
    for earlier, later in pairwise(records):
        assert later.due_ns - earlier.end_ns == 7.5 * SECOND
        assert later.sent_ns - later.due_ns <= 100
        assert session.encoded_at[f"{later.prompt_id}?"] == pytest.approx(earlier.end_ns, abs=100)


def test_sessions_are_what_a_closed_load_has_so_many_of_pauses_included():
    prompts = [prompt for name in "abcdef" for prompt in talk(name, 4, pause=3.0)]
    _, records, session = drive(Concurrency(2, requests=24), prompts)
    assert session.most <= 2
    spans = {}
    for record in records:
        begin, end = spans.get(record.session, (record.sent_ns, record.end_ns))
        spans[record.session] = min(begin, record.sent_ns), max(end, record.end_ns)
    for begin, end in spans.values():
        assert end - begin == seconds(4 * 1 + 3 * 3)
        assert sum(b < (begin + end) / 2 < e for b, e in spans.values()) == 2


def test_sessions_arrive_by_the_clock_in_an_open_load_whatever_their_turns_do():
    prompts = [prompt for name in "abcdef" for prompt in talk(name, 3, pause=10.0)]
    outcome, records, _ = drive(ConstantRate(1, requests=18), prompts)
    firsts = sorted(record.due_ns for record in records if record.turn == 1)
    assert firsts == [seconds(number) for number in range(6)]
    assert {record.status for record in records} == {"ok"}
    assert outcome.window == (0, seconds(5 + 2 * (1 + 10)))


def test_seconds_end_sending_within_a_session_and_nothing_is_due_after():
    prompts = [prompt for name in "abc" for prompt in talk(name, 10, pause=2.0)]
    for load in (Concurrency(2, seconds=10), ConstantRate(0.5, seconds=10)):
        outcome, records, _ = drive(load, prompts)
        assert outcome.window[1] - outcome.window[0] == 10 * SECOND
        assert all(record.due_ns < 10 * SECOND for record in records)
        assert {record.status for record in records} == {"ok"}


def test_a_failed_turn_ends_its_session_and_the_stream_goes_on_with_the_next_one():
    prompts = [*talk("a", 4), *talk("b", 2)]
    model = Model(fail=lambda asked: InvokeError("server", "down", 500) if asked == "a1?" else None)
    for load in (Concurrency(1, requests=6), ConstantRate(0.1, requests=6)):
        _, records, _ = drive(load, prompts, model)
        assert [record.status for record in records] == ["ok", "error", "not_sent", "not_sent", "ok", "ok"]
        assert records[2].error_message == "not sent: the turn before it has no answer"
        assert (records[3].session, records[3].turn, records[3].due_ns) == ("a0", 4, None)


def test_a_turn_that_hangs_times_out_and_ends_its_session():
    _, records, _ = drive(Concurrency(1, requests=4), [*talk("a", 3), *talk("b", 1)], Model(9), request_timeout_seconds=5)
    assert [record.status for record in records] == ["timeout", "not_sent", "not_sent", "timeout"]


def test_a_turn_that_cannot_be_encoded_is_a_value_in_its_record():
    prompts = [Prompt(id="x", text="x?"), Prompt(id="y", text="unspeakable", after="x"), Prompt(id="z", text="z", after="y")]
    _, records, _ = drive(Concurrency(1, requests=3), prompts)
    assert [record.status for record in records] == ["ok", "not_sent", "not_sent"]
    assert "cannot be encoded: ValueError: no word for it" in records[1].error_message


def test_a_repeated_session_starts_afresh_under_a_name_of_its_own():
    _, records, session = drive(Concurrency(1, requests=5), talk("a", 2))
    assert [(record.session, record.turn) for record in records] == [
        ("a0", 1), ("a0", 2), ("a0#2", 1), ("a0#2", 2), ("a0#3", 1)
    ]  # fmt: skip
    assert len(session.heard[records[2].id]) == 1


def test_without_a_stop_the_last_session_is_complete():
    _, records, _ = drive(Concurrency(4), [prompt for name in "abc" for prompt in talk(name, 3)])
    assert len(records) == 132  # 130 are needed, and sessions have three turns


def test_warmup_is_of_first_turns_and_has_sessions_of_its_own():
    prompts = [prompt for name in "abc" for prompt in talk(name, 2)]
    for load in (Concurrency(2, requests=6), ConstantRate(1, requests=6)):
        _, records, _ = drive(load, prompts, warmup=2)
        warm = [record for record in records if record.phase == "warmup"]
        assert [(record.prompt_id, record.session, record.turn) for record in warm] == [
            ("b0", "b0#warmup0", 1), ("c0", "c0#warmup1", 1)
        ]  # fmt: skip
        assert [record.session for record in records[2:]] == ["a0", "a0", "b0", "b0", "c0", "c0"]


def test_prompts_that_continue_nothing_are_sessions_of_one_turn():
    _, records, _ = drive(Concurrency(1, requests=4), [Prompt(id="p", text="p"), *talk("a", 2), Prompt(id="q", text="q")])
    assert [(record.session, record.turn) for record in records] == [("p", 1), ("a0", 1), ("a0", 2), ("q", 1)]


def test_what_an_earlier_sitting_left_of_a_session_is_told_of_and_not_sent():
    prompts = [*talk("a", 3), *talk("b", 2)]
    for load in (Concurrency(1, requests=5), ConstantRate(1, requests=5)):
        outcome, records, _ = drive(load, prompts, done=frozenset({0}))
        assert [(record.prompt_id, record.status) for record in records] == [
            ("a1", "not_sent"), ("a2", "not_sent"), ("b0", "ok"), ("b1", "ok")
        ]  # fmt: skip
        assert "earlier sitting" in records[0].error_message
        assert outcome.window is not None


def test_an_experiment_whose_first_requests_all_fail_accounts_for_every_turn():
    prompts = [prompt for name in "abcdef" for prompt in talk(name, 3)]
    for load in (Concurrency(2, requests=18), ConstantRate(1, requests=18)):
        outcome, records, _ = drive(load, prompts, Model(fail=lambda _: InvokeError("server", "down", 500)), stop_on_errors=3)
        assert "first 3 requests all failed" in outcome.stopped
        assert len(records) == 18
        assert {record.status for record in records} == {"error", "not_sent"}


def test_replay_takes_the_times_of_first_turns():
    prompts = [*talk("late", 2, at_seconds=9.0, pause=1.0), *talk("early", 2, at_seconds=5.0, pause=1.0)]
    _, records, _ = drive(Replay(requests=4), prompts)
    assert [(record.prompt_id, record.due_ns) for record in records] == [
        ("early0", 0), ("early1", seconds(2)), ("late0", seconds(4)), ("late1", seconds(6))
    ]  # fmt: skip


def test_what_outlasts_the_drain_is_cancelled_and_nothing_more_of_its_session_is_planned():
    prompts = [prompt for name in "abc" for prompt in talk(name, 3)]
    for load in (Concurrency(2, seconds=5), ConstantRate(1, seconds=5)):
        _, records, _ = drive(load, prompts, Model(60), drain_seconds=10)
        assert {(record.status, record.phase) for record in records} == {("cancelled", "drain")}
        assert {record.turn for record in records} == {1}


def test_an_interrupt_ends_a_pause_and_loses_no_finished_turn():
    log, session, prompts = Memory(), Model(), talk("a", 5, pause=10.0)

    async def main():
        load = conversing(Concurrency(1, requests=5), prompts)
        assignment = Assignment(
            experiment="e", id_prefix="r", load=load, prompts=prompts, warmup=0, origin_ns=0, estimate=len,
            requests=[session.encode(prompt, Parameters()) for prompt in as_planned(prompts)],
        )  # fmt: skip
        with anyio.move_on_after(15):
            await measure(session, assignment, log, now=now)

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    assert [(record.turn, record.status) for record in log.records] == [(1, "ok"), (2, "ok")]


@given(
    turns=st.lists(st.integers(1, 4), min_size=1, max_size=8).filter(lambda lengths: max(lengths) > 1),
    requests=st.none() | st.integers(1, 40),
    stop=st.none() | st.floats(1, 30),
    warmup=st.integers(0, 3),
    workers=st.integers(1, 3),
    kind=st.sampled_from(["closed", "constant", "poisson", "ramp"]),
)
@settings(max_examples=60, deadline=None)
def test_every_planned_turn_has_one_record_whatever_the_load_and_its_share(turns, requests, stop, warmup, workers, kind):
    prompts = [prompt for number, length in enumerate(turns) for prompt in talk(f"s{number}.", length, pause=0.5)]
    load = {
        "closed": Concurrency(3, requests=requests, seconds=stop),
        "constant": ConstantRate(2, requests=requests, seconds=stop),
        "poisson": Poisson(2, requests=requests, seconds=stop),
        "ramp": Ramp(1, 4, requests=requests, seconds=stop),
    }[kind]
    records = []
    for worker in range(workers):
        mine = drive(load, prompts, warmup=warmup, worker=worker, workers=workers)[1]
        records += mine
    assert len({record.id for record in records}) == len(records)
    total = conversing(load, prompts).total(prompts)
    measured = [record for record in records if record.phase == "measured"]
    if stop is None:
        assert len(measured) == total
    elif total is not None:
        assert len(measured) <= total
    by_session = {}
    for record in records:
        by_session.setdefault(record.session, []).append(record)
    for several in by_session.values():
        several.sort(key=lambda record: record.turn)
        assert [record.turn for record in several] == list(range(1, len(several) + 1))
        assert len({record.worker for record in several}) == 1
        assert all(later.due_ns - earlier.end_ns == 0.5 * SECOND for earlier, later in pairwise(several))


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
@settings(max_examples=50, deadline=None)
def test_one_alarm_wakes_many_tasks_each_at_its_time(times):
    woken = []

    async def wait(alarm, begin, at):
        await trio.sleep(begin)
        await alarm.sleep_close_to(at * SECOND)
        woken.append((max(at, begin) * SECOND, now()))

    async def main():
        alarm = SharedAlarm(CoarseAlarm(now))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(alarm.run)
            async with anyio.create_task_group() as waiting:
                for place, at in enumerate(times):
                    waiting.start_soon(wait, alarm, place % 3, at)
            tasks.cancel_scope.cancel()

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    assert len(woken) == len(times)
    assert all(at <= seen <= at + 100 for at, seen in woken)
