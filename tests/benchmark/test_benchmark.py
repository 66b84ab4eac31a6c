"""Whole runs against candidates in this process."""

import asyncio
import csv
import json
import signal
import threading
import time
from contextlib import asynccontextmanager

import anyio
import pytest

from fmbench.advice import SLO
from fmbench.benchmark import Benchmark, Case
from fmbench.errors import ConfigError, RunDirectoryError
from fmbench.load import Concurrency, ConstantRate, Replay
from fmbench.recording import read_table
from fmbench.result import Result
from fmbench.types import Parameters, Prompt

SEED_COLUMNS = [
    *("endpoint_name", "prompt", "do_sample", "temperature", "top_p", "top_k", "max_new_tokens", "truncate", "completion"),
    *(
        "prompt_tokens",
        "completion_tokens",
        "latency",
        "tps",
        "token_throughput",
        "EndpointName",
        "ModelName",
        "Image",
        "S3Uri",
    ),
    *("OPTION_DTYPE", "OPTION_MAX_ROLLING_BATCH_SIZE", "OPTION_NEURON_OPTIMIZE_LEVEL", "OPTION_N_POSITIONS"),
    *("OPTION_ROLLING_BATCH", "OPTION_TENSOR_PARALLEL_DEGREE", "SAGEMAKER_MODEL_SERVER_WORKERS", "concurrency"),
]


def rows(directory):
    return read_table(directory).to_pylist()


def test_a_run_writes_what_it_promises(tmp_path, here, echo, prompts, events):
    benchmark = Benchmark(
        deployers=[here("a"), here("b")],
        prompts=prompts,
        loads=[Concurrency(1, requests=5), Concurrency(3, requests=9)],
        invoker=echo(),
        parameters=Parameters(temperature=0.1, truncate="at-prompt-token-length"),
        tokenizer=Counter(),
        columns=["endpoint.Url"],
        name="seven",
    )
    result = benchmark.run(tmp_path / "run")
    assert result.state == "finished"
    assert [e.name for e in result.experiments] == [
        "a, concurrency 1",
        "a, concurrency 3",
        "b, concurrency 1",
        "b, concurrency 3",
    ]
    records = rows(tmp_path / "run")
    assert len(records) == (5 + 1 + 9 + 3) * 2
    assert {r["status"] for r in records} == {"ok"}
    assert len({r["id"] for r in records}) == len(records)
    with (tmp_path / "run" / "results.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert list(table[0])[:26] == SEED_COLUMNS
    assert list(table[0])[-1] == "Url"
    assert len(table) == len(records)
    assert table[0]["prompt"].startswith("word number")
    assert table[0]["truncate"] == "3"
    assert table[0]["Url"] == "in://process"
    payloads = [json.loads(line) for line in (tmp_path / "run" / "payload.jsonl").read_text(encoding="utf-8").splitlines()]
    assert payloads[0] == {"inputs": "word number 0", "parameters": {"temperature": 0.1, "truncate": "at-prompt-token-length"}}
    endpoints = json.loads((tmp_path / "run" / "endpoints.json").read_text(encoding="utf-8"))
    assert [sorted(entry) for entry in endpoints] == [["endpoint", "endpoint_config", "experiment_name", "model_config"]] * 2
    assert events.count(("leave", "a")) == events.count(("leave", "b")) == 1


class Counter:
    """A tokenizer of words."""

    def count(self, texts):
        return [len(text.split()) for text in texts]


def test_a_loaded_result_is_what_the_run_gave(tmp_path, here, echo, prompts):
    live = Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(2, requests=12), invoker=echo()).run(tmp_path / "run")
    again = Result.load(tmp_path / "run")
    assert live.summary.equals(again.summary)
    assert live.records.equals(again.records)
    assert live.validity == again.validity


