"""Whatever happens, every request that was scheduled has one record; on virtual time, over loads and faults of all kinds."""

from collections import Counter

import anyio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from fmbench.engine import Assignment
from fmbench.engine.sending import Engine
from fmbench.errors import InvokeError
from fmbench.load import Concurrency, ConstantRate, Gamma, Poisson, Ramp, Replay
from fmbench.types import Completion, Delta, Prompt, Request

SECOND = 1_000_000_000
PROMPTS = [Prompt(id=f"p{number}", text="x", at_seconds=number * 0.7) for number in range(9)]


def now():
    return round(trio.current_time() * SECOND)


class Memory:
    def __init__(self):
        self.records = []

    def appending(self, records):
        self.records += records
        yield


class Faulty:
    """A session whose requests end, fail, hang or take long, as their numbers say."""

    def __init__(self, fates):
        self.fates = fates
        self.sent = []
        self.in_flight = self.most = 0

    async def send(self, request, exchange):
        exchange.sent()
        self.sent.append(exchange.id)
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await self._reply(self.fates[int(exchange.id.rsplit("-", 1)[1]) % len(self.fates)], exchange)
        finally:
            self.in_flight -= 1

    async def _reply(self, fate, exchange):
        if fate == "hang":
            await anyio.sleep_forever()
        await anyio.sleep(30 if fate == "slow" else 0.4)
        if fate == "fail":
            raise InvokeError("server", "no", 500)
        if fate == "bug":
            raise ZeroDivisionError
        exchange.piece("x")

    def decode(self, pieces, head):
        return Completion(deltas=[Delta(0, text="x")], streamed=True, finish_reason="stop")


def drive(load, fates, *, workers=1, stop_after=None, **fields):
    """Drive an experiment by as many engines as there are workers, all on one virtual clock."""
    session, logs, outcomes = Faulty(fates), [Memory() for _ in range(workers)], {}
    prompts = load.arranged(PROMPTS)

    async def one(worker):
        task = Assignment(
            experiment="e", id_prefix="r", load=load, prompts=prompts, requests=[Request(payload="x")] * len(prompts),
            origin_ns=0, estimate=len, worker=worker, workers=workers, **{"warmup": 0, **fields},
        )  # fmt: skip
        engine = Engine(session, task, logs[worker], now=now, begin=5 * SECOND, on_start=lambda at: told(worker, at))
        engines[worker] = engine
        outcomes[worker] = await engine.run()

    engines = {}

    def told(worker, at):
        for other, engine in engines.items():
            if other != worker:
                engine.started_elsewhere(at)

    async def main():
        with anyio.fail_after(3600):  # an engine that never ends is a failure, not an endless test
            async with anyio.create_task_group() as group:
                for worker in range(workers):
                    group.start_soon(one, worker)
                if stop_after is not None:
                    await anyio.sleep(stop_after)
                    for engine in engines.values():
                        engine.stop("it was enough")

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    return session, [outcomes[worker] for worker in range(workers)], [record for log in logs for record in log.records]


STOPS = st.one_of(
    st.fixed_dictionaries({"requests": st.integers(1, 40)}),
    st.fixed_dictionaries({"seconds": st.floats(0.1, 60)}),
    st.fixed_dictionaries({"requests": st.integers(1, 40), "seconds": st.floats(0.1, 60)}),
)
PLACES = st.one_of(st.none(), st.integers(3, 6))


@st.composite
def loads(draw):
    stop = draw(STOPS)
    kind = draw(st.integers(0, 5))
    if kind == 0:
        return Concurrency(draw(st.integers(3, 7)), **stop)
    places = draw(PLACES)
    makers = {1: ConstantRate, 2: Poisson, 3: lambda rate, **more: Gamma(rate, 0.5, **more)}
    if kind in makers:
        return makers[kind](draw(st.floats(0.2, 5)), **stop, max_concurrency=places)
    if kind == 4:
        return Ramp(draw(st.floats(0.2, 5)), draw(st.floats(0.2, 5)), **stop, max_concurrency=places)
    return Replay(draw(st.floats(0.3, 3)), **stop, max_concurrency=places)


