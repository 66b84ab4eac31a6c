"""What a run tells while it goes on."""

from __future__ import annotations

from typing import Literal, NamedTuple

__all__ = ["Progress"]


class Progress(NamedTuple):
    """One piece of news. ``total`` is ``None`` where only time ends an experiment."""

    event: Literal[
        "prompts",
        "deploying",
        "deployed",
        "deploy_failed",
        "measuring",
        "progress",
        "measured",
        "deleting",
        "deleted",
        "reporting",
        "reported",
    ]
    deployment: str | None = None
    experiment: str | None = None
    done: int = 0
    total: int | None = None
    errors: int = 0
    message: str | None = None
