"""Against the real llama.cpp: what it says of itself is what was measured."""

import json

import numpy as np
import pytest

from fmbench import Benchmark, Concurrency, Parameters, Prompt
from fmbench.deployers import LlamaCpp
from fmbench.invokers import OpenAI
from fmbench.prompts import PythonTopics
from fmbench.recording import read_table

pytest.importorskip("xllamacpp", reason="the local extra is not installed")
EXTRA = {"cache_prompt": False, "timings_per_token": True}


def measured(tmp_path, extra, n=1, requests=20, **options):
    invoker = OpenAI(extra={**EXTRA, **extra}, keep_alive=False, **options)
    benchmark = Benchmark(
        deployers=LlamaCpp(slots=2),
        prompts=PythonTopics(requests),
        loads=Concurrency(n, requests=requests),
        invoker=invoker,
        parameters=Parameters(max_new_tokens=24, temperature=0.9, seed=1),
    )
    benchmark.run(tmp_path / "run")
    return [row for row in read_table(tmp_path / "run").to_pylist() if row["phase"] == "measured"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("api", ["chat", "completions"])
@pytest.mark.parametrize("extra", [{"ignore_eos": True}, {}], ids=["forced", "free"])
def test_usage_timings_and_the_sum_over_pieces_agree_for_every_request(tmp_path, api, extra, stream):
    rows = measured(tmp_path, extra, n=2, api=api, stream=stream)
    assert {row["status"] for row in rows} == {"ok"}
    for row in rows:
        timings = json.loads(row["server_timings"])
        assert row["completion_tokens_source"] == "server"
        assert row["completion_tokens"] == timings["predicted_n"] == sum(row["arrival_tokens"])
        assert row["prompt_tokens"] == timings["prompt_n"] + timings["cache_n"]
        assert row["streamed"] is stream
        if extra:
            assert (row["completion_tokens"], row["finish_reason"]) == (24, "length")


def test_ttft_and_latency_agree_with_the_servers_own_timings_where_nothing_queued(tmp_path):
    """The server's times leave out HTTP and sampling; ours may be longer by those, and never shorter."""
    rows = measured(tmp_path, {"ignore_eos": True})
    timings = [json.loads(row["server_timings"]) for row in rows]
    ttft = np.array([(row["first_token_ns"] or np.nan) - row["sent_ns"] for row in rows]) / 1e6
    latency = np.array([row["last_token_ns"] - row["sent_ns"] for row in rows]) / 1e6
    prompt = np.array([one["prompt_ms"] for one in timings])
    whole = prompt + np.array([one["predicted_ms"] for one in timings])
    assert np.nanmin(ttft - prompt) > -0.5
    assert (latency - whole).min() > -2.0
    assert np.nanmedian(ttft - prompt) < 100
    assert np.median(latency - whole) < 100


@pytest.mark.parametrize("api", ["chat", "completions"])
def test_unstreamed_replies_have_a_latency_and_no_ttft(tmp_path, api):
    rows = measured(tmp_path, {"ignore_eos": True}, stream=False, api=api)
    assert {row["status"] for row in rows} == {"ok"}
    assert all(row["first_token_ns"] is None and row["last_token_ns"] == row["last_byte_ns"] for row in rows)
    assert all(row["completion_tokens"] == 24 for row in rows)


def test_a_prompt_longer_than_the_context_is_a_validation_error(tmp_path):
    prompts = [Prompt(id="long", text="word " * 9000)]
    invoker = OpenAI(keep_alive=False)
    Benchmark(deployers=LlamaCpp(), prompts=prompts, loads=Concurrency(1, requests=2), invoker=invoker, warmup=0).run(
        tmp_path / "run"
    )
    rows = read_table(tmp_path / "run").to_pylist()
    assert {(row["status"], row["error_kind"], row["http_status"]) for row in rows} == {("error", "validation", 400)}
    assert "context" in rows[0]["error_message"]
