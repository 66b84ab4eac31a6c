"""The engine over a simulated server on a virtual clock, and the records that come without either: the same, all of them."""

import random

import anyio
import pytest
from trio.testing import MockClock

from fmbench import Concurrency, ConstantRate, Parameters, Poisson, Prompt
from fmbench.engine import Assignment, measure
from fmbench.simulator import Batching, Fixed, InProcessInvoker, Queueing, facts, simulate, virtual_now

LOOSE = {"drain_seconds": 1e6, "request_timeout_seconds": 1e6}
MODELS = [
    Batching(kv_tokens=9000),
    Batching(jitter=0.2, batch_limit=6),
    Queueing(service_seconds=0.1, servers=2),
    Fixed(),
]


class Memory:
    """A log in memory."""

    def __init__(self):
        self.records = []

    def appending(self, records):
        self.records += records
        yield


def asked(count=50, seed=5):
    draw = random.Random(seed)
    return [
        Prompt(id=f"p{n}", text="x", tokens=draw.randrange(100, 900), max_new_tokens=draw.randrange(1, 200))
        for n in range(count)
    ]


def measured(model, load, prompts, **limits):
    log = Memory()

    async def main():
        invoker = InProcessInvoker(model=model, now=virtual_now)
        async with invoker.connect(None, concurrency=None) as session:
            assignment = Assignment(
                experiment="simulated", id_prefix="r", load=load, prompts=prompts, warmup=load.warmup(None), origin_ns=0,
                requests=[session.encode(prompt, Parameters()) for prompt in prompts], estimate=len,
                keep_text=False, **{**LOOSE, **limits},
            )  # fmt: skip
            return await measure(session, assignment, log, now=virtual_now)

    outcome = anyio.run(main, backend="trio", backend_options={"clock": MockClock(autojump_threshold=0)})
    return outcome, sorted(log.records, key=lambda record: record.id)


def same(records):
    """All of a record but who else was in flight, which two that come at one moment may count either way."""
    return [record._replace(in_flight=None) for record in sorted(records, key=lambda record: record.id)]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@pytest.mark.parametrize(
    "load",
    [
        Concurrency(8, requests=300),
        Concurrency(16, seconds=40),
        Poisson(6, requests=300),
        Poisson(6, seconds=60, seed=2),
        ConstantRate(3, seconds=40, max_concurrency=4),
    ],
    ids=str,
)
def test_both_make_the_same_records(model, load):
    outcome, records = measured(model, load, asked())
    told = simulate(model, load, asked(), **LOOSE)
    assert len(records) > 100
    assert {record.status for record in records} <= {"ok", "not_sent"}
    assert same(told.records) == same(records)
    assert told.window == outcome.window
    assert [record.in_flight for record in records if record.status == "ok"]


def test_what_is_still_in_flight_at_the_end_is_cancelled_with_what_it_had():
    model, load = Batching(batch_limit=8), Poisson(6, seconds=60)
    outcome, records = measured(model, load, asked(), drain_seconds=5.5)
    told = simulate(model, load, asked(), drain_seconds=5.5, request_timeout_seconds=1e6)
    assert {(record.status, record.phase) for record in records if record.status != "ok"} == {("cancelled", "drain")}
    assert any(record.arrivals_ns for record in records if record.status == "cancelled")
    assert same(told.records) == same(records)
    assert told.window == outcome.window


def test_what_takes_too_long_times_out_and_leaves_the_server():
    model, load = Batching(batch_limit=1, decode_seconds=0.1), Concurrency(3, requests=30)
    _, records = measured(model, load, asked(), request_timeout_seconds=12)
    told = simulate(model, load, asked(), request_timeout_seconds=12, drain_seconds=1e6)
    statuses = [record.status for record in records]
    assert statuses.count("timeout") > 3
    assert statuses.count("ok") > 3
    assert statuses == [record.status for record in sorted(told.records, key=lambda record: record.id)]


def test_what_the_server_refuses_is_a_failure_and_enough_of_them_stop_the_run():
    prompts = [*asked(30), Prompt(id="long", text="x", tokens=2000)]
    model = Batching(kv_tokens=1500)
    outcome, records = measured(model, Concurrency(2, requests=31), prompts)
    refused = [record for record in records if record.prompt_id == "long"]
    assert refused
    assert all((record.status, record.error_kind, record.http_status) == ("error", "validation", 400) for record in refused)
    assert "2000 + 100 tokens are more than the 1500" in refused[0].error_message
    told = simulate(Batching(kv_tokens=5), Poisson(5, requests=100), asked(), **LOOSE)
    outcome, records = measured(Batching(kv_tokens=5), Poisson(5, requests=100), asked())
    assert told.stopped == outcome.stopped
    assert [r.status for r in same(told.records)] == [r.status for r in records]
    assert told.window == outcome.window


def test_an_hour_takes_moments():
    _, records = measured(Fixed(), Poisson(0.5, seconds=3600), asked())
    assert len(records) > 1500
    assert max(record.due_ns for record in records) > 3500e9


def test_a_simulated_endpoint_says_what_it_is():
    told = facts(Batching(kv_tokens=7))
    assert told["simulated"] is True
    assert told["service"]["batching"]["kv_tokens"] == 7
