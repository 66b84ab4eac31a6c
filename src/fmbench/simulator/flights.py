"""Requests at work at one simulated server: its service deals the tokens, and each is sent at its absolute time."""

from __future__ import annotations

import asyncio
import time
from array import array
from typing import Literal, Protocol

from fmbench.simulator.connection import Connection, Incoming
from fmbench.simulator.formats import Asked
from fmbench.simulator.service import Job, Service
from fmbench.simulator.truth import Truth, TruthLog
from fmbench.wire import Timer

__all__ = ["Flight", "Flights", "Speaking"]

BURST = 32
"""How many moments of tokens are sent before the sockets are read again."""
SLOW_SECONDS = 1.0
AT_ONCE = {"429": 429, "500": 500, "503": 503, "not_ready": 429}
"""The faults that are a status, in place of a reply."""
IN_BYTES = frozenset({"slow", "cut", "split", "flip"})
"""The faults under which the reply goes on to its end."""


class Speaking(Protocol):
    """Makes a reply's bytes."""

    def first(self) -> bytes:
        """The head of a stream, and what goes before its first token."""
        ...

    def token(self, index: int) -> bytes:
        """One token."""
        ...

    def last(self, asked: Asked) -> bytes:
        """What goes behind the last token, to the reply's end."""
        ...

    def whole(self, asked: Asked) -> bytes:
        """An unstreamed reply."""
        ...

    def error(self, status: int, message: str) -> bytes:
        """A reply that is an error."""
        ...

    def malformed(self, *, streamed: bool) -> bytes:
        """What is no JSON, in the middle of a stream or as a reply."""
        ...

    def error_inside(self, *, streamed: bool) -> bytes:
        """An error where all had begun well."""
        ...


class Flight:
    """One request at work."""

    __slots__ = (
        "asked", "connection", "fault", "fault_at", "home", "id", "job", "keep_alive", "path", "planned_ns", "received_ns",
        "sent_ns", "speaker",
    )  # fmt: skip

    def __init__(self, connection: Connection, incoming: Incoming, speaker: Speaking, asked: Asked, fault: str | None) -> None:
        self.connection: Connection = connection
        self.speaker: Speaking = speaker
        self.asked: Asked = asked
        self.id: str | None = incoming.headers.get("x-request-id") or incoming.headers.get("x-amzn-sagemaker-inference-id")
        self.path: str = incoming.path
        self.received_ns: int = incoming.received_ns
        self.keep_alive: bool = incoming.keep_alive
        self.fault: str | None = fault
        self.fault_at: int = asked.output_tokens // 2 if asked.streamed else asked.output_tokens - 1
        """The token in whose place a fault comes."""
        self.planned_ns: array[int] = array("q")
        self.sent_ns: array[int] = array("q")
        self.job: Job | None = None
        self.home: Flights | None = None
        """Where it is at work."""


