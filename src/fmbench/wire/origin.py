"""Where requests go: the parts of a URL that a client needs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from fmbench.errors import ConfigError

__all__ = ["Origin", "origin_of"]

PORTS = {"http": 80, "https": 443}

_HOST = re.compile(r"[0-9A-Za-z._~%:-]+")
"""Of names and of addresses; anything else would spoil the head that it stands in."""


@dataclass(frozen=True, slots=True)
class Origin:
    """A server, and the path that all requests' paths are put behind.

    Args:
        host: A name or an address, without brackets; names are in ASCII.
        port: Where it listens.
        authority: Host and port as the ``Host`` header has them.
        path: Without a slash at its end.
        secure: Whether TLS is spoken.
    """

    host: str
    port: int
    authority: str
    path: str
    secure: bool

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def origin_of(url: str) -> Origin:
    """Take a URL apart.

    Raises:
        ConfigError: it is not one of ``http`` or ``https``, or holds what belongs elsewhere; a password is not shown.
    """
    parts, port = _parts(url)
    if parts.username is not None or parts.password is not None:
        raise ConfigError("url must not hold a user or password; send a header instead")
    if parts.scheme not in PORTS or not parts.hostname:
        raise ConfigError(f"url must be http://… or https://…, not {url!r}")
    if parts.query or parts.fragment:
        raise ConfigError("url must end with its path: it is the root that paths such as /v1 are put behind")
    if not (parts.path.isascii() and parts.path.isprintable() and " " not in parts.path):
        raise ConfigError(f"url must be percent-encoded, not {url!r}")
    host = _ascii(parts.hostname, url)
    bracketed = f"[{host}]" if ":" in host else host
    return Origin(
        host=host,
        port=PORTS[parts.scheme] if port is None else port,
        authority=bracketed if port is None else f"{bracketed}:{port}",
        path=parts.path.rstrip("/"),
        secure=parts.scheme == "https",
    )


def _parts(url: str) -> tuple[SplitResult, int | None]:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigError(f"url cannot be read: {error}") from None
    return parts, port


def _ascii(host: str, url: str) -> str:
    try:
        plain = host if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError:
        plain = ""
    if not _HOST.fullmatch(plain):
        raise ConfigError(f"url must name a host, not {url!r}")
    return plain
