"""What every invoker promises."""

from __future__ import annotations

import time
from collections.abc import Sequence

import anyio

from fmbench import Completion, Endpoint, Exchange, Head, Invoker, Parameters, Prompt, Session
from fmbench.testing.asserting import require

__all__ = ["check_invoker"]

TOGETHER = 4
PATIENCE_SECONDS = 60.0
PROMPT_SECONDS = 5.0
"""How soon a cancelled request must be over."""


def check_invoker(invoker: Invoker, endpoint: Endpoint, *, parameters: Parameters | None = None) -> None:
    """Check an invoker against an endpoint that answers.

    Encoding is repeatable, replies decode, requests sent together do not mix up, a cancelled request ends promptly and
    spoils no other, and calls after the end are ignored.

    Raises:
        AssertionError: it breaks a promise.
    """
    require(isinstance(invoker, Invoker), f"{invoker!r} has no connect(endpoint, *, concurrency)")
    anyio.run(_check, invoker, endpoint, parameters or Parameters(max_new_tokens=8))


async def _check(invoker: Invoker, endpoint: Endpoint, parameters: Parameters) -> None:
    prompts = [Prompt(id=f"check-{number}", text=f"Say the number {number}.") for number in range(TOGETHER)]
    for _ in range(2):
        async with invoker.connect(endpoint, concurrency=TOGETHER) as session:
            require(isinstance(session, Session), f"{session!r} lacks encode, send or decode")
            _check_encoding(session, prompts, parameters)
            await _check_one(session, prompts[0], parameters)
            await _check_together(session, prompts, parameters)
            await _check_cancelling(session, prompts, parameters)


def _check_encoding(session: Session, prompts: Sequence[Prompt], parameters: Parameters) -> None:
    payloads = [session.encode(prompt, parameters).payload for prompt in prompts]
    require(payloads == [session.encode(prompt, parameters).payload for prompt in prompts], "encoding twice gave two payloads")
    require(len({repr(payload) for payload in payloads}) == len(prompts), "different prompts gave one payload")


async def _sent(session: Session, prompt: Prompt, parameters: Parameters) -> tuple[Exchange, Completion]:
    request = session.encode(prompt, parameters)
    exchange = Exchange(prompt.id, time.perf_counter_ns)
    entered = time.perf_counter_ns()
    with anyio.fail_after(PATIENCE_SECONDS):
        await session.send(request, exchange)
    exchange.close()
    require(exchange.pieces, "the reply brought no piece")
    if exchange.sent_at is not None:
        require(
            entered <= exchange.sent_at <= exchange.stamps[0],
            "it says that it sent before send was entered, or after the reply",
        )
    require(list(exchange.stamps) == sorted(exchange.stamps), "pieces are stamped out of order")
    return exchange, session.decode(exchange.pieces, Head(exchange.status, exchange.headers))


async def _check_one(session: Session, prompt: Prompt, parameters: Parameters) -> None:
    exchange, completion = await _sent(session, prompt, parameters)
    require(isinstance(completion, Completion), "decode did not return a Completion")
    require(completion.deltas, "the reply decodes to nothing")
    for delta in completion.deltas:
        require(0 <= delta.piece < len(exchange.pieces), f"a delta names piece {delta.piece} of {len(exchange.pieces)}")
    count = len(exchange.pieces)
    exchange.piece(b"late")
    require(len(exchange.pieces) == count, "a piece was taken after the end")


async def _check_together(session: Session, prompts: Sequence[Prompt], parameters: Parameters) -> None:
    replies: dict[str, Exchange] = {}

    async def one(prompt: Prompt) -> None:
        replies[prompt.id], _ = await _sent(session, prompt, parameters)

    async with anyio.create_task_group() as group:
        for prompt in prompts:
            group.start_soon(one, prompt)
    require(set(replies) == {prompt.id for prompt in prompts}, "of requests sent together some had no reply")


async def _check_cancelling(session: Session, prompts: Sequence[Prompt], parameters: Parameters) -> None:
    started = time.monotonic()
    with anyio.move_on_after(0.001):
        await session.send(session.encode(prompts[0], parameters), Exchange("cancelled", time.perf_counter_ns))
    require(time.monotonic() - started < PROMPT_SECONDS, f"a cancelled request took longer than {PROMPT_SECONDS:g} s to end")
    await _check_one(session, prompts[1], parameters)