def test_equal_deployers_are_deployed_once_and_one_experiment_runs_at_a_time(tmp_path, here, echo, prompts, events):
    cases = [Case(deployer=here("a"), prompts=prompts, load=Concurrency(n, requests=4), invoker=echo()) for n in (1, 2)]
    Benchmark(cases=[*cases, Case(deployer=here("b"), prompts=prompts, load=Concurrency(1, requests=4), invoker=echo())]).run(
        tmp_path / "r"
    )
    assert [event for event in events if event[0] == "enter"] == [("enter", "a"), ("enter", "b")]
    sends = [event[1].split("-")[1] for event in events if event[0] == "send"]
    assert sends == sorted(sends)


def test_exclusive_deployers_are_entered_one_after_another(tmp_path, here, echo, prompts, events):
    deployers = [here(name, exclusive="host") for name in "abc"]
    Benchmark(deployers=deployers, prompts=prompts, loads=Concurrency(1, requests=2), invoker=echo()).run(tmp_path / "r")
    order = [event[:2] for event in events if event[0] in {"enter", "leave"}]
    assert order == [(what, name) for name in "abc" for what in ("enter", "leave")]


def test_a_failed_deployment_is_a_value_and_the_others_go_on(tmp_path, here, echo, prompts):
    benchmark = Benchmark(
        deployers=[here("bad", fails="no capacity"), here("good")],
        prompts=prompts,
        loads=Concurrency(1, requests=4),
        invoker=echo(),
    )
    result = benchmark.run(tmp_path / "r")
    bad, good = result.experiments
    assert (bad.status, good.status) == ("not_sent", "measured")
    assert "no capacity" in bad.reason
    assert bad.counts["not_sent"] == 5
    assert [d.status for d in result.deployments] == ["failed", "up"]


def test_a_teardown_that_fails_is_a_problem_told(tmp_path, here, echo, prompts):
    deployer = here("a", fails_leaving="stuck")
    result = Benchmark(deployers=deployer, prompts=prompts, loads=Concurrency(1, requests=2), invoker=echo()).run(
        tmp_path / "r"
    )
    assert any("stuck" in problem["message"] for problem in result.problems)
    assert result.experiments[0].status == "measured"


def test_a_session_that_cannot_be_opened_costs_its_experiment_alone(tmp_path, here, echo, prompts):
    cases = [
        Case(deployer=here(), prompts=prompts, load=Concurrency(1, requests=3), invoker=echo(refuse="nobody there")),
        Case(deployer=here(), prompts=prompts, load=Concurrency(2, requests=3), invoker=echo()),
    ]
    result = Benchmark(cases=cases).run(tmp_path / "r")
    assert [e.status for e in result.experiments] == ["not_sent", "measured"]
    assert "nobody there" in result.experiments[0].reason


def test_an_endpoint_nobody_speaks_to_is_refused_and_taken_down(tmp_path, here, prompts, events):
    with pytest.raises(ConfigError, match="invoker"):
        Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(1, requests=3)).run(tmp_path / "r")
    assert ("leave", "here") in events
    assert list((tmp_path / "r").iterdir()) == []


def test_bad_prompts_are_told_and_leave_the_folder_free(tmp_path, here, echo, prompts, events):
    twins = [prompts[0], prompts[0]]
    with pytest.raises(ConfigError, match="two prompts have the id 'p0'"):
        Benchmark(deployers=here(seconds=5), prompts=twins, loads=Concurrency(1, requests=3), invoker=echo()).run(
            tmp_path / "r"
        )
    Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(1, requests=3), invoker=echo()).run(tmp_path / "r")


class Lazy:
    """A source that must be drawn to be looked at."""

    def __init__(self, prompts):
        self.prompts = prompts

    def __iter__(self):
        return iter(self.prompts)


def test_a_replay_of_prompts_without_times_is_refused_before_anything_is_sent(tmp_path, here, echo, prompts, events):
    with pytest.raises(ConfigError, match="prompt 'p0' has no at_seconds"):
        Benchmark(deployers=here(), prompts=prompts, loads=Replay(), invoker=echo())
    benchmark = Benchmark(deployers=here(), prompts=Lazy(prompts), loads=Replay(), invoker=echo())
    with pytest.raises(ConfigError, match="prompt 'p0' has no at_seconds"):
        benchmark.run(tmp_path / "r")
    assert "send" not in {event for event, *_ in events}
    assert not (tmp_path / "r" / "run.json").exists()


