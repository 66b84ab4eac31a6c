"""Every error that fmbench raises on purpose.

FmbenchError
├─ ConfigError (also a ValueError)   a wrong option, or parts that do not fit together
├─ PluginError .group .name          an adapter named by a string cannot be had
│  ├─ PluginNotFound                 nobody registered that name
│  └─ PluginBroken                   it is registered, but importing it fails
├─ RunDirectoryError                 a run's folder cannot be used or read
├─ DeployError                       an endpoint did not come up; what was made is already removed
├─ InvokeError .kind .status         one request failed; it becomes a value in that request's record
└─ ReportError                       a reporter failed; nothing measured is lost
"""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DeployError",
    "FmbenchError",
    "InvokeError",
    "PluginBroken",
    "PluginError",
    "PluginNotFound",
    "ReportError",
    "RunDirectoryError",
]


class FmbenchError(Exception):
    """The root: catching it catches whatever fmbench raises on purpose."""


class ConfigError(FmbenchError, ValueError):
    """A wrong option, or parts that do not fit together; the message names both field and remedy."""


class PluginError(FmbenchError):
    """An adapter named by a string cannot be had."""

    def __init__(self, message: str, *, group: str, name: str) -> None:
        super().__init__(message)
        self.group = group
        self.name = name


class PluginNotFound(PluginError, ConfigError):
    """Nobody registered that name; the message lists the nearest known ones."""


class PluginBroken(PluginError):
    """A registered adapter cannot be imported; the message names its distribution and the extra to install."""


class RunDirectoryError(FmbenchError):
    """A run's folder cannot be used or read."""


class DeployError(FmbenchError):
    """An endpoint did not come up. Whatever the attempt made has been removed when this is raised."""


class InvokeError(FmbenchError):
    """One request failed. The engine stores it in the request's record and goes on.

    Args:
        kind: One word for machines: ``connect``, ``reset``, ``protocol``, ``unauthorized``, ``not_found``,
            ``validation``, ``throttled``, ``not_ready``, ``model_error``, ``server``, ``http``, ``decode``,
            ``incomplete``, ``timeout`` are used by the built-in adapters; an adapter may add its own.
        message: One line for people, without secrets.
        status: The HTTP status, where there was one.
    """

    def __init__(self, kind: str, message: str, status: int | None = None) -> None:
        super().__init__(kind, message, status)
        self.kind = kind
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message


class ReportError(FmbenchError):
    """A reporter failed; the records and everything measured are on disk."""
