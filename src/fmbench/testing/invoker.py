"""What every invoker promises."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from fmbench import Completion, Decoder, Endpoint, Exchange, Head, Invoker, Parameters, Prompt, Session
from fmbench.testing.asserting import require

__all__ = ["check_invoker"]

Answers = Callable[[Prompt, Completion], bool]
TOGETHER = 4
PATIENCE_SECONDS = 60.0
PROMPT_SECONDS = 5.0
"""How soon a cancelled request must be over."""


def check_invoker(
    invoker: Invoker,
    endpoint: Endpoint,
    *,
    parameters: Parameters | None = None,
    answers: Callable[[Prompt, Completion], bool] | None = None,
) -> None:
    """Check an invoker against an endpoint that answers.

    Encoding is repeatable, replies decode, piece by piece as well as whole, requests sent together do not mix up, and a
    request that is cancelled, before its reply or in the midst of it, ends promptly and spoils no other; with as many
    connections as there are requests, and when that is not known.

    Args:
        invoker: The invoker.
        endpoint: Where it sends a few short prompts.
        parameters: What they ask for; eight new tokens by default.
        answers: Whether a reply is this prompt's; where the endpoint repeats what it was asked, mixed-up replies are seen.

    Raises:
        AssertionError: it breaks a promise.
    """
    require(isinstance(invoker, Invoker), f"{invoker!r} has no connect(endpoint, *, concurrency)")
    anyio.run(_check, invoker, endpoint, parameters or Parameters(max_new_tokens=8), answers or (lambda _prompt, _reply: True))


async def _check(invoker: Invoker, endpoint: Endpoint, parameters: Parameters, answers: Answers) -> None:
    prompts = [Prompt(id=f"check-{number}", text=f"Say the number {number}.") for number in range(TOGETHER)]
    for concurrency in (TOGETHER, None):
        async with invoker.connect(endpoint, concurrency=concurrency) as session:
            require(isinstance(session, Session), f"{session!r} lacks encode, send or decode")
            _check_encoding(session, prompts, parameters)
            await _check_one(session, prompts[0], parameters)
            await _check_together(session, prompts, parameters, answers)
            for in_its_midst in (False, True):
                await _check_cancelling(session, prompts[0], parameters, in_its_midst=in_its_midst)
                await _check_together(session, prompts[1:], parameters, answers)


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
    _check_stamps(exchange, entered)
    head = Head(exchange.status, exchange.headers)
    completion = session.decode(exchange.pieces, head)
    require(isinstance(completion, Completion), "decode did not return a Completion")
    require(_told(completion) == _told(session.decode(exchange.pieces, head)), "decoding twice gave two replies")
    decoder = getattr(session, "decoder", None)
    if decoder is not None:
        in_pieces = _decoded(decoder(), exchange.pieces, head)
        require(_told(completion) == _told(in_pieces), "decoding piece by piece gave another reply than decode")
    return exchange, completion


def _check_stamps(exchange: Exchange, entered: int) -> None:
    require(list(exchange.stamps) == sorted(exchange.stamps), "pieces are stamped out of order")
    require(entered <= exchange.stamps[0], "a piece is stamped before send was entered")
    require(exchange.stamps[-1] <= time.perf_counter_ns(), "a piece is stamped later than now")
    require(
        exchange.sent_at is None or entered <= exchange.sent_at <= exchange.stamps[0],
        "it says that it sent before send was entered, or after the reply",
    )


def _decoded(decoder: Decoder, pieces: Sequence[Any], head: Head) -> Completion:
    require(isinstance(decoder, Decoder), f"decoder() returned {decoder!r}, which lacks feed or close")
    for piece in pieces:
        decoder.feed(piece)
    return decoder.close(head)


def _told(completion: Completion) -> tuple[Any, ...]:
    return list(completion.deltas), completion.streamed, completion.finish_reason, completion.usage


async def _check_one(session: Session, prompt: Prompt, parameters: Parameters) -> None:
    exchange, completion = await _sent(session, prompt, parameters)
    require(completion.deltas, "the reply decodes to nothing")
    places = [delta.piece for delta in completion.deltas]
    for place in places:
        require(0 <= place < len(exchange.pieces), f"a delta names piece {place} of {len(exchange.pieces)}")
    require(places == sorted(places), "deltas are not in the order of the pieces that carried them")


async def _check_together(session: Session, prompts: Sequence[Prompt], parameters: Parameters, answers: Answers) -> None:
    replies: dict[str, Completion] = {}

    async def one(prompt: Prompt) -> None:
        _, replies[prompt.id] = await _sent(session, prompt, parameters)

    async with anyio.create_task_group() as group:
        for prompt in prompts:
            group.start_soon(one, prompt)
    for prompt in prompts:
        told = f"of requests sent together, {prompt.text!r} was answered by {replies[prompt.id].text!r}"
        require(answers(prompt, replies[prompt.id]), told)


async def _check_cancelling(session: Session, prompt: Prompt, parameters: Parameters, *, in_its_midst: bool) -> None:
    request, exchange = session.encode(prompt, parameters), Exchange("cancelled", time.perf_counter_ns)
    with anyio.CancelScope() as scope:
        _cancel_soon(scope, exchange, in_its_midst=in_its_midst)
        await session.send(request, exchange)
    exchange.close()
    late = anyio.current_time() - scope.deadline
    require(late < PROMPT_SECONDS, f"a cancelled request took longer than {PROMPT_SECONDS:g} s to end")


def _cancel_soon(scope: anyio.CancelScope, exchange: Exchange, *, in_its_midst: bool) -> None:
    """Let a scope end in a millisecond, or at the first piece, which may come from any thread."""
    if not in_its_midst:
        scope.deadline = anyio.current_time() + 0.001
        return
    loop = asyncio.get_running_loop()

    def end() -> None:
        scope.deadline = min(scope.deadline, anyio.current_time())

    def arrived() -> None:
        loop.call_soon_threadsafe(end)

    exchange.on_piece = arrived