class Flights:
    """A service at work, on the running loop.

    Args:
        service: Deals the tokens.
        log: Where the truth goes.
    """

    def __init__(self, service: Service, log: TruthLog) -> None:
        self._service = service
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._timer = Timer(self._loop, self._deal)
        self._flights: dict[Job, Flight] = {}

    @property
    def in_flight(self) -> int:
        """How many requests it works on."""
        return len(self._flights)

    def close(self) -> None:
        """Send no more tokens."""
        self._timer.close()

    def submit(self, flight: Flight) -> None:
        """Take a request in, or refuse it: a fault that is a status, or what the service cannot do."""
        if flight.fault in AT_ONCE:
            self._refuse(flight, AT_ONCE[flight.fault], "a simulated failure")
            return
        asked = flight.asked
        flight.job = job = self._service.submit(
            flight.received_ns, prompt_tokens=asked.prompt_tokens, output_tokens=asked.output_tokens
        )
        if job.refused is not None:
            self._refuse(flight, 400, job.refused)
            return
        flight.connection.flight = flight
        flight.home = self
        self._flights[job] = flight
        self._timer.set(self._service.next_ns())

    def give_up(self, flight: Flight, status: int, message: str) -> None:
        """Answer with an error in place of a reply of which nothing has been sent."""
        if flight.connection.flight is flight:
            self._leave(flight)
            self._refuse(flight, status, message)

    def lost(self, flight: Flight) -> None:
        """Its connection has closed before its end."""
        self._leave(flight)
        self._write_down(flight, 200, "client" if flight.fault != "reset" else "fault")

    def _refuse(self, flight: Flight, status: int, message: str) -> None:
        flight.connection.write(flight.speaker.error(status, message))
        self._write_down(flight, status, "whole" if flight.fault is None else "fault")
        flight.connection.answered(flight.keep_alive)

    def _leave(self, flight: Flight) -> None:
        """The rest of its reply is not wanted any more."""
        flight.connection.flight = None
        if flight.job is not None and self._flights.pop(flight.job, None) is not None:
            self._service.cancel(flight.job, time.perf_counter_ns())
            self._timer.set(self._service.next_ns())

    # Tokens.

    def _deal(self) -> None:
        """Send what is due, and set the timer for what comes next."""
        for _ in range(BURST):
            dealt = self._service.step(time.perf_counter_ns())
            if dealt is None:
                break
            for job in dealt.jobs:
                flight = self._flights.get(job)
                if flight is None:
                    continue  # its connection was lost a moment ago
                if job.over:
                    del self._flights[job]
                flight.planned_ns.append(dealt.at_ns)
                if flight.fault == "slow":
                    self._loop.call_later(SLOW_SECONDS, self._give, flight, len(flight.planned_ns) - 1)
                else:
                    self._give(flight, len(flight.planned_ns) - 1)
        self._timer.set(self._service.next_ns())

    def _give(self, flight: Flight, index: int) -> None:
        connection, speaker, asked = flight.connection, flight.speaker, flight.asked
        if connection.closed:
            return
        if flight.fault is not None and flight.fault not in IN_BYTES and index == flight.fault_at:
            self._fail(flight)
            return
        last = index + 1 == asked.output_tokens
        if asked.streamed:
            data = speaker.token(index)
            if not index:
                data = speaker.first() + data
            if last:
                data += speaker.last(asked)
        elif last:
            data = speaker.whole(asked)
        else:
            return
        flight.sent_ns.append(time.perf_counter_ns())
        connection.write(data)
        if last and not connection.closed:
            self._write_down(flight, 200, "whole")
            connection.answered(flight.keep_alive)

    def _fail(self, flight: Flight) -> None:
        connection, speaker = flight.connection, flight.speaker
        if flight.asked.streamed and not flight.sent_ns:
            connection.write(speaker.first())
        if flight.fault == "reset":
            connection.reset()
            return
        if flight.fault == "stall":
            if flight.job is not None and self._flights.pop(flight.job, None) is not None:
                self._service.cancel(flight.job, time.perf_counter_ns())
            return  # its connection keeps it in mind until the client goes
        streamed = flight.asked.streamed
        malformed = flight.fault == "malformed"
        connection.write(speaker.malformed(streamed=streamed) if malformed else speaker.error_inside(streamed=streamed))
        self._leave(flight)
        self._write_down(flight, 200, "fault")
        connection.answered(flight.keep_alive)

    def _write_down(self, flight: Flight, status: int, ended: Literal["whole", "fault", "client"]) -> None:
        asked = flight.asked
        planned = flight.planned_ns if asked.streamed else flight.planned_ns[-1:]
        self._log.add(
            Truth(
                id=flight.id,
                path=flight.path,
                received_ns=flight.received_ns,
                sent_ns=flight.sent_ns.tolist(),
                planned_ns=planned.tolist(),
                status=status,
                fault=flight.fault,
                ended=ended,
                streamed=asked.streamed,
                prompt_tokens=asked.prompt_tokens,
                output_tokens=asked.output_tokens,
            )
        )
