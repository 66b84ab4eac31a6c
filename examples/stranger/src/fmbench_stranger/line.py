"""An invoker: a line out, letters back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fmbench import Completion, ConfigError, Delta, Endpoint, Exchange, Head, InvokeError, Parameters, Prompt, Request


@dataclass(frozen=True)
class Line:
    """Speaks the letterbox's protocol."""

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AsyncGenerator[LineSession]:
        """Nothing is opened here: each request has a connection of its own."""
        del concurrency
        parts = urlsplit(endpoint.url)
        if parts.scheme != "line" or parts.hostname is None or parts.port is None:
            raise ConfigError(f"line speaks to line://HOST:PORT, not to {endpoint.url}")
        yield LineSession(parts.hostname, parts.port)


class LineSession:
    """An open session."""

    def __init__(self, host: str, port: int) -> None:
        self._address = host, port

    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        """One line, cut to the length asked for."""
        if prompt.text is None:
            raise InvokeError("validation", "a letterbox takes no messages")
        text = prompt.text.replace("\n", " ")[: parameters.max_new_tokens]
        return Request(payload={"line": text}, body=text.encode() + b"\n")

    async def send(self, request: Request, exchange: Exchange) -> None:
        """Only this is timed; connecting comes before `sent` and is told apart."""
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            exchange.sent()
            writer.write(request.body)
            while not (data := await reader.read(100)).endswith(b"\n"):
                if not data:
                    raise InvokeError("reset", "the letterbox closed the connection")
                exchange.piece(data)
            if data != b"\n":
                exchange.piece(data[:-1])
        finally:
            writer.close()
            await writer.wait_closed()

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:
        """Each piece is a delta; a letter is a token."""
        del head
        deltas = [Delta(index, text=piece.decode(), tokens=len(piece.decode())) for index, piece in enumerate(pieces)]
        return Completion(deltas=deltas, streamed=True, finish_reason="stop")
