"""TLS over a socket that somebody else reads, so that the kernel's arrival times are not lost."""

from __future__ import annotations

import asyncio
import socket
import ssl

__all__ = ["Tls", "client_context"]

RECORD_BYTES = 65536


def client_context() -> ssl.SSLContext:
    """Certificates are verified against the system's authorities; HTTP/1.1 is what we speak."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # create_default_context would log keys where the environment says so
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])
    return context


class Tls:
    """One side of a TLS connection in memory."""

    __slots__ = ("_incoming", "_object", "_outgoing", "ended")

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self._incoming = ssl.MemoryBIO()
        self._outgoing = ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_name)
        self.ended: bool = False
        """Whether the other side has said that it will send no more; a connection cut off does not say so."""

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

    def decrypt(self, data: bytes) -> bytes:
        """The plain text that these bytes complete; what completes no record waits for the next ones.

        Raises:
            ssl.SSLError: they are not what the other side can have sent.
        """
        self._incoming.write(data)
        parts = []
        try:
            while True:
                part = self._object.read(RECORD_BYTES)
                if not part:
                    self.ended = True
                    break
                parts.append(part)
                if not self._object.pending() and not self._incoming.pending:
                    break  # spares the exception that asking again would bring
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.ended = True
        return b"".join(parts)

    def outgoing(self) -> bytes:
        """What TLS itself has to say: new keys, an alert."""
        return self._outgoing.read() if self._outgoing.pending else b""

    async def _flush(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        if records := self.outgoing():
            await loop.sock_sendall(sock, records)