@given(
    load=loads(),
    fates=st.lists(st.sampled_from(["ok", "ok", "ok", "fail", "bug", "slow", "hang"]), min_size=1, max_size=7),
    workers=st.integers(1, 3),
    warmup=st.integers(0, 6),
    timeout=st.sampled_from([0.2, 5, 60]),
    drain=st.sampled_from([0, 1, 100]),
    stop_on_errors=st.sampled_from([1, 4, 1000]),
    stop_after=st.one_of(st.none(), st.floats(5, 40)),
    done=st.frozensets(st.integers(0, 12), max_size=5),
)
@settings(max_examples=60, deadline=None)
def test_every_scheduled_request_has_one_record(load, fates, workers, warmup, timeout, drain, stop_on_errors, stop_after, done):
    session, outcomes, records = drive(
        load, fates, workers=workers, warmup=warmup, request_timeout_seconds=timeout, drain_seconds=drain,
        stop_on_errors=stop_on_errors, stop_after=stop_after, done=done,
    )  # fmt: skip
    counts = Counter(record.status for record in records)
    assert set(counts) <= {"ok", "error", "timeout", "cancelled", "not_sent"}
    assert sum(outcome.scheduled for outcome in outcomes) == counts.total()
    numbers = [int(record.id.rsplit("-", 1)[1]) for record in records]
    assert len(set(numbers)) == len(numbers)
    assert done.isdisjoint(numbers)
    assert sorted(session.sent) == sorted(record.id for record in records if record.status != "not_sent")
    assert session.in_flight == 0
    assert all(record.sent_ns >= record.due_ns >= 5 * SECOND for record in records if record.status != "not_sent")
    assert session.most <= (load.streams or load.max_concurrency or len(records))
    planned = [
        planned.number
        for stream in range(load.streams or 1)
        for planned in load.plan(load.arranged(PROMPTS), warmup=warmup, stream=stream)
        if planned.number not in done
    ] if load.seconds is None else None  # fmt: skip
    if planned is not None:
        assert sorted(numbers) == sorted(planned)
    if load.seconds is not None:
        for start, end in filter(None, (outcome.window for outcome in outcomes)):
            assert end - start <= round(load.seconds * SECOND) or load.streams is None


OPEN = [
    ConstantRate(3, seconds=60), Poisson(3, seed=5, seconds=60), Gamma(3, 0.5, seed=5, seconds=60), Ramp(1, 9, seconds=60),
    Replay(seconds=60), Poisson(3, seed=5, requests=90),
]  # fmt: skip


@pytest.mark.parametrize("load", OPEN, ids=str)
@pytest.mark.parametrize("workers", [2, 3, 4])
def test_several_engines_send_what_one_sends_at_the_same_moments(load, workers):
    _, [alone], one = drive(load, ["ok", "slow"], warmup=4, drain_seconds=40)
    _, together, several = drive(load, ["ok", "slow"], workers=workers, warmup=4, drain_seconds=40)
    assert sorted((r.id, r.due_ns, r.sent_ns, r.prompt_id, r.phase) for r in several) == sorted(
        (r.id, r.due_ns, r.sent_ns, r.prompt_id, r.phase) for r in one
    )
    assert {outcome.window for outcome in together} == {alone.window}


def test_ten_minutes_of_many_streams_are_dealt_to_three_engines():
    _, outcomes, records = drive(Concurrency(7, seconds=600), ["ok"], workers=3)
    assert len({outcome.window for outcome in outcomes}) == 1
    assert outcomes[0].window[1] - outcomes[0].window[0] == 600 * SECOND
    assert Counter(record.worker for record in records) == {0: 4500, 1: 3000, 2: 3000}


def test_requests_that_wait_for_a_place_are_sent_while_it_drains_and_no_longer():
    load = ConstantRate(10, requests=10, max_concurrency=1)
    _, _, records = drive(load, ["ok"], drain_seconds=100)
    assert {record.status for record in records} == {"ok"}
    assert max(record.sent_ns - record.due_ns for record in records) == pytest.approx(9 * 0.3 * SECOND, abs=1000)
    _, [outcome], records = drive(load, ["ok"], drain_seconds=1)
    assert Counter(record.status for record in records) == {"ok": 4, "cancelled": 1, "not_sent": 5}
    assert outcome.scheduled == 10
    assert {r.error_message for r in records if r.status == "not_sent"} == {
        "still waiting for a free place under max_concurrency"
    }


def test_streams_without_a_request_do_not_hold_the_window_open():
    _, [outcome], records = drive(Concurrency(8, requests=5), ["ok"], drain_seconds=1)
    assert outcome.window is not None
    assert len(records) == 5


@pytest.mark.parametrize("load", [Concurrency(2, requests=4, seconds=9), ConstantRate(2, requests=4, seconds=9)], ids=str)
def test_a_sitting_whose_requests_are_all_done_ends(load):
    _, [outcome], records = drive(load, ["ok"], done=frozenset(range(4)))
    assert records == []
    assert outcome.scheduled == 0


def test_a_sitting_of_an_open_load_with_only_warm_up_left_ends():
    _, [_], records = drive(ConstantRate(2, requests=40, seconds=2), ["ok"], warmup=2, done=frozenset(range(2, 42)))
    assert [record.phase for record in records] == ["warmup", "warmup"]


def test_what_waited_when_a_run_was_interrupted_is_left_to_whoever_resumes_it():
    log = Memory()

    async def main():
        task = Assignment(
            experiment="e", id_prefix="r", load=ConstantRate(10, requests=20, max_concurrency=1), prompts=PROMPTS,
            requests=[Request(payload="x")] * len(PROMPTS), warmup=0, origin_ns=0, estimate=len,
        )  # fmt: skip
        with anyio.move_on_after(1):  # by then ten are due, and the first one hangs
            await Engine(Faulty(["hang"]), task, log, now=now).run()

    anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    assert [record.status for record in log.records] == ["cancelled"]
