"""Whole runs of conversations: over real sockets, in several processes, resumed, and with a real engine's cache."""

import csv
import json
import signal
from itertools import pairwise

import pytest

from fmbench import Benchmark, Concurrency, ConfigError, ConstantRate, Parameters, Prompt, Result
from fmbench.deployers import ExistingEndpoint
from fmbench.invokers import OpenAI
from fmbench.invokers.sagemaker import SageMaker
from fmbench.recording import read_table
from fmbench.testing import FakeServer


def talk(name, turns=3, pause=0.0):
    words = " ".join(f"{name}{number}" for number in range(20))
    return [
        Prompt(
            id=f"{name}-{turn}",
            text=f"{words} question {turn}?",
            after=f"{name}-{turn - 1}" if turn else None,
            pause_seconds=pause if turn else 0.0,
        )
        for turn in range(turns)
    ]


def run(directory, server, prompts, loads, **more):
    fields = {"warmup": 0, "invoker": OpenAI(), "parameters": Parameters(max_new_tokens=4), **more}
    Benchmark(deployers=ExistingEndpoint(server.url, name="fake"), prompts=prompts, loads=loads, **fields).run(directory)
    return sorted(read_table(directory).to_pylist(), key=lambda row: row["id"])


def said(row, server):
    body = next(body for body in server.requests if body["x_request_id"] == row["id"])
    return [(message["role"], message["content"]) for message in body["messages"]]


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("load", [Concurrency(2, requests=10), ConstantRate(50, requests=10)], ids=str)
def test_each_turn_goes_out_with_the_answers_that_came(tmp_path, load, workers):
    prompts = [*talk("a", pause=0.02), *talk("b", pause=0.02), Prompt(id="single", text="one"), *talk("c", pause=0.02)]
    with FakeServer(tokens=4) as server:
        rows = run(tmp_path / "run", server, prompts, load, workers=workers)
    assert [(row["session"], row["turn"], row["status"]) for row in rows] == [
        *[(f"{name}-0", turn, "ok") for name in "ab" for turn in (1, 2, 3)],
        ("single", 1, "ok"),
        *[("c-0", turn, "ok") for turn in (1, 2, 3)],
    ]
    by_session = {}
    for row in rows:
        by_session.setdefault(row["session"], []).append(row)
    for several in by_session.values():
        history = []
        for row, prompt in zip(
            several, [one for one in prompts if one.id in {row["prompt_id"] for row in several}], strict=True
        ):
            history.append(("user", prompt.text))
            assert said(row, server) == history
            history.append(("assistant", row["completion"]))
        for earlier, later in pairwise(several):
            assert later["due_ns"] == earlier["end_ns"] + 20_000_000
            assert later["sent_ns"] >= later["due_ns"]
    result = Result.load(tmp_path / "run")
    assert {check.verdict for check in result.validity if check.name in {"accounting", "prompt_repetition"}} == {"pass"}
    payloads = (tmp_path / "run" / "payload.jsonl").read_text(encoding="utf-8").splitlines()
    assert [message["content"] for message in json.loads(payloads[2])["messages"]][1] == "<the answer to a-0>"
    with (tmp_path / "run" / "results.csv").open(encoding="utf-8", newline="") as file:
        assert [row["turn"] for row in csv.DictReader(file) if row["session"] == "a-0"] == ["1", "2", "3"]


def test_a_resumed_run_sends_no_turn_whose_answers_are_another_sittings(tmp_path):
    prompts = [prompt for name in "abcd" for prompt in talk(name, 5, pause=0.1)]

    def benchmark(server):
        return Benchmark(
            deployers=ExistingEndpoint(server.url, name="fake"), prompts=prompts, loads=Concurrency(1, requests=20),
            warmup=0, invoker=OpenAI(),
        )  # fmt: skip

    with FakeServer(tokens=2) as server:
        with pytest.raises(KeyboardInterrupt):  # with the first records there are others to come
            benchmark(server).run(tmp_path / "run", on_record=lambda _: signal.raise_signal(signal.SIGINT))
        assert benchmark(server).run(tmp_path / "run", resume=True).state == "finished"
        sent = [body["x_request_id"] for body in server.requests]
    rows = sorted(read_table(tmp_path / "run").to_pylist(), key=lambda row: row["id"])
    assert len(rows) == len({row["id"] for row in rows}) == 20
    assert len(sent) == len(set(sent))
    left = [row for row in rows if row["status"] == "not_sent"]
    assert left
    assert len({row["session"] for row in left}) == 1
    assert all("earlier sitting" in row["error_message"] for row in left)
    assert {check.verdict for check in Result.load(tmp_path / "run").validity if check.name == "accounting"} == {"pass"}


