"""Proxies that the environment names: a connection through one would be timed as the server's, so it is refused, aloud."""

from __future__ import annotations

import os
from ipaddress import ip_address, ip_network

from fmbench.errors import ConfigError
from fmbench.wire.origin import Origin, origin_of

__all__ = ["refuse_proxy"]


def refuse_proxy(url: str) -> None:
    """Refuse a server that the environment says is reached through a proxy, since fmbench speaks to none.

    ``HTTP_PROXY`` or ``HTTPS_PROXY``, by the URL's scheme, then ``ALL_PROXY`` count, in either case, lower case first.
    ``NO_PROXY`` excepts hosts as it does elsewhere: names with all that end in them, ``host:port``, addresses, networks such
    as ``10.0.0.0/8``, and ``*``. The loopback interface is never behind a proxy: one would reach another machine's.

    Raises:
        ConfigError: a proxy is named; the message names its variable, never its value, which may hold a password.
    """
    origin = origin_of(url)
    named = _named()
    variable, _ = named.get(f"{'https' if origin.secure else 'http'}_proxy") or named.get("all_proxy") or (None, "")
    _, excepted = named.get("no_proxy", ("", ""))
    if variable is None or _is_loopback(origin.host) or any(_holds(entry, origin) for entry in excepted.split(",")):
        return
    raise ConfigError(
        f"{variable} names a proxy for {origin}, which fmbench would not use: add {origin.host} to NO_PROXY to connect directly"
    )


def _named() -> dict[str, tuple[str, str]]:
    """Each variable's name as it stands and its value, by its name in lower case; an empty one is one that is not set."""
    variables = sorted(os.environ.items(), key=lambda item: item[0].islower())  # the last one counts
    found = {name.lower(): (name, value) for name, value in variables if name.lower().endswith("_proxy")}
    return {key: (name, value) for key, (name, value) in found.items() if value}


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return f".{host}".rstrip(".").endswith(".localhost")


def _holds(entry: str, origin: Origin) -> bool:
    """Whether an entry of ``NO_PROXY`` excepts a server; no name is looked up."""
    entry, host = entry.strip().lower().lstrip("."), origin.host.rstrip(".")
    if entry == "*":
        return True
    try:
        return ip_address(host) in ip_network(entry.strip("[]"), strict=False)
    except ValueError:
        return bool(entry) and any(f".{place}".endswith(f".{entry}") for place in (host, f"{host}:{origin.port}"))
