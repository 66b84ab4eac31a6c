"""Any SDK by a function."""

import time

import anyio
import pytest

from fmbench import Benchmark, Completion, Concurrency, Delta, Endpoint, InvokeError, Prompt, Usage
from fmbench.invokers import from_call, from_stream


class Nowhere:
    name = "nowhere"

    def deploy(self, run):
        class Here:
            async def __aenter__(self):
                return Endpoint(name="nowhere", url="in://process")

            async def __aexit__(self, *_):
                return None

        return Here()


def measured(tmp_path, invoker, **load):
    prompts = [Prompt(id=str(number), text=f"{number}") for number in range(12)]
    load = {"requests": 12, **load}
    return Benchmark(deployers=Nowhere(), prompts=prompts, loads=Concurrency(4, **load), invoker=invoker, warmup=0).run(
        tmp_path / "r"
    )


async def words(prompt, parameters):
    for word in ("a ", "b ", prompt.text):
        await anyio.sleep(0.002)
        yield word
    yield Usage(prompt_tokens=1, completion_tokens=3)


def test_a_stream_is_timed_item_by_item(tmp_path):
    result = measured(tmp_path, from_stream(words))
    records = result.records.sort_values("id")
    assert list(records["completion"]) == [f"a b {number}" for number in range(12)]
    assert set(records["completion_tokens"]) == {3}
    assert result.experiments[0].ttft.count == 12
    assert set(records["clock"]) == {"user"}


def test_a_stream_that_fails_or_says_nothing_is_a_value(tmp_path):
    async def broken(prompt, parameters):
        yield "half"
        if prompt.text == "3":
            raise InvokeError("throttled", "slow down", 429)
        if prompt.text == "4":
            raise ValueError("mine")

    result = measured(tmp_path, from_stream(broken))
    assert {kind: failure.count for kind, failure in result.experiments[0].errors.items()} == {"throttled": 1, "bug": 1}
    failed = result.records.query("error_kind == 'throttled'").iloc[0]
    assert failed["completion"] == "half"


def test_a_blocking_function_runs_in_as_many_threads_as_requests(tmp_path):
    running, most = set(), []

    def call(prompt, parameters):
        running.add(prompt.id)
        most.append(len(running))
        time.sleep(0.05)
        running.discard(prompt.id)
        return f"answer {prompt.text}", Usage(completion_tokens=2)

    result = measured(tmp_path, from_call(call))
    assert max(most) == 4
    assert set(result.records["status"]) == {"ok"}
    assert result.experiments[0].ttft.count == 0
    assert result.experiments[0].latency.p50 >= 0.05


def test_a_blocking_function_may_return_a_completion_and_must_return_something_known(tmp_path):
    def call(prompt, parameters):
        return Completion(deltas=[Delta(0, text="x")], streamed=True, finish_reason="stop") if int(prompt.text) % 2 else 3

    result = measured(tmp_path, from_call(call))
    assert result.experiments[0].counts["ok"] == 6
    assert {kind: failure.count for kind, failure in result.experiments[0].errors.items()} == {"decode": 6}


def test_a_blocking_call_that_hangs_is_given_up_and_holds_nobody(tmp_path):
    def call(prompt, parameters):
        time.sleep(3)
        return "late"

    prompts = [Prompt(id="a", text="x")]
    started = time.perf_counter()
    benchmark = Benchmark(
        deployers=Nowhere(),
        prompts=prompts,
        loads=Concurrency(1, requests=1),
        invoker=from_call(call),
        warmup=0,
        request_timeout_seconds=0.2,
    )
    result = benchmark.run(tmp_path / "r")
    assert time.perf_counter() - started < 2.5
    assert result.experiments[0].counts["timeout"] == 1


@pytest.mark.parametrize("item", [3, b"bytes"])
def test_a_stream_of_something_else_is_told(tmp_path, item):
    async def odd(prompt, parameters):
        yield item

    result = measured(tmp_path, from_stream(odd))
    assert set(result.records["error_kind"]) == {"decode"}
