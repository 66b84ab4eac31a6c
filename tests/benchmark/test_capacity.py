"""A capacity search as a run: its endpoints, its folder, its answer. Latencies are stamped, so that no machine is too slow."""

import asyncio
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio
import pytest

from fmbench import SLO, Benchmark, Capacity, Concurrency, ConfigError, Poisson, Result, RunDirectoryError
from fmbench.errors import InvokeError
from fmbench.types import Completion, Delta, Prompt, Request, Usage

LIMIT = SLO(latency_p95_seconds=1.0)


@dataclass(frozen=True)
class Stamped:
    """Replies come at once, stamped half a second after sending up to a concurrency, and two seconds after beyond it."""

    capacity: int
    per_word: bool = False
    pause: float = 0.0
    fail: bool = False

    @asynccontextmanager
    async def connect(self, endpoint, *, concurrency):
        yield _Session(self, concurrency or 0)


class _Session:
    def __init__(self, model, concurrency):
        self.model = model
        self.concurrency = concurrency

    def encode(self, prompt, parameters):
        return Request(payload=prompt.text)

    async def send(self, request, exchange):
        await anyio.sleep(self.model.pause)
        if self.model.fail:
            raise InvokeError("server", "down", 500)
        at = time.perf_counter_ns()
        exchange.sent(at)
        capacity = self.model.capacity // (len(request.payload.split()) if self.model.per_word else 1)
        exchange.piece("word ", at=at + (500_000_000 if self.concurrency <= capacity else 2_000_000_000))

    def decode(self, pieces, head):
        return Completion(deltas=[Delta(0, text="word ")], streamed=True, usage=Usage(prompt_tokens=1, completion_tokens=1))


@pytest.fixture
def benchmark_on(here, prompts):
    def make(*models, **more):
        deployers = [here(name=f"d{number}", invoker=model) for number, model in enumerate(models)]
        return Benchmark(**{"deployers": deployers, "prompts": prompts, "loads": Concurrency(1)} | more)

    return make


def test_the_highest_concurrency_that_holds_is_found_and_every_probe_is_an_experiment(tmp_path, benchmark_on, events):
    capacity = benchmark_on(Stamped(3)).find_capacity(LIMIT, directory=tmp_path / "r")
    [answer] = capacity.answers
    assert (answer.standing, answer.load, answer.low, answer.high) == ("found", 3, 3, 3)
    assert (answer.broke.load, answer.broke.limit, answer.broke.sure) == (4, "latency_p95_seconds", True)
    assert answer.broke.value == pytest.approx(2.0)
    assert events == [("enter", "d0"), ("leave", "d0")]  # deployed once, kept, deleted
    result = Result.load(tmp_path / "r")
    assert result.state == "finished"
    assert [experiment.concurrency for experiment in result.experiments] == [1, 2, 4, 3]
    assert answer.probes == 4
    assert all(experiment.counts["ok"] >= 220 for experiment in result.experiments)
    assert all((experiment.warmup or 0) >= 20 for experiment in result.experiments)
    # Rates are the machine's, and which of the loads that hold is best may depend on them.
    assert result.advise(LIMIT).best.load in {"concurrency 1", "concurrency 2", "concurrency 3"}
    assert (tmp_path / "r" / "results.csv").read_text().count("\n") == 1 + sum(
        sum(e.counts.values()) for e in result.experiments
    )
    written = json.loads((tmp_path / "r" / "run.json").read_text())["capacity"]
    assert written["answers"] == json.loads(json.dumps(capacity.as_dict()))["answers"]
    assert "up to concurrency 3 (95% interval 3 to 3); at concurrency 4 it broke: latency p95 was 2 s" in str(capacity)


def test_deployments_and_prompt_sets_are_answered_one_by_one(tmp_path, benchmark_on):
    sets = {"short": [Prompt(id="a", text="one")], "long": [Prompt(id="b", text="one two")]}
    benchmark = benchmark_on(Stamped(2, per_word=True), Stamped(4, per_word=True), prompts=sets)
    capacity = benchmark.find_capacity(LIMIT, directory=tmp_path / "r")
    found = {(answer.deployment, answer.prompts): answer.load for answer in capacity.answers}
    assert found == {("d0", "short"): 2, ("d0", "long"): 1, ("d1", "short"): 4, ("d1", "long"): 2}
    assert capacity.met


def test_loads_of_the_benchmark_make_no_difference(tmp_path, benchmark_on):
    benchmark = benchmark_on(Stamped(2), loads=[Concurrency(1), Concurrency(8), Poisson(3)])
    assert len(benchmark.find_capacity(LIMIT, directory=tmp_path / "r").answers) == 1


