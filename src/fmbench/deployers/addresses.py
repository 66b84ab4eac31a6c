"""Where an endpoint stands: its URL looked at, and whether anybody listens there."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import anyio

__all__ = ["address_of", "check_root", "unreachable"]


def check_root(url: str) -> str:
    """Take an endpoint's root as it is, or say what is wrong with it, without repeating what may be a secret.

    Raises:
        ValueError: it is not a root of HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("must be http://HOST:PORT or https://HOST")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not hold a user or a password; put them into a header")
    if parts.query or parts.fragment:
        raise ValueError("must be the endpoint's root, without ? and #")
    if parts.port == 0:
        raise ValueError("must name a port from 1 to 65535")
    return url


def address_of(url: str) -> tuple[str, int]:
    """A URL's host and port."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)


async def unreachable(url: str, seconds: float = 2.0) -> str | None:
    """Why nobody accepts a connection at the URL's host and port; ``None`` where somebody does."""
    host, port = address_of(url)
    try:
        with anyio.fail_after(seconds):
            stream = await anyio.connect_tcp(host, port)
    except TimeoutError:
        return f"no answer within {seconds:g} s"
    except OSError as error:
        return _reason(error)
    await stream.aclose()
    return None


def _reason(error: BaseException) -> str:
    """The system's own word for what failed, below the libraries' words."""
    cause = error.__cause__
    if isinstance(cause, BaseExceptionGroup):  # one for each of the host's addresses
        cause = cause.exceptions[0]
    if cause is not None:
        return _reason(cause)
    number = getattr(error, "errno", None)
    return os.strerror(number) if number is not None and number > 0 else getattr(error, "strerror", None) or str(error)
