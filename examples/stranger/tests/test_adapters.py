"""The adapters keep fmbench's promises, and fmbench finds them by name."""

from __future__ import annotations

from pathlib import Path

import anyio
from fmbench_stranger import Alphabet, Letterbox, Line, Postcard

from fmbench import Benchmark, Concurrency, Endpoint, Parameters, Run
from fmbench.testing import check_deployer, check_invoker, check_prompt_source, check_reporter


def test_they_keep_the_promises() -> None:
    """The conformance checks."""
    check_deployer(Letterbox)
    check_prompt_source(Alphabet())
    check_reporter(Postcard())


def test_the_invoker_keeps_them_too(tmp_path: Path) -> None:
    """Against a letterbox in a thread of its own."""
    from threading import Event, Thread  # noqa: PLC0415 - for this test alone

    found: list[Endpoint] = []
    up, end = Event(), Event()

    async def serve() -> None:
        async with Letterbox().deploy(Run(name="test", directory=tmp_path, tags={})) as endpoint:
            found.append(endpoint)
            up.set()
            while not end.is_set():  # noqa: ASYNC110 - another thread's event
                await anyio.sleep(0.01)

    thread = Thread(target=anyio.run, args=(serve,))
    thread.start()
    up.wait()
    try:
        check_invoker(Line(), found[0], parameters=Parameters(max_new_tokens=30))
    finally:
        end.set()
        thread.join()


def test_fmbench_finds_them_by_name(tmp_path: Path) -> None:
    """A whole run, with nothing but names."""
    benchmark = Benchmark(
        deployers="letterbox", prompts="alphabet", loads=Concurrency(2, requests=26), invoker="line", reporters=["postcard"]
    )
    result = benchmark.run(tmp_path / "run")
    assert result.experiments[0].counts["ok"] == 28
    assert set(result.records["completion_tokens"]) == {26}
    assert "28 letters came back" in (tmp_path / "run" / "postcard.txt").read_text(encoding="utf-8")
