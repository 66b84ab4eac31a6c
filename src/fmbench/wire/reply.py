"""One HTTP/1.1 reply, taken apart while it arrives; httptools knows the grammar."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Protocol

import httptools

from fmbench.errors import InvokeError

__all__ = ["Reply", "Sink"]

HEAD_BYTES = 65536
"""The most a reply's head may have, and the most that may arrive without a byte of its body."""
BODILESS = {204, 304}
SWITCHED = "the server switched to another protocol, which it was not asked for"


@lru_cache(maxsize=256)
def _lowered(name: bytes) -> str:
    return name.decode("latin-1").lower()


class Sink(Protocol):
    """Who is told what happens to a request; ``fmbench.Exchange`` is one."""

    id: str
    kernel: bool
    """Set to ``False`` as soon as a time is not the kernel's."""

    def sent(self, at: int | None = None) -> None: ...
    def spent(self, connect_ns: int = 0, tls_ns: int = 0, sign_ns: int = 0) -> None: ...
    def head(self, status: int, headers: Mapping[str, str], at: int | None = None) -> None: ...
    def piece(self, data: Any, at: int | None = None) -> None: ...


class Reply:
    """What has arrived of one reply. Its head and its pieces go to the sink as they come."""

    __slots__ = (
        "_at", "_head_bytes", "_head_only", "_headers", "_parser", "_unfruitful", "complete", "has_head", "reusable", "sink",
        "started", "status", "until_close",
    )  # fmt: skip

    def __init__(self, sink: Sink, *, head_only: bool) -> None:
        self.sink: Sink = sink
        self.started: bool = False
        """Whether a byte of it has arrived."""
        self.has_head: bool = False
        self.status: int | None = None
        self.complete: bool = False
        self.reusable: bool = True
        """Whether the connection may serve another request."""
        self.until_close: bool = False
        """Whether it ends where the connection does."""
        self._head_only = head_only
        self._headers: dict[str, str] = {}
        self._head_bytes = 0
        self._unfruitful = 0
        self._at: int | None = None
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    def feed(self, data: bytes, at: int) -> None:
        """Take what one read brought, and when.

        Raises:
            InvokeError: ``protocol``: it is not what an HTTP/1.1 server may say, or what this client cannot read.
        """
        self._at = at
        self.started = True
        self._unfruitful += len(data)
        try:
            if self._parser is not None:
                self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            raise (error.__context__ or error) from None  # a broken rule of ours, or a bug of the sink's
        except httptools.HttpParserUpgrade:
            raise InvokeError("protocol", SWITCHED, self.status) from None
        except httptools.HttpParserError as error:
            if not self.complete:
                raise InvokeError("protocol", self._invalid(data, str(error)), self.status) from None
            self.reusable = False  # talk beyond the end
        if self._unfruitful > HEAD_BYTES and not self.complete:
            raise self._too_long()

    def end(self) -> None:
        """The reply is over: let go of the parser, which holds on to us."""
        self.complete = True
        self._parser = None

    def _invalid(self, data: bytes, told: str) -> str:
        if data[:2] == b"\x15\x03" and not self.has_head:
            return "the server speaks TLS: use https:// in the url"
        return f"the reply is not valid HTTP/1.1: {told}"

    def _too_long(self) -> InvokeError:
        what = "framing between its pieces is" if self.has_head else "headers are"
        return InvokeError("protocol", f"the reply's {what} longer than {HEAD_BYTES} bytes", self.status)

    # What httptools calls.

    def on_message_begin(self) -> None:
        if self.complete:
            self.reusable = False  # a second reply that nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        self._head_bytes += len(name) + len(value) + 4
        if self._head_bytes > HEAD_BYTES:
            raise self._too_long()
        if self.has_head:
            return  # a trailer
        key, text = _lowered(name), value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        parser = self._parser
        if parser is None or self.complete:
            return
        self._unfruitful = 0
        status = parser.get_status_code()
        if status == 101:
            raise InvokeError("protocol", SWITCHED, status)
        if status < 100:
            raise InvokeError("protocol", f"the reply is not valid HTTP/1.1: {status:03d} is no status", status)
        if status < 200:
            if "transfer-encoding" in self._headers or self._headers.get("content-length", "0") != "0":
                raise InvokeError("protocol", f"the reply is not valid HTTP/1.1: a body with status {status}", status)
            self._headers = {}
            return
        self.status = status
        self.has_head = True
        self.reusable = parser.should_keep_alive()
        self.sink.head(status, self._headers, self._at)
        if self._head_only:
            self.end()  # the parser would wait for the body that the head describes
        elif status not in BODILESS:
            self._look_at_framing()

    def _look_at_framing(self) -> None:
        encoding = self._headers.get("content-encoding")
        if encoding is not None and encoding.strip().lower() not in {"identity", ""}:
            raise InvokeError("protocol", f"the reply is compressed ({encoding}) although identity was asked for", self.status)
        transfer = self._headers.get("transfer-encoding", "").strip().lower()
        if transfer and transfer not in {"chunked", "identity"}:
            raise InvokeError("protocol", f"the reply's transfer encoding ({transfer}) was not asked for", self.status)
        self.until_close = transfer != "chunked" and "content-length" not in self._headers

    def on_body(self, data: bytes) -> None:
        if not self.complete:
            self._unfruitful = 0
            self.sink.piece(data, self._at)

    def on_message_complete(self) -> None:
        if self.has_head:
            self.end()
