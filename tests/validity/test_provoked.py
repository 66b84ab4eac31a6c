"""Each reason for doubt is provoked on purpose, in real runs over real sockets against a server in another process."""

import os
import subprocess
import sys
import time
from contextlib import asynccontextmanager, contextmanager

import pytest

from fmbench import Benchmark, Concurrency, ConstantRate, Parameters, Prompt
from fmbench.deployers import ExistingEndpoint
from fmbench.invokers import OpenAI

TOKENS = 4
SERVER = """
import asyncio, json, sys

slots, tokens = int(sys.argv[1]), int(sys.argv[2])
gate = asyncio.Semaphore(slots)

def event(content, finish_reason=None):
    choice = {"index": 0, "delta": {"content": content}, "finish_reason": finish_reason}
    return b"data: " + json.dumps({"choices": [choice]}).encode() + b"\\n\\n"

async def serve(reader, writer):
    while head := await reader.readuntil(b"\\r\\n\\r\\n"):
        length = int(head.lower().partition(b"content-length:")[2].split(b"\\r\\n")[0])
        asked = json.loads(await reader.readexactly(length))["max_tokens"]
        async with gate:
            await asyncio.sleep(0.004)
            told = [event("word ") for _ in range(tokens or asked)]
            usage = {"prompt_tokens": 9, "completion_tokens": len(told)}
            told[-1] = event("word ", "length")
            told[-1] += b"data: " + json.dumps({"choices": [], "usage": usage}).encode() + b"\\n\\ndata: [DONE]\\n\\n"
            size = sum(map(len, told))
            writer.write(b"HTTP/1.1 200 OK\\r\\ncontent-type: text/event-stream\\r\\ncontent-length: %d\\r\\n\\r\\n" % size)
            for part in told:
                writer.write(part)
                await asyncio.sleep(0.001)

async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


@contextmanager
def serving(*, slots=16, tokens=0):
    """A server of so many places, whose replies are as long as asked for, or all of ``tokens`` tokens."""
    command = [sys.executable, "-c", SERVER, str(slots), str(tokens)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        finally:
            process.kill()


@pytest.fixture
def measured(tmp_path):
    """The one experiment of a run."""

    def measure(load, *, prompts=800, invoker=None, **server):
        with serving(**server) as url:
            result = Benchmark(
                deployers=ExistingEndpoint(url, model="m"),
                prompts=[Prompt(id=f"p{number}", text=f"prompt {number}", tokens=2) for number in range(prompts)],
                loads=load,
                parameters=Parameters(max_new_tokens=TOKENS),
                invoker=invoker or OpenAI(),
            ).run(tmp_path / "run")
        [experiment] = result.experiments
        return experiment

    return measure


def check_of(experiment, name):
    [check] = [check for check in experiment.validity if check.name == name]
    return check


PROVOKED = (
    "accounting", "error_rate", "percentile_requests", "prompt_repetition", "output_length", "loop_lag", "client_delay",
)  # fmt: skip


def test_a_calm_closed_load_is_not_doubted(measured):
    experiment = measured(Concurrency(4, requests=700))
    found = {check.name: check for check in experiment.validity}
    assert {name: found[name].verdict for name in PROVOKED[:5]} == dict.fromkeys(PROVOKED[:5], "pass")
    # These two are about time, which a machine that is busy with something else may well be short of: 50 ms is much, though.
    assert "fail" not in {found["loop_lag"].verdict, found["client_delay"].verdict}
    assert not [check for check in experiment.validity if check.verdict == "fail"]
    assert experiment.clock["write_delay_ns"] > 0
    assert found["error_bound"].figure >= experiment.clock["write_delay_ns"] / 1e9


def test_a_calm_open_load_has_no_queue_that_grows(measured):
    experiment = measured(ConstantRate(100, requests=150))
    assert check_of(experiment, "growing_queue").verdict != "fail"


def test_too_few_requests_are_flagged(measured):
    experiment = measured(Concurrency(4, requests=20))
    check = check_of(experiment, "percentile_requests")
    assert (check.verdict, check.figure) == ("warn", 20)
    assert "p90 (needs 64) and p95 (needs 130) and p99 (needs 662)" in check.finding
    assert experiment.latency.p95 is None


def test_repeated_prompts_are_flagged(measured):
    experiment = measured(Concurrency(4, requests=130), prompts=10)
    check = check_of(experiment, "prompt_repetition")
    assert (check.verdict, check.figure) == ("warn", pytest.approx(120 / 130))


@pytest.mark.parametrize("tokens", [2, 9])
def test_a_server_that_ignores_the_length_asked_for_is_flagged(measured, tokens):
    experiment = measured(Concurrency(4, requests=64), tokens=tokens)
    check = check_of(experiment, "output_length")
    assert (check.verdict, check.figure) == ("warn", tokens / TOKENS)


def test_a_queue_that_grows_is_flagged(measured):
    # One place and at least 8 ms for each: 125 a second at most, and 400 are offered.
    experiment = measured(ConstantRate(400, requests=300), slots=1)
    check = check_of(experiment, "growing_queue")
    assert check.verdict == "fail"
    assert check.figure > 1  # the latency grows faster than the time goes by


class Wrapped:
    """A session that does something before each request is sent."""

    def __init__(self, session, work):
        self._session, self._work, self._count = session, work, 0

    def __getattr__(self, name):
        return getattr(self._session, name)

    async def send(self, request, exchange):
        self._count += 1
        self._work(self._count)
        await self._session.send(request, exchange)


class Working:
    """The OpenAI invoker with a slow hand."""

    def __init__(self, work, begin=lambda: None):
        self._work, self._begin = work, begin

    @asynccontextmanager
    async def connect(self, endpoint, *, concurrency):
        self._begin()
        async with OpenAI().connect(endpoint, concurrency=concurrency) as session:
            yield Wrapped(session, self._work)


def block_now_and_then(count):
    if count % 10 == 0:
        time.sleep(0.2)


def test_a_client_that_blocks_its_loop_is_flagged(measured):
    experiment = measured(Concurrency(4, requests=130), invoker=Working(block_now_and_then))
    for name in ("loop_lag", "client_delay"):
        check = check_of(experiment, name)
        assert check.verdict != "pass"
        assert check.figure > 0.05
        assert check.remedy
    # The tokens that came meanwhile were read together, and the streams stood still: that is in the figures.
    assert check_of(experiment, "coalesced").verdict != "pass"
    assert check_of(experiment, "achieved_concurrency").verdict != "pass"
    assert "fail" in {check.verdict for check in experiment.validity}


def test_a_client_whose_core_others_take_is_flagged(measured):
    """Three processes take the core on which the measuring thread wants to compute: it gets a quarter of its time."""
    if not hasattr(os, "sched_setaffinity") or not os.path.exists("/proc/thread-self/schedstat"):  # noqa: PTH110 - a probe
        pytest.skip("this system does not tell how long a thread waited for a processor")
    core = min(os.sched_getaffinity(0))
    takers = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(3)]
    try:
        for taker in takers:
            os.sched_setaffinity(taker.pid, {core})
        invoker = Working(compute, lambda: os.sched_setaffinity(0, {core}))  # of the measuring thread only
        experiment = measured(Concurrency(2, requests=64), invoker=invoker)
    finally:
        for taker in takers:
            taker.kill()
            taker.wait()
    check = check_of(experiment, "core_contention")
    assert check.verdict == "warn"
    assert check.figure > check.limit


def compute(_count):
    end = time.thread_time() + 0.01
    while time.thread_time() < end:
        pass
