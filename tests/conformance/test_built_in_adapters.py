"""Every built-in adapter keeps the promises that strangers' adapters are held to."""

import json
import sys

import pytest

from fmbench import Endpoint, Prompt
from fmbench.deployers import ExistingEndpoint, LlamaCpp, Process, Simulator
from fmbench.deployers.serving import free_port
from fmbench.invokers import OpenAI, from_call, from_stream
from fmbench.plugins import DEPLOYERS, INVOKERS, PROMPT_SOURCES, REPORTERS
from fmbench.prompts import Dataset, PythonTopics
from fmbench.testing import Echo, FakeServer, InProcess, check_deployer, check_invoker, check_prompt_source, check_reporter

HERE = Endpoint(name="here", url="in-process://")


def repeats(prompt, completion):
    asked = prompt.text.split()
    return completion.text.split()[: len(asked)] == asked


@pytest.mark.parametrize("name", REPORTERS.names())
def test_reporters(name):
    check_reporter(REPORTERS.load(name)())


@pytest.mark.parametrize("options", [{}, {"api": "completions"}, {"stream": False}, {"keep_alive": False}])
def test_openai(options):
    with FakeServer(ttft_seconds=0.02, itl_seconds=0.002) as server:
        check_invoker(OpenAI(**options), Endpoint(name="fake", url=server.url, model="m"), answers=repeats)


def test_functions():
    async def words(prompt, parameters):
        for word in prompt.text.split():
            yield word + " "

    check_invoker(from_stream(words), HERE, answers=repeats)
    check_invoker(from_call(lambda prompt, parameters: prompt.text), HERE, answers=repeats)


def test_fakes():
    check_invoker(Echo(), HERE, answers=repeats)
    check_deployer(InProcess)


def test_existing_endpoint():
    with FakeServer() as server:
        check_deployer(lambda: ExistingEndpoint(server.url))


def test_process():
    port = free_port()
    serve = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)]
    check_deployer(lambda: Process(serve, url=f"http://127.0.0.1:{port}", ready="/"))


def test_llamacpp():
    pytest.importorskip("xllamacpp", reason="the local extra is not installed")
    check_deployer(LlamaCpp)


def test_simulator():
    check_deployer(Simulator)


def test_prompt_sources(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"prompt": f"p {n}"}) + "\n" for n in range(9)), encoding="utf-8")
    check_prompt_source(Dataset(tmp_path / "a.jsonl"))
    check_prompt_source(PythonTopics(20))
    check_prompt_source([Prompt(id="a", text="b")])


def test_every_registered_name_can_be_loaded():
    assert set(DEPLOYERS.names()) >= {"endpoint", "llamacpp", "process", "simulator"}
    for registry in (DEPLOYERS, PROMPT_SOURCES, INVOKERS, REPORTERS):
        for name in registry.names():
            assert callable(registry.load(name))