def test_what_does_not_come_up_or_fails_or_misses_is_said_and_the_others_go_on(tmp_path, here, prompts):
    deployers = [
        here(name="broken", fails="no capacity"),
        here(name="failing", invoker=Stamped(2, fail=True)),
        here(name="slow", invoker=Stamped(0)),
        here(name="fine", invoker=Stamped(1)),
    ]
    benchmark = Benchmark(deployers=deployers, prompts=prompts, loads=Concurrency(1))
    capacity = benchmark.find_capacity(LIMIT, directory=tmp_path / "r")
    said = {answer.deployment: answer for answer in capacity.answers}
    assert [answer.standing for answer in capacity.answers] == ["unknown", "unmet", "unmet", "found"]
    assert "broken did not come up: no capacity" in said["broken"].sentence
    assert said["failing"].broke.limit in {"latency_p95_seconds", "error_rate"}
    assert "does not keep to the SLO even at concurrency 1: latency p95 was 2 s, 100% over" in said["slow"].sentence
    assert all(answer.load is None for answer in capacity.answers[:3])
    assert not capacity.met


def test_a_rate_is_not_searched_where_one_request_at_a_time_is_too_slow(tmp_path, benchmark_on):
    capacity = benchmark_on(Stamped(0)).find_capacity(LIMIT, over="poisson", directory=tmp_path / "r")
    [answer] = capacity.answers
    assert answer.standing == "unmet"
    assert "That was one request at a time." in answer.sentence
    assert len(Result.load(tmp_path / "r").experiments) == 1


def test_a_rate_is_not_searched_where_every_request_alone_fails(tmp_path, benchmark_on):
    capacity = benchmark_on(Stamped(1, fail=True)).find_capacity(LIMIT, over="poisson", directory=tmp_path / "r")
    [answer] = capacity.answers
    assert (answer.standing, answer.load) == ("unknown", None)
    assert "requests all failed" in answer.sentence


def test_a_highest_rate_may_be_named(tmp_path, benchmark_on):
    search = benchmark_on(Stamped(1)).find_capacity(
        SLO(latency_p95_seconds=30), over=Poisson, start=1000.0, most=2000.0, max_requests=2_000, directory=tmp_path / "r"
    )
    [answer] = search.answers
    assert (answer.standing, answer.high) == ("at least", None)
    assert answer.load in {1000, 2000}
    experiments = Result.load(tmp_path / "r").experiments
    assert {experiment.per_second for experiment in experiments} <= {1000, 2000}
    assert experiments[0].load_fields["seed"] != experiments[1].load_fields["seed"]


def test_a_limit_of_time_ends_it_with_what_is_known(tmp_path, benchmark_on, events):
    benchmark = benchmark_on(Stamped(1000, pause=0.05), max_hours=2 / 3600)
    [answer] = benchmark.find_capacity(LIMIT, directory=tmp_path / "r").answers
    assert "max_hours" in answer.ended
    assert answer.standing in {"unknown", "at least"}
    assert events[-1] == ("leave", "d0")


def test_a_search_that_was_cut_short_goes_on_where_it_was(tmp_path, benchmark_on):
    seen = []

    class Enough(Exception):
        pass

    async def interrupted():
        task = asyncio.ensure_future(
            benchmark_on(Stamped(5)).find_capacity_async(LIMIT, directory=tmp_path / "r", on_progress=seen.append)
        )
        while sum(news.event == "measured" for news in seen) < 2:  # noqa: ASYNC110 - news comes from another thread
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(interrupted())
    before = Result.load(tmp_path / "r")
    assert before.state == "cancelled"
    with pytest.raises(RunDirectoryError, match="resume"):
        benchmark_on(Stamped(5)).find_capacity(LIMIT, directory=tmp_path / "r")
    with pytest.raises(RunDirectoryError, match="another"):
        benchmark_on(Stamped(5)).find_capacity(SLO(latency_p95_seconds=3), directory=tmp_path / "r", resume=True)
    capacity = benchmark_on(Stamped(5)).find_capacity(LIMIT, directory=tmp_path / "r", resume=True)
    assert capacity.answers[0].load == 5
    ids = Result.load(tmp_path / "r").records["id"]
    assert ids.is_unique
    first = before.experiments[0]
    assert Result.load(tmp_path / "r").experiments[0].windows == first.windows


def test_what_cannot_be_searched_is_refused_before_anything_is_deployed(tmp_path, benchmark_on, events):
    benchmark = benchmark_on(Stamped(2))
    for given, said in [({}, "needs an SLO"), ({"slo": LIMIT, "over": "ramp"}, "over"), ({"slo": LIMIT, "start": -1}, "start")]:
        with pytest.raises(ConfigError, match=said):
            benchmark.find_capacity(**given, directory=tmp_path / "r")
    assert not (tmp_path / "r").exists()
    assert events == []


def test_the_benchmarks_own_slo_is_used_where_none_is_given(tmp_path, benchmark_on):
    capacity = benchmark_on(Stamped(2), slo=LIMIT).find_capacity(directory=tmp_path / "r")
    assert isinstance(capacity, Capacity)
    assert capacity.slo == LIMIT
    assert capacity.answers[0].load == 2
