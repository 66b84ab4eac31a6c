"""A simulated server inside this process, for whoever has a clock: hours of load in moments on a virtual one."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from anyio import Event, create_task_group, current_time, move_on_after, wait_all_tasks_blocked

from fmbench import Completion, Delta, Endpoint, Exchange, Head, InvokeError, Parameters, Prompt, Request, Usage
from fmbench.simulator.models import ServiceModel, spec_of
from fmbench.simulator.service import Job

__all__ = ["InProcessInvoker", "facts", "output_tokens", "prompt_tokens", "virtual_now"]

WORD = "word "
"""What every simulated token says."""


def virtual_now() -> int:
    """The running loop's own clock in nanoseconds: trio's virtual one, where a test has set it."""
    return round(current_time() * 1e9)


def prompt_tokens(prompt: Prompt) -> int:
    """How long a prompt is to a simulated server: as counted, else its words."""
    if prompt.tokens is not None:
        return prompt.tokens
    if prompt.text is not None:
        return len(prompt.text.split())
    return sum(len(str(message.get("content", "")).split()) for message in prompt.messages or ())


def output_tokens(prompt: Prompt, parameters: Parameters, otherwise: int) -> int:
    """How much a simulated server answers: what the prompt, else the parameters ask for."""
    return prompt.max_new_tokens or parameters.max_new_tokens or otherwise


def facts(model: ServiceModel) -> dict[str, Any]:
    """What is known of a simulated endpoint: that it is one, and its model."""
    return {"simulated": True, "service": spec_of(model)}


@dataclass(frozen=True, kw_only=True)
class InProcessInvoker:
    """An invoker that brings its own server, one a connection; every token's stamp is the model's exact time.

    With ``now=virtual_now`` under ``trio.testing.MockClock`` the result does not depend on how trio orders its tasks:
    requests of one moment queue in the order of their ids.

    Args:
        model: How the server spends its time.
        now: The clock, in nanoseconds, the same one that the engine has.
        reply_tokens: How much it answers where nobody asks for a length.
    """

    model: ServiceModel
    now: Callable[[], int] = time.perf_counter_ns
    reply_tokens: int = 100

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AsyncGenerator[InProcessSession]:  # noqa: ARG002
        """Start an idle server; it ends with the connection."""
        session = InProcessSession(self.model, self.now, self.reply_tokens)
        async with create_task_group() as serving:
            serving.start_soon(session.serve)
            try:
                yield session
            finally:
                serving.cancel_scope.cancel()


class _Flight:
    """One request in this server's hands."""

    __slots__ = ("asked", "at_ns", "exchange", "job", "over")

    def __init__(self, asked: tuple[int, int], exchange: Exchange, at_ns: int) -> None:
        self.asked = asked
        self.exchange = exchange
        self.at_ns = at_ns
        self.job: Job | None = None
        self.over = Event()

    def receive(self) -> None:
        """Hand over what it got, at the model's times: a loop woken for each token would tell nothing else, only later."""
        exchange = self.exchange
        for at in () if self.job is None else self.job.times_ns:
            exchange.piece((self.asked, WORD), at=at)
        if exchange.stamps:
            exchange.client_delay_ns = 0


class InProcessSession:
    """What ``InProcessInvoker`` connects to."""

    def __init__(self, model: ServiceModel, now: Callable[[], int], reply_tokens: int) -> None:
        self._service = model.start()
        self._now = now
        self._reply_tokens = reply_tokens
        self._virtual = now is virtual_now
        self._coming: list[_Flight] = []
        self._flights: dict[Job, _Flight] = {}
        self._called = Event()

    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        asked = prompt_tokens(prompt), output_tokens(prompt, parameters, self._reply_tokens)
        return Request(payload={"prompt_tokens": asked[0], "output_tokens": asked[1]}, body=asked)

    async def send(self, request: Request, exchange: Exchange) -> None:
        at = self._now()
        exchange.sent(at)
        flight = _Flight(request.body, exchange, at)
        self._coming.append(flight)
        self._called.set()
        try:
            await flight.over.wait()
        finally:
            if not flight.over.is_set():
                self._give_up(flight)
        if flight.job is not None and flight.job.refused is not None:
            raise InvokeError("validation", flight.job.refused, 400)

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:  # noqa: ARG002 - a Session's
        if not pieces:
            raise InvokeError("incomplete", "no token came")
        prompt, asked = pieces[0][0]
        deltas = [Delta(index, "text", WORD, 1) for index in range(len(pieces))]
        usage = Usage(prompt_tokens=prompt, completion_tokens=len(pieces))
        reason = "length" if len(pieces) == asked else None  # fewer: the engine has given it up, and knows why
        return Completion(deltas=deltas, streamed=True, finish_reason=reason, usage=usage)

    async def serve(self) -> None:
        """Serve for ever."""
        while True:
            await self._waited()
            self._take_in()
            self._hand_over()

    async def _waited(self) -> None:
        """Until a request may be done, or somebody comes."""
        end_ns = self._service.next_end_ns()
        if not self._coming and end_ns is None:
            await self._called.wait()
        elif not self._coming and end_ns is not None and (left := end_ns - self._now()) > 0:
            with move_on_after(left / 1e9):
                await self._called.wait()
        if self._virtual:
            await wait_all_tasks_blocked()  # so that all who come at this moment are here

    def _take_in(self) -> None:
        coming, self._coming, self._called = self._coming, [], Event()
        for flight in sorted(coming, key=lambda one: (one.at_ns, one.exchange.id)):
            prompt, output = flight.asked
            flight.job = self._service.submit(flight.at_ns, prompt_tokens=prompt, output_tokens=output)
            if flight.job.refused is None:
                self._flights[flight.job] = flight
            else:
                flight.over.set()

    def _hand_over(self) -> None:
        """All replies that are whole by now."""
        now = self._now()
        while ended := self._service.advance(now):
            for job in ended:
                flight = self._flights.pop(job)
                flight.receive()
                flight.over.set()

    def _give_up(self, flight: _Flight) -> None:
        if flight.job is None:
            self._coming.remove(flight)
            return
        self._hand_over()
        if not flight.over.is_set():
            self._service.cancel(flight.job, self._now())
            del self._flights[flight.job]
            flight.receive()
            self._called.set()
