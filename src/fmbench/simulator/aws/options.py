"""What the offline AWS is told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fmbench import ConfigError

__all__ = ["ACCESS_KEY", "ACCOUNT", "SECRET_KEY", "AwsOptions"]

ACCOUNT = "000000000000"
"""Nobody's: results that come from it are simulated."""
ACCESS_KEY = "OFFLINEAWSACCESSKEY0"
SECRET_KEY = "made-up/by-fmbench/opens+nothing/anywhere"  # noqa: S105 - made up, and printed: it opens only this simulator


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsOptions:
    """How the offline AWS behaves.

    Args:
        host: The address it listens at.
        port: 0 for any that is free.
        access_key: The one access key that there is.
        secret_key: Its secret.
        session_token: Its session's token, for temporary credentials.
        region: Told to clients as ``AWS_DEFAULT_REGION``; every region is served, each with its own resources.
        create_seconds: From Creating to InService.
        delete_seconds: From Deleting to gone.
        page_size: The most that a page of a list holds, whatever is asked for.
        quotas: Instances allowed by instance type, where not ``quota``.
        quota: Instances allowed of every other type.
        speed: How many times faster than its made-up table every instance type is.
        invoke_limit_seconds: How long a container may take for an unstreamed reply; AWS: 60.
        faults: What goes wrong on purpose from the start: the share of the calls that each kind of fault strikes.
        fault_seed: Decides which.
        log: Where the true time of every token is written.
    """

    host: str = "127.0.0.1"
    port: int = 0
    access_key: str = ACCESS_KEY
    secret_key: str = field(default=SECRET_KEY, repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str = "us-east-1"
    create_seconds: float = 0.5
    delete_seconds: float = 0.3
    page_size: int = 10
    quotas: Mapping[str, int] = field(default_factory=dict)
    quota: int = 20
    speed: float = 1.0
    invoke_limit_seconds: float = 60.0
    faults: Mapping[str, float] = field(default_factory=dict)
    fault_seed: int = 0
    log: Path | None = None

    def __post_init__(self) -> None:
        for name in ("create_seconds", "delete_seconds"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"{name} must be 0 or more, not {getattr(self, name)!r}")
        for name in ("speed", "invoke_limit_seconds", "page_size"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} must be above 0, not {getattr(self, name)!r}")
