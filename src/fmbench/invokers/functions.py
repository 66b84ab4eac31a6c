"""Any SDK as an invoker, out of one function."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from fmbench import Completion, Delta, Endpoint, Exchange, Head, InvokeError, Parameters, Prompt, Request, Usage

__all__ = ["Call", "Stream", "from_call", "from_stream"]

Items = AsyncIterator[str | Delta | Usage]
Streamed = Callable[[Prompt, Parameters], Items | Awaitable[Items]]
Called = Callable[[Prompt, Parameters], Any]
THREADS = 64
"""Where an open load does not say how many requests will be in flight."""


def from_stream(function: Streamed) -> Stream:
    """An invoker out of ``async def f(prompt, parameters)`` that yields what arrives, as it arrives.

    Args:
        function: Yields ``str`` or ``Delta``, and may yield a ``Usage`` last; or is awaited for something that does. An
            exception fails the request; raise ``InvokeError`` to give it a kind. To be sent to other processes it must be a
            module's own function.
    """
    return Stream(function)


def from_call(function: Called) -> Call:
    """An invoker out of a blocking ``f(prompt, parameters)``, called in as many threads as requests are in flight.

    A call cannot be interrupted: one that outlasts its time limit is given up, but keeps its thread until it returns, and
    Python waits for such threads when it exits. So give the function a time limit of its own.

    Args:
        function: Returns a ``str``, a ``(str, Usage)`` pair or a ``Completion``. An exception fails the request.
    """
    return Call(function)


@dataclass(frozen=True)
class Stream:
    """What ``from_stream`` returns."""

    function: Streamed

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AsyncGenerator[StreamSession]:  # noqa: ARG002
        """There is nothing to open: the function brings its own client."""
        yield StreamSession(self.function)


class StreamSession:
    """A session whose replies are what a function yields."""

    def __init__(self, function: Streamed) -> None:
        self._function = function

    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        return _request(prompt, parameters)

    async def send(self, request: Request, exchange: Exchange) -> None:
        prompt, parameters = request.body
        exchange.sent()
        made = self._function(prompt, parameters)
        items = await made if isinstance(made, Awaitable) else made
        try:
            async for item in items:
                exchange.piece(item)
        finally:
            # An abandoned generator would hold its connection until it is collected.
            if (close := getattr(items, "aclose", None)) is not None:
                await close()

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:  # noqa: ARG002 - a Session's
        usage = pieces[-1] if pieces and isinstance(pieces[-1], Usage) else None
        deltas = [_delta(index, piece) for index, piece in enumerate(pieces) if piece is not usage]
        if not deltas:
            raise InvokeError("incomplete", "the function yielded nothing")
        return Completion(deltas=deltas, streamed=True, usage=usage)


@dataclass(frozen=True)
class Call:
    """What ``from_call`` returns."""

    function: Called

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AsyncGenerator[CallSession]:  # noqa: ARG002
        """Start the threads; those still in a call when the session ends are not waited for."""
        threads = ThreadPoolExecutor(concurrency or THREADS, thread_name_prefix="fmbench-call")
        try:
            yield CallSession(self.function, threads)
        finally:
            threads.shutdown(wait=False, cancel_futures=True)


class CallSession:
    """A session whose replies are what a blocking function returns."""

    def __init__(self, function: Called, threads: ThreadPoolExecutor) -> None:
        self._function = function
        self._threads = threads

    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        return _request(prompt, parameters)

    async def send(self, request: Request, exchange: Exchange) -> None:
        def call() -> None:
            exchange.sent()
            try:
                exchange.piece(self._function(*request.body))
            except StopIteration:  # a future cannot hold one, and whoever awaits it would wait for ever
                raise InvokeError("bug", "the function raised StopIteration: a next() found nothing") from None

        await asyncio.get_running_loop().run_in_executor(self._threads, call)

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:  # noqa: ARG002 - a Session's
        [answer] = pieces
        if isinstance(answer, Completion):
            return replace(answer, streamed=False)
        text, usage = answer if isinstance(answer, tuple) else (answer, None)
        if not isinstance(text, str):
            raise InvokeError("decode", f"the function returned {type(answer).__name__}, not str, (str, Usage) or Completion")
        return Completion(deltas=[Delta(0, text=text)], streamed=False, usage=usage)


def _request(prompt: Prompt, parameters: Parameters) -> Request:
    content = prompt.text if prompt.messages is None else list(prompt.messages)
    return Request(payload={"prompt": content, "parameters": parameters.given()}, body=(prompt, parameters))


def _delta(index: int, piece: Any) -> Delta:
    if isinstance(piece, str):
        return Delta(index, text=piece)
    if isinstance(piece, Delta):
        return piece._replace(piece=index)
    raise InvokeError("decode", f"the function yielded {type(piece).__name__}, not str, Delta or a last Usage")
