"""A simulated inference server over HTTP: paced by its model at absolute times, with the truth of every token in its log."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fmbench import ConfigError
from fmbench.simulator.connection import Connection, Incoming
from fmbench.simulator.envelopes import http_reply
from fmbench.simulator.faults import FAULT_HEADER, Faults
from fmbench.simulator.formats import MODEL, Asked
from fmbench.simulator.models import Batching, ServiceModel
from fmbench.simulator.service import Job
from fmbench.simulator.speaking import NotUnderstood, Speaker, understood
from fmbench.simulator.truth import Truth, TruthLog
from fmbench.wire import Timer
from fmbench.wire.clock import KernelClock, Stamping, stamp_arrivals

__all__ = ["ServerOptions", "SimulatedServer"]

CLOCK_SECONDS = 1.0
BURST = 32
"""How many moments of tokens are sent before the sockets are read again."""
SLOW_SECONDS = 1.0
BACKLOG = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """What a simulated server is told.

    Args:
        service: How it spends its time.
        host: The address it listens at.
        port: 0 for any that is free.
        log: Where the truth is written; begun anew.
        faults: What goes wrong on purpose.
        reply_tokens: After how many tokens the model ends by itself, unless a request says ``ignore_eos``; ``None`` for
            never: replies are as long as asked for.
        core: The processor it keeps to; ``None`` for any.
    """

    service: ServiceModel = field(default_factory=Batching)
    host: str = "127.0.0.1"
    port: int = 0
    log: Path | None = None
    faults: Faults = field(default_factory=Faults)
    reply_tokens: int | None = None
    core: int | None = None


class _Flight:
    """One request at work."""

    __slots__ = (
        "asked", "connection", "fault", "fault_at", "id", "job", "keep_alive", "path", "planned_ns", "received_ns", "sent_ns",
        "speaker",
    )  # fmt: skip

    def __init__(self, connection: Connection, incoming: Incoming, speaker: Speaker, asked: Asked, fault: str | None) -> None:
        self.connection = connection
        self.speaker = speaker
        self.asked = asked
        self.id = incoming.headers.get("x-request-id") or incoming.headers.get("x-amzn-sagemaker-inference-id")
        self.path = incoming.path
        self.received_ns = incoming.received_ns
        self.keep_alive = incoming.keep_alive
        self.fault = fault
        self.fault_at = asked.output_tokens // 2 if asked.streamed else asked.output_tokens - 1
        """The token in whose place a fault comes."""
        self.planned_ns = array("q")
        self.sent_ns = array("q")
        self.job: Job | None = None


class SimulatedServer:
    """Serves on the running loop until told to end.

    It speaks OpenAI's chat and completions, TGI, and SageMaker's runtime, streamed and not.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._service = options.service.start()
        self._flights: dict[Job, _Flight] = {}
        self._connections: set[Connection] = set()
        self._number = 0

    async def run(self, up: Callable[[str], None], end: asyncio.Event) -> None:
        """Serve.

        Args:
            up: Called with the URL once it listens.
            end: When to stop.

        Raises:
            ConfigError: the address cannot be had.
        """
        self._loop = asyncio.get_running_loop()
        stamping = Stamping()
        await stamping.begun()
        self._clock = KernelClock()
        self._timer = Timer(self._loop, self._deal)
        self._log = TruthLog(self._options.log)
        listener = self._listen()
        ticking = self._loop.create_task(self._tick())
        try:
            self._loop.add_reader(listener.fileno(), self._accept, listener)
            up(f"http://{self._options.host}:{listener.getsockname()[1]}")
            await end.wait()
        finally:
            ticking.cancel()
            self._loop.remove_reader(listener.fileno())
            listener.close()
            for connection in list(self._connections):
                connection.close()
            self._timer.close()
            stamping.close()
            self._log.close()

    def _listen(self) -> socket.socket:
        host, port = self._options.host, self._options.port
        listener = socket.socket()
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.setblocking(False)
            listener.bind((host, port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise ConfigError(f"port: cannot listen at {host}:{port}: {error.strerror or error}; choose another") from None
        return listener

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(CLOCK_SECONDS)
            self._clock.sample()
            self._log.flush()
            for connection in list(self._connections):
                connection.look()

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError, InterruptedError, ConnectionError):
            while True:
                sock, _ = listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                stamp_arrivals(sock)
                self._connections.add(Connection(self._loop, sock, self._clock, asked=self._asked, gone=self._gone))

    # Requests.

    def _asked(self, connection: Connection, incoming: Incoming) -> None:
        if incoming.method == "GET" and (known := _known(incoming.path)) is not None:
            connection.write(known)
            connection.answered(incoming.keep_alive)
            return
        try:
            speaker, asked = understood(
                incoming.method, incoming.path, bytes(incoming.body), natural=self._options.reply_tokens
            )
        except NotUnderstood as refusal:
            connection.write(refusal.reply)
            connection.answered(incoming.keep_alive)
            return
        number, self._number = self._number, self._number + 1
        try:
            fault = self._options.faults.of(number, incoming.headers.get(FAULT_HEADER))
        except ConfigError as error:
            connection.write(speaker.error(400, str(error)))
            connection.answered(incoming.keep_alive)
            return
        flight = _Flight(connection, incoming, speaker, asked, fault)
        if fault in {"429", "500", "503"}:
            self._refuse(flight, int(fault), "a simulated failure")
        else:
            self._submit(flight)

    def _submit(self, flight: _Flight) -> None:
        asked = flight.asked
        flight.job = job = self._service.submit(
            flight.received_ns, prompt_tokens=asked.prompt_tokens, output_tokens=asked.output_tokens
        )
        if job.refused is not None:
            self._refuse(flight, 400, job.refused)
            return
        flight.connection.flight = flight
        self._flights[job] = flight
        self._timer.set(self._service.next_ns())

    def _refuse(self, flight: _Flight, status: int, message: str) -> None:
        flight.connection.write(flight.speaker.error(status, message))
        self._write_down(flight, status, "whole" if flight.fault is None else "fault")
        flight.connection.answered(flight.keep_alive)

    def _gone(self, connection: Connection) -> None:
        self._connections.discard(connection)
        flight: _Flight | None = connection.flight
        if flight is not None:
            self._leave(flight)
            self._write_down(flight, 200, "client" if flight.fault != "reset" else "fault")

    def _leave(self, flight: _Flight) -> None:
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

    def _give(self, flight: _Flight, index: int) -> None:
        connection, speaker, asked = flight.connection, flight.speaker, flight.asked
        if connection.closed:
            return
        if flight.fault is not None and flight.fault != "slow" and index == flight.fault_at:
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

    def _fail(self, flight: _Flight) -> None:
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

    def _write_down(self, flight: _Flight, status: int, ended: Literal["whole", "fault", "client"]) -> None:
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


def _known(path: str) -> bytes | None:
    """What there is to see."""
    if path in {"/health", "/ping", "/v1/health"}:
        return http_reply(200, b'{"status":"ok","simulated":true}')
    if path == "/v1/models":
        return http_reply(200, b'{"object":"list","data":[{"id":"%s","object":"model","owned_by":"fmbench"}]}' % MODEL.encode())
    return None
