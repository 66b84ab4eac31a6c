"""Any SDK by a function."""

import pickle
import threading
import time

import anyio
import pytest

from fmbench import Benchmark, Completion, Concurrency, Delta, Endpoint, Exchange, InvokeError, Parameters, Prompt, Usage
from fmbench.invokers import from_call, from_stream

HERE = Endpoint(name="here", url="in-process://")


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
    release = threading.Event()
    benchmark = Benchmark(
        deployers=Nowhere(),
        prompts=[Prompt(id="a", text="x")],
        loads=Concurrency(1, requests=1),
        invoker=from_call(lambda prompt, parameters: release.wait(30)),
        warmup=0,
        request_timeout_seconds=0.2,
    )
    started = time.perf_counter()
    try:
        result = benchmark.run(tmp_path / "r")
        assert time.perf_counter() - started < 20
    finally:
        release.set()
    assert result.experiments[0].counts["timeout"] == 1


@pytest.mark.parametrize("item", [3, b"bytes"])
def test_a_stream_of_something_else_is_told(tmp_path, item):
    async def odd(prompt, parameters):
        yield item

    result = measured(tmp_path, from_stream(odd))
    assert set(result.records["error_kind"]) == {"decode"}


async def awaited_words(prompt, parameters):
    return words(prompt, parameters)


def test_a_function_that_is_awaited_for_its_stream_will_do(tmp_path):
    result = measured(tmp_path, from_stream(awaited_words))
    assert set(result.records["status"]) == {"ok"}
    assert set(result.records["completion_tokens"]) == {3}


def test_a_cancelled_stream_is_closed_before_send_is_over():
    closed = []

    async def endless(prompt, parameters):
        try:
            while True:
                yield "more "
                await anyio.sleep(0.001)
        finally:
            closed.append(prompt.id)

    async def main():
        async with from_stream(endless).connect(HERE, concurrency=1) as session:
            exchange = Exchange("x", time.perf_counter_ns)
            with anyio.move_on_after(0.05):
                await session.send(session.encode(Prompt(id="p", text="x"), Parameters()), exchange)
            assert closed == ["p"]
            assert exchange.pieces

    anyio.run(main)


def test_an_sdks_own_stream_is_closed_too():
    class Stream:
        closed = False

        def __aiter__(self):
            return self

        async def __anext__(self):
            await anyio.sleep(0.001)
            return "more "

        async def aclose(self):
            self.closed = True

    stream = Stream()

    async def main():
        async with from_stream(lambda prompt, parameters: stream).connect(HERE, concurrency=1) as session:
            with anyio.move_on_after(0.05):
                await session.send(session.encode(Prompt(id="p", text="x"), Parameters()), Exchange("x", time.perf_counter_ns))
            assert stream.closed

    anyio.run(main)


def test_deltas_keep_their_kind_and_tokens(tmp_path):
    async def thinking(prompt, parameters):
        yield Delta(0, "reasoning", "hm", 2)
        yield Delta(0, "text", "yes", 1)

    result = measured(tmp_path, from_stream(thinking))
    assert set(result.records["completion"]) == {"yes"}
    assert set(result.records["completion_tokens"]) == {3}
    assert set(result.records["completion_tokens_source"]) == {"server"}


def test_a_call_that_finds_nothing_next_fails_at_once(tmp_path):
    result = measured(tmp_path, from_call(lambda prompt, parameters: next(iter(()))))
    assert {kind: failure.count for kind, failure in result.experiments[0].errors.items()} == {"bug": 12}
    assert "StopIteration" in result.experiments[0].errors["bug"].message


def test_a_session_ends_without_waiting_for_a_call_that_hangs():
    release = threading.Event()

    def call(prompt, parameters):
        release.wait(20)

    async def main():
        async with from_call(call).connect(HERE, concurrency=1) as session:
            with anyio.move_on_after(0.05):
                await session.send(session.encode(Prompt(id="p", text="x"), Parameters()), Exchange("x", time.perf_counter_ns))

    started = time.perf_counter()
    try:
        anyio.run(main)
        assert time.perf_counter() - started < 10
    finally:
        release.set()


def test_invokers_of_a_modules_own_functions_are_pickled():
    for invoker in (from_stream(words), from_call(time.sleep)):
        assert pickle.loads(pickle.dumps(invoker, -1)) == invoker


def test_the_payload_tells_the_prompt_and_what_was_asked():
    messages = [{"role": "user", "content": "x"}]

    async def main():
        async with from_stream(words).connect(HERE, concurrency=1) as session:
            for content in ({"text": "x"}, {"messages": messages}):
                request = session.encode(Prompt(id="p", **content), Parameters(max_new_tokens=3))
                assert request.payload == {"prompt": next(iter(content.values())), "parameters": {"max_new_tokens": 3}}

    anyio.run(main)