@pytest.mark.parametrize(
    ("prompts", "match"),
    [
        ([Prompt(id="x", text="x", after="y")], "after='y' is the id of no prompt"),
        (
            [Prompt(id="x", text="x"), Prompt(id="y", text="y", after="x"), Prompt(id="z", text="z", after="x")],
            "'y' and 'z' both continue 'x'",
        ),
        ([Prompt(id="x", text="x", after="y"), Prompt(id="y", text="y", after="x")], "round in a circle"),
        ([Prompt(id="x", text="x", after="x")], "round in a circle"),
        ([*talk("a"), *talk("a")], "two have the id 'a-0'"),
        ([Prompt(id="x", text="x"), Prompt(id="y", text="y", after="x", pause_seconds=-1)], "pause_seconds must be 0 or more"),
    ],
)
def test_conversations_that_are_none_are_refused_before_anything_is_deployed(prompts, match):
    with pytest.raises(ConfigError, match=match):
        Benchmark(deployers=ExistingEndpoint("http://127.0.0.1:9"), prompts=prompts, loads=Concurrency(1), invoker=OpenAI())


@pytest.mark.parametrize(
    ("parts", "match"),
    [
        ({"invoker": OpenAI(api="completions")}, "sends plain texts"),
        ({"invoker": SageMaker(dialect="tgi")}, "sends plain texts"),
        ({"parameters": Parameters(truncate="at-prompt-token-length")}, "truncate="),
        ({"loads": ConstantRate(1, max_concurrency=3)}, "max_concurrency cannot be kept"),
    ],
)
def test_what_conversations_cannot_be_sent_with_is_refused_before_anything_is_deployed(parts, match):
    fields = {"loads": Concurrency(1), "invoker": OpenAI(), **parts}
    with pytest.raises(ConfigError, match=match):
        Benchmark(deployers=ExistingEndpoint("http://127.0.0.1:9"), prompts=talk("a"), **fields)


def test_llama_cpps_cached_tokens_rise_turn_by_turn(tmp_path):
    pytest.importorskip("xllamacpp", reason="the local extra is not installed")
    from fmbench.deployers import LlamaCpp

    prompts = [*talk("a", 4, pause=0.02), *talk("b", 4, pause=0.02)]
    Benchmark(
        deployers=LlamaCpp(slots=2), prompts=prompts, loads=Concurrency(2, requests=8), warmup=0,
        invoker=OpenAI(extra={"cache_prompt": True}, keep_alive=False, profile="llamacpp"),
        parameters=Parameters(max_new_tokens=8, force_length=True, temperature=0.0),
    ).run(tmp_path / "run")  # fmt: skip
    rows = sorted(read_table(tmp_path / "run").to_pylist(), key=lambda row: (row["session"], row["turn"]))
    assert [(row["session"], row["turn"], row["status"]) for row in rows] == [
        (f"{name}-0", turn, "ok") for name in "ab" for turn in (1, 2, 3, 4)
    ]
    for name in "ab":
        mine = [row for row in rows if row["session"] == f"{name}-0"]
        cached = [row["cached_tokens"] for row in mine]
        assert all(later > earlier for earlier, later in pairwise(cached)), cached
        for earlier, later in pairwise(mine):
            assert later["cached_tokens"] >= earlier["prompt_tokens"]
            assert later["prompt_tokens"] > earlier["prompt_tokens"]
