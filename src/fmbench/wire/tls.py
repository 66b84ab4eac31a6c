"""TLS over a socket that somebody else reads, so that the kernel's arrival times are not lost."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator

__all__ = ["Tls", "client_context"]

RECORD_BYTES = 65536


def client_context() -> ssl.SSLContext:
    """Certificates are verified against the system's authorities; HTTP/1.1 is what we speak."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Tls:
    """One side of a TLS connection in memory."""

    __slots__ = ("_incoming", "_object", "_outgoing")

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)

    async def handshake(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        """Agree on keys over a connected socket.

        Raises:
            ssl.SSLError: the certificate is not trusted, or the other side does not speak TLS.
            ConnectionError: it hung up.
        """
        while True:
            try:
                self._object.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush(loop, sock)
                data = await loop.sock_recv(sock, RECORD_BYTES)
                if not data:
                    raise ConnectionResetError("the server closed the connection during the TLS handshake") from None
                self._incoming.write(data)
            else:
                await self._flush(loop, sock)
                return

    def encrypt(self, data: bytes) -> bytes:
        """The records that carry ``data``."""
        self._object.write(data)
        return self._outgoing.read()

    def decrypt(self, data: bytes) -> Iterator[bytes]:
        """The plain text that these bytes complete; what completes no record waits for the next ones."""
        self._incoming.write(data)
        while True:
            try:
                plain = self._object.read(RECORD_BYTES)
            except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
                return
            if not plain:
                return
            yield plain

    async def _flush(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        if self._outgoing.pending:
            await loop.sock_sendall(sock, self._outgoing.read())
