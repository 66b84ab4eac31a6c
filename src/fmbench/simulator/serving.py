"""A simulated inference server over HTTP: paced by its model at absolute times, with the truth of every token in its log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fmbench import ConfigError
from fmbench.simulator.connection import Connection, Incoming
from fmbench.simulator.envelopes import http_reply
from fmbench.simulator.faults import FAULT_HEADER, Faults
from fmbench.simulator.flights import Flight, Flights
from fmbench.simulator.formats import MODEL
from fmbench.simulator.listening import Listener
from fmbench.simulator.models import Batching, ServiceModel
from fmbench.simulator.speaking import NotUnderstood, understood
from fmbench.simulator.truth import TruthLog

__all__ = ["ServerOptions", "SimulatedServer"]


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


class SimulatedServer:
    """Serves on the running loop until told to end.

    It speaks OpenAI's chat and completions, TGI, and SageMaker's runtime, streamed and not.
    """

    def __init__(self, options: ServerOptions) -> None:
        self._options = options
        self._service = options.service.start()
        self._number = 0

    async def run(self, up: Callable[[str], None], end: asyncio.Event) -> None:
        """Serve.

        Args:
            up: Called with the URL once it listens.
            end: When to stop.

        Raises:
            ConfigError: the address cannot be had.
        """
        log = TruthLog(self._options.log)
        self._flights = Flights(self._service, log)
        listener = Listener(self._options.host, self._options.port, asked=self._asked, gone=_gone, ticked=log.flush)
        try:
            await listener.run(up, end)
        finally:
            self._flights.close()
            log.close()

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
        self._flights.submit(Flight(connection, incoming, speaker, asked, fault))


def _gone(connection: Connection) -> None:
    flight: Flight | None = connection.flight
    if flight is not None and flight.home is not None:
        flight.home.lost(flight)


def _known(path: str) -> bytes | None:
    """What there is to see."""
    if path in {"/health", "/ping", "/v1/health"}:
        return http_reply(200, b'{"status":"ok","simulated":true}')
    if path == "/v1/models":
        return http_reply(200, b'{"object":"list","data":[{"id":"%s","object":"model","owned_by":"fmbench"}]}' % MODEL.encode())
    return None
