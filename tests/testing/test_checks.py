"""The checks catch adapters that break their promises."""

import asyncio
import itertools
import random
import time

import pytest

from fmbench import Benchmark, Concurrency, Delta, Endpoint, Prompt
from fmbench.deployers import ExistingEndpoint
from fmbench.testing import (
    Echo,
    FakeServer,
    InProcess,
    check_invoker,
    check_prompt_source,
    check_reporter,
    made_up_result,
)

HERE = Endpoint(name="here", url="in-process://")


@pytest.fixture
def impatient(monkeypatch):
    """What is left is left for good here: nobody need wait for it to go."""
    monkeypatch.setattr("fmbench.testing.deployer.SETTLE_SECONDS", 0.3)


class FromFunction:
    def __init__(self, function):
        self.function = function

    def __iter__(self):
        return self.function()


def test_counting_that_drops_prompts_is_seen():
    class Drops(FromFunction):
        def counted_by(self, tokenizer):
            return [Prompt(id="a", text="x", tokens=1)]

    with pytest.raises(AssertionError, match="counted_by gave other prompts"):
        check_prompt_source(Drops(lambda: iter([Prompt(id="a", text="x"), Prompt(id="b", text="y")])))


def test_prompts_that_differ_each_time_are_seen():
    class Unseeded:
        def __iter__(self):
            yield Prompt(id="a", text=str(random.random()))

    class Shared(Unseeded):
        """Always the same, by taking the caller's random numbers away."""

        def __iter__(self):
            random.seed(1)
            return super().__iter__()

    with pytest.raises(AssertionError, match="random module's own state"):
        check_prompt_source(Unseeded())
    with pytest.raises(AssertionError, match="random module's own state"):
        check_prompt_source(Shared())
    numbers = itertools.count()
    with pytest.raises(AssertionError, match="different prompts"):
        check_prompt_source(FromFunction(lambda: iter([Prompt(id="a", text=str(next(numbers)))])))
    with pytest.raises(AssertionError, match="only once"):
        check_prompt_source(Prompt(id=str(n), text="x") for n in range(3))
    with pytest.raises(AssertionError, match="one id"):
        check_prompt_source([Prompt(id="a", text="x"), Prompt(id="a", text="y")])
    with pytest.raises(AssertionError, match="a prompt continues 'b', which the source does not yield"):
        check_prompt_source([Prompt(id="a", text="x", after="b")])


def test_an_invoker_that_reads_the_reply_wrongly_is_seen():
    class Wrong(Echo):
        def decode(self, pieces, head):
            completion = super().decode(pieces, head)
            object.__setattr__(completion, "deltas", [Delta(99, text="x")])
            return completion

    with pytest.raises(AssertionError, match="names piece 99"):
        check_invoker(Wrong(), HERE)


def test_an_invoker_that_cannot_be_cancelled_is_seen(monkeypatch):
    monkeypatch.setattr("fmbench.testing.invoker.PROMPT_SECONDS", 0.1)

    class Stubborn(Echo):
        async def send(self, request, exchange):
            try:
                await super().send(request, exchange)
            except asyncio.CancelledError:
                time.sleep(0.3)  # noqa: ASYNC251 - what a stubborn one does
                raise

    with pytest.raises(AssertionError, match="a cancelled request took longer"):
        check_invoker(Stubborn(), HERE)


def test_a_request_that_is_cancelled_in_its_midst_and_spoils_the_next_is_seen():
    class Sticky(Echo):
        """What a reply still had to say is said in the next one, as on a connection that is used again."""

        def __init__(self):
            super().__init__()
            object.__setattr__(self, "unread", [])

        async def send(self, request, exchange):
            words, self.unread[:] = [*self.unread, *request.payload["inputs"].split()], []
            exchange.sent()
            await asyncio.sleep(0)
            while words:
                exchange.piece(words.pop(0) + " ")
                self.unread[:] = words
                await asyncio.sleep(0.001)
            self.unread.clear()

    with pytest.raises(AssertionError, match=r"was answered by '.*number 0\. Say"):
        check_invoker(Sticky(), HERE, answers=lambda prompt, reply: reply.text.split() == prompt.text.split())


def test_a_reporter_that_changes_the_run_or_names_what_it_has_not_written_is_seen():
    class Vandal:
        def report(self, result, directory):
            (result.directory / "run.json").write_text("{}", encoding="utf-8")
            return []

    class Litterer:
        def report(self, result, directory):
            (result.directory / "mine.txt").write_text("", encoding="utf-8")
            return []

    class Liar:
        def report(self, result, directory):
            return [directory / "nothing.txt"]

    with pytest.raises(AssertionError, match=r"changed the run's run\.json"):
        check_reporter(Vandal())
    with pytest.raises(AssertionError, match=r"changed the run's mine\.txt"):
        check_reporter(Litterer())
    with pytest.raises(AssertionError, match="which it has not written"):
        check_reporter(Liar())


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"status": 401}, "unauthorized"),
        ({"status": 404}, "not_found"),
        ({"status": 429}, "throttled"),
        ({"status": 500}, "server"),
        ({"fault": "html"}, "decode"),
        ({"fault": "truncated"}, "reset"),
        ({"fault": "reset"}, "reset"),
        ({"fault": "not_json"}, "decode"),
        ({"fault": "error_event"}, "model_error"),
    ],
)
def test_every_fault_of_the_fake_server_becomes_a_record_of_its_kind(tmp_path, options, kind):
    prompts = [Prompt(id=str(n), text="x") for n in range(30)]
    with FakeServer(**options) as server:
        benchmark = Benchmark(
            deployers=ExistingEndpoint(server.url), prompts=prompts, loads=Concurrency(2, requests=30), stop_on_errors=5
        )
        result = benchmark.run(tmp_path / "r")
    [experiment] = result.experiments
    assert set(experiment.errors) == {kind, "not_sent"}
    assert experiment.status == "stopped"
    assert "first 5 requests all failed" in experiment.reason


def test_a_server_that_hangs_costs_a_time_out_each(tmp_path):
    with FakeServer(fault="hang") as server:
        benchmark = Benchmark(
            deployers=ExistingEndpoint(server.url),
            prompts=[Prompt(id="a", text="x")],
            loads=Concurrency(2, requests=4),
            warmup=0,
            request_timeout_seconds=0.2,
        )
        result = benchmark.run(tmp_path / "r")
    assert result.experiments[0].counts["timeout"] == 4


def test_made_up_results_are_of_their_kind(tmp_path):
    assert made_up_result(tmp_path / "a").experiments[0].latency.p50 > 0
    assert made_up_result(tmp_path / "b", "all_failed").experiments[0].error_rate == 1
    assert len(made_up_result(tmp_path / "c", "empty").records) == 0


def test_a_deployment_that_fails_is_a_value(tmp_path):
    result = Benchmark(
        deployers=InProcess(fails="full"), prompts=[Prompt(id="a", text="x")], loads=Concurrency(1, requests=2)
    ).run(tmp_path / "r")
    assert result.deployments[0].error["message"] == "full"