def test_a_replay_sends_the_prompts_at_their_times(tmp_path, here, echo):
    prompts = [Prompt(id=f"at {at}", text="x", at_seconds=at) for at in (0.3, 0.1, 0.2)]
    benchmark = Benchmark(deployers=here(), prompts=prompts, loads=Replay(requests=3), invoker=echo(), warmup=0)
    records = benchmark.run(tmp_path / "r").records.sort_values("due_ns")
    assert records.prompt_id.tolist() == ["at 0.1", "at 0.2", "at 0.3"]
    assert records.due_ns.diff().dropna().tolist() == [100_000_000] * 2


def test_what_no_server_counts_is_counted_by_the_tokenizer_after_the_run(tmp_path, here, echo, prompts):
    invoker = echo(usage=False)
    Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(1, requests=3), invoker=invoker, tokenizer=Counter()).run(
        tmp_path / "r"
    )
    assert {(r["completion_tokens"], r["completion_tokens_source"]) for r in rows(tmp_path / "r")} == {(3, "tokenizer")}
    Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(1, requests=3), invoker=invoker).run(tmp_path / "s")
    assert {r["completion_tokens_source"] for r in rows(tmp_path / "s")} == {"estimated"}


def test_folders(tmp_path, here, echo, prompts):
    benchmark = Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(1, requests=3), invoker=echo())
    benchmark.run(tmp_path / "r")
    with pytest.raises(RunDirectoryError, match="finished"):
        benchmark.run(tmp_path / "r")
    with pytest.raises(RunDirectoryError, match="finished"):
        benchmark.run(tmp_path / "r", resume=True)
    with pytest.raises(RunDirectoryError, match="no run to resume"):
        benchmark.run(tmp_path / "nothing", resume=True)
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "thesis.tex").write_text("x", encoding="utf-8")
    with pytest.raises(RunDirectoryError, match="not empty"):
        benchmark.run(tmp_path / "s")


def test_interrupting_takes_down_and_resuming_sends_only_what_is_missing(tmp_path, here, echo, prompts, events):
    def benchmark():
        return Benchmark(
            deployers=here(),
            prompts=prompts,
            loads=[Concurrency(1, requests=10), Concurrency(2, requests=200)],
            invoker=echo(0.005),
        )

    threading.Timer(0.8, signal.raise_signal, [signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        benchmark().run(tmp_path / "r")
    assert events[-1] == ("leave", "here")
    cut = Result.load(tmp_path / "r")
    assert cut.state == "cancelled"
    assert (tmp_path / "r" / "results.csv").exists()
    first = {r["id"] for r in rows(tmp_path / "r")}
    with pytest.raises(RunDirectoryError, match="unfinished"):
        benchmark().run(tmp_path / "r")
    events.clear()
    result = benchmark().run(tmp_path / "r", resume=True)
    ids = [r["id"] for r in rows(tmp_path / "r")]
    assert len(ids) == len(set(ids)) == 11 + 202
    assert not first & {event[1] for event in events if event[0] == "send"}
    assert [e.status for e in result.experiments] == ["measured", "measured"]
    assert len(result.experiments[1].windows) == 2
    assert result.state == "finished"


def test_inside_a_running_loop_blocking_and_awaited(tmp_path, here, echo, prompts):
    def benchmark():
        return Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(2, requests=6), invoker=echo())

    async def main():
        blocking = benchmark().run(tmp_path / "a")
        awaited = await benchmark().run_async(tmp_path / "b")
        return blocking, awaited

    policy, handler, threads = asyncio.get_event_loop_policy(), signal.getsignal(signal.SIGINT), threading.active_count()
    for result in asyncio.run(main()):
        assert result.experiments[0].counts["ok"] == 8
    assert asyncio.get_event_loop_policy() is policy
    assert signal.getsignal(signal.SIGINT) is handler
    assert threading.active_count() == threads


def test_awaited_under_trio(tmp_path, here, echo, prompts):
    benchmark = Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(2, requests=6), invoker=echo())
    result = anyio.run(benchmark.run_async, tmp_path / "a", backend="trio")
    assert result.experiments[0].counts["ok"] == 8


