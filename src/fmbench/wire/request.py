"""Requests made ready off the clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from fmbench.errors import ConfigError
from fmbench.wire.origin import Origin

__all__ = ["Prepared", "prepared_request"]

OURS = {
    "content-length": "leave it out: it follows from the body",
    "transfer-encoding": "leave it out: a request's body is sent with its length",
    "x-request-id": "leave it out: it is the request's own id",
    "connection": "use keep_alive=False instead",
}
BODILESS = {"DELETE", "GET", "HEAD", "OPTIONS"}
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_NOT_IN_A_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]|[^\x00-\xff]")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request made ready off the clock; only its id is missing."""

    before_id: bytes
    after_id: bytes
    head_only: bool = False
    """Whether it is a ``HEAD``, whose reply has no body whatever its head says."""

    def with_lines(self, lines: bytes) -> Prepared:
        """The same with more lines in its head, such as a signature's; they are sent as they are, without a last line end."""
        return Prepared(self.before_id, b"\r\n" + lines + self.after_id, self.head_only)

    def with_id(self, request_id: str) -> bytes:
        """The whole request as bytes.

        Raises:
            ConfigError: the id cannot stand in a header.
        """
        if not (request_id.isascii() and request_id.isprintable()):
            raise ConfigError(f"a request's id must be printable ASCII, not {request_id!r}")
        return b"".join((self.before_id, request_id.encode(), self.after_id))


def prepared_request(
    origin: Origin, method: str, path: str, headers: Mapping[str, str], body: bytes, *, once: bool
) -> Prepared:
    """Make a request ready.

    Args:
        origin: Where it goes.
        method: Such as ``POST``.
        path: Put behind the origin's own; percent-encoded.
        headers: Beside what every request has, and instead of it where names are the same.
        body: Its body.
        once: Whether the connection is to serve no other.

    Raises:
        ConfigError: something cannot be written as HTTP; header values are not shown, since they may be secret.
    """
    if not _TOKEN.fullmatch(method):
        raise ConfigError(f"method must be a word such as POST, not {method!r}")
    if not (path.startswith("/") and path.isascii() and path.isprintable() and " " not in path):
        raise ConfigError(f"path must begin with / and be percent-encoded, not {path!r}")
    lines = [f"{method} {origin.path}{path} HTTP/1.1"]
    usual = {"Host": origin.authority, "User-Agent": "fmbench", "Accept": "*/*", "Accept-Encoding": "identity"}
    own = {name.lower() for name in headers}
    lines += [f"{name}: {value}" for name, value in usual.items() if name.lower() not in own]
    lines += [_header_line(name, value) for name, value in headers.items()]
    if body or method not in BODILESS:
        lines.append(f"Content-Length: {len(body)}")
    if once:
        lines.append("Connection: close")
    head = "\r\n".join((*lines, "X-Request-Id: ")).encode("latin-1")
    return Prepared(head, b"\r\n\r\n" + body, method == "HEAD")


def _header_line(name: str, value: str) -> str:
    if not _TOKEN.fullmatch(name):
        raise ConfigError(f"header name {name!r} cannot be sent: it must be letters, digits and hyphens")
    if remedy := OURS.get(name.lower()):
        raise ConfigError(f"header {name} cannot be set: {remedy}")
    if _NOT_IN_A_VALUE.search(value):
        raise ConfigError(f"header {name} cannot be sent: its value holds a line break or another character no header may hold")
    return f"{name}: {value.strip()}"
