"""The tags on everything a run creates, by which it is found again without a journal."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Mapping
from datetime import UTC, datetime

__all__ = ["DEADLINE", "KEEP", "OWNER", "RUN", "deadline_of", "tags_of"]

RUN, DEADLINE, OWNER, KEEP = "fmbench:run", "fmbench:deadline", "fmbench:owner", "fmbench:keep"
_NOT_IN_A_TAG = re.compile(r"[^\w .:/=+@-]", re.ASCII)
"""What AWS takes in a tag's value, without other alphabets."""


def tags_of(run: str, deadline: float | None) -> dict[str, str]:
    """A run's tags: its id, who began it, and when it must be over, where it must.

    Args:
        run: The run's id.
        deadline: Seconds since the epoch.
    """
    tags = {RUN: run, OWNER: owner()}
    if deadline is not None:
        tags[DEADLINE] = datetime.fromtimestamp(deadline, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return tags


def owner() -> str:
    """Who runs this: the user's name and the machine's."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):
        user = "unknown"
    return _NOT_IN_A_TAG.sub("-", f"{user}@{socket.gethostname()}")[:256]


def deadline_of(tags: Mapping[str, str]) -> float | None:
    """When a tagged thing must be gone, in seconds since the epoch; ``None`` where its tags do not say."""
    try:
        return datetime.fromisoformat(tags[DEADLINE]).timestamp()
    except (KeyError, ValueError):
        return None