def test_cancelling_the_task_takes_down_before_it_is_over(tmp_path, here, echo, prompts, events):
    benchmark = Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(2, seconds=60), invoker=echo())

    async def main():
        task = asyncio.create_task(benchmark.run_async(tmp_path / "a"))
        await asyncio.sleep(0.7)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert events[-1] == ("leave", "here")

    asyncio.run(main())
    assert Result.load(tmp_path / "a").state == "cancelled"
    assert not [thread for thread in threading.enumerate() if thread.name == "fmbench"]


def test_two_at_once_in_one_process(tmp_path, here, echo, prompts):
    async def main():
        benchmarks = [
            Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(2, requests=30), invoker=echo()) for _ in "ab"
        ]
        return await asyncio.gather(*(one.run_async(tmp_path / str(index)) for index, one in enumerate(benchmarks)))

    assert [result.experiments[0].counts["ok"] for result in asyncio.run(main())] == [32, 32]


def test_news_come_in_order_and_a_callback_that_fails_is_told_once(tmp_path, here, echo, prompts):
    news, seen = [], []

    def broken(record):
        seen.append(record.id)
        raise RuntimeError("mine")

    benchmark = Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(1, requests=5), invoker=echo())
    result = benchmark.run(tmp_path / "r", on_progress=news.append, on_record=broken)
    kinds = [one.event for one in news if one.event != "progress"]
    assert kinds == ["prompts", "deploying", "deployed", "measuring", "measured", "deleting", "deleted"]
    assert (news[-3].done, news[-3].total) == (6, 6)
    assert len(seen) == 1
    assert [problem["where"] for problem in result.problems] == ["on_record"]


def test_a_reporter_that_fails_costs_nothing(tmp_path, here, echo, prompts):
    class Broken:
        def report(self, result, directory):
            raise RuntimeError("no ink")

    class Works:
        def report(self, result, directory):
            (directory / "x.txt").write_text(str(len(result.records)), encoding="utf-8")
            return [directory / "x.txt"]

    benchmark = Benchmark(
        deployers=here(), prompts=prompts, loads=Concurrency(1, requests=5), invoker=echo(), reporters=[Broken(), Works()]
    )
    result = benchmark.run(tmp_path / "r")
    assert [problem["message"] for problem in result.problems] == ["no ink"]
    assert (tmp_path / "r" / "x.txt").read_text(encoding="utf-8") == "6"


def test_time_and_money_end_a_run_and_are_told(tmp_path, here, echo, prompts, events):
    deployer = here(usd_per_hour=3600.0)
    started = time.perf_counter()
    benchmark = Benchmark(deployers=deployer, prompts=prompts, loads=Concurrency(1, seconds=300), invoker=echo(), max_usd=0.5)
    result = benchmark.run(tmp_path / "r")
    assert time.perf_counter() - started < 60
    assert any(problem["kind"] == "limit" and "max_usd" in problem["message"] for problem in result.problems)
    assert events[-1] == ("leave", "here")
    assert result.experiments[0].counts["ok"] > 0
    with pytest.raises(ConfigError, match="usd_per_hour"):
        Benchmark(deployers=here(), prompts=prompts, loads=Concurrency(1), invoker=echo(), max_usd=1)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"deployers": []}, "deployers is empty"),
        ({"deployers": None}, "deployers is missing"),
        ({"loads": []}, "loads is empty"),
        ({"loads": [4]}, "not a Load"),
        ({"loads": [Concurrency(1), Concurrency(1)]}, "two experiments are called"),
        ({"prompts": 3}, "not a PromptSource"),
        ({"deployers": "llamacp"}, "did you mean 'llamacpp'"),
        ({"request_timeout_seconds": 0}, "request_timeout_seconds must be above 0"),
        ({"cases": []}, "either cases"),
        ({"reporters": [3]}, "not a Reporter"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_anything_happens(here, echo, prompts, change, match):
    parts = {"deployers": here(), "prompts": prompts, "loads": Concurrency(1), "invoker": echo()}
    with pytest.raises(ConfigError, match=match):
        Benchmark(**parts | change)


def test_a_plan_touches_nothing_and_bounds_time_and_money(tmp_path, here, echo, prompts, events):
    benchmark = Benchmark(
        deployers=here(usd_per_hour=2.0),
        prompts={"qa": prompts, "chat": [Prompt(id="x", text="y")]},
        loads=[Concurrency(4, requests=10), ConstantRate(5, seconds=60)],
        invoker=echo(),
        request_timeout_seconds=10,
        drain_seconds=5,
        slo=SLO(latency_p95_seconds=1),
    )
    plan = benchmark.plan()
    assert [row.experiment for row in plan.rows] == [
        "here, qa, concurrency 4", "here, qa, 5/s", "here, chat, concurrency 4", "here, chat, 5/s",
    ]  # fmt: skip
    assert plan.rows[0].requests == 14
    assert plan.rows[0].max_seconds == 40
    assert plan.rows[1].max_seconds == 10 / 5 + 60 + 5
    assert plan.max_usd == pytest.approx(plan.max_seconds / 3600 * 2)
    assert events == []


def test_a_deployers_invoker_may_be_a_registered_name(tmp_path, prompts):
    from fmbench.deployers import ExistingEndpoint
    from fmbench.invokers import OpenAI
    from fmbench.testing import FakeServer

    with FakeServer() as server:
        deployer = ExistingEndpoint(server.url, invoker="openai")
        result = Benchmark(deployers=deployer, prompts=prompts, loads=Concurrency(1, requests=2)).run(tmp_path / "r")
    assert {row["status"] for row in rows(tmp_path / "r")} == {"ok"}
    assert [experiment.status for experiment in result.experiments] == ["measured"]
    with pytest.raises(ConfigError, match="there is no invoker called 'openia'; did you mean 'openai'"):
        Benchmark(deployers=ExistingEndpoint("http://x", invoker="openia"), prompts=prompts, loads=Concurrency(1, requests=2))
    own = Benchmark(deployers=deployer, prompts=prompts, loads=Concurrency(1, requests=2), invoker=OpenAI(stream=False))
    assert own._asked[0].invoker == OpenAI(stream=False)


def test_loads_of_one_name_are_told_apart_by_what_differs(here, prompts):
    loads = [
        Concurrency(2),
        Concurrency(2, seconds=5),
        ConstantRate(3, seconds=5),
        ConstantRate(3, seconds=5, max_concurrency=4),
    ]
    rows = Benchmark(deployers=here(name="d"), prompts=prompts, loads=loads).plan().rows
    told = ["d, concurrency 2", "d, concurrency 2, seconds=5", "d, 3/s", "d, 3/s, max_concurrency=4"]
    assert [row.experiment for row in rows] == told


def test_a_mistake_found_while_drawing_leaves_the_folder_to_be_used_again(tmp_path, echo):
    from fmbench.testing import InProcess

    class Logging(InProcess):
        @asynccontextmanager
        async def deploy(self, run):
            (run.directory / "logs").mkdir()
            (run.directory / "logs" / "server.log").write_text("it listens")
            async with super().deploy(run) as endpoint:
                yield endpoint

    def prompts():
        raise ConfigError("prompts: there are none")
        yield

    class Source:
        def __iter__(self):
            return prompts()

    benchmark = Benchmark(deployers=Logging("logging"), prompts=Source(), loads=Concurrency(1, requests=1), invoker=echo())
    for _ in range(2):
        with pytest.raises(ConfigError, match="there are none"):
            benchmark.run(tmp_path / "r")
    assert list((tmp_path / "r").iterdir()) == []
