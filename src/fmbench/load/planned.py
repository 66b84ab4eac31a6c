"""What a load is: a plan of requests, and how long it goes on."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from numbers import Integral, Real
from typing import Any, NamedTuple, Protocol, runtime_checkable

from fmbench.errors import ConfigError
from fmbench.types import Prompt

__all__ = ["LEAST_REQUESTS", "Load", "Place", "Planned", "check_count", "check_positive", "check_stop", "prompt_of", "total_of"]

LEAST_REQUESTS = 130
"""The requests that a 95th percentile needs (MLPerf's early-stopping bound at 99 % confidence)."""


class Place(NamedTuple):
    """Where a request stands among conversations."""

    session: int
    """The session's number, warm-up included."""
    name: str
    """The id of its first prompt, marked where the session is a repetition or warm-up."""
    turn: int
    """From 1."""


class Planned(NamedTuple):
    """One request as planned."""

    number: int
    """Counted over warm-up and measured requests together."""
    prompt: int
    """Which of the arranged prompts it sends."""
    measured: bool
    due_seconds: float | None
    """From the start of sending; ``None`` in a closed load, where it is due when its stream is free, and for a conversation's
    later turns, which are due when the turn before has its reply and the pause is over."""
    place: Place | None = None
    """``None`` where no prompt continues another."""


@runtime_checkable
class Load(Protocol):
    """When requests are due. ``streams`` is how many a closed load keeps in flight, ``None`` for an open one.

    May also have ``max_concurrency``: the most requests that an open load has in flight; others wait, and are timed from
    when they were due.
    """

    @property
    def streams(self) -> int | None: ...
    @property
    def requests(self) -> int | None: ...
    @property
    def seconds(self) -> float | None: ...
    def arranged(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        """The prompts that it sends, in its order: what ``total`` and ``plan`` are then given.

        Raises:
            ConfigError: the prompts lack what the load needs.
        """
        ...

    def total(self, prompts: Sequence[Prompt]) -> int | None:
        """How many measured requests there are; ``None`` where only time ends them."""
        ...

    def plan(self, prompts: Sequence[Prompt], *, warmup: int, stream: int = 0) -> Iterator[Planned]:
        """The requests of one stream (an open load has the one stream 0), warm-up first. May be endless: time ends it."""
        ...

    def warmup(self, asked: int | None) -> int:
        """How many warm-up requests go first, ``asked`` being the user's word."""
        ...

    def sending_seconds(self, prompts: Sequence[Prompt] | None, *, warmup: int) -> float | None:
        """How long sending takes at most, warm-up included; ``None`` where that is not known.

        It is not where replies decide, or prompts that are not drawn yet (``None``).
        """
        ...


def check_stop(load: Load) -> None:
    """Refuse a stop that makes no sense."""
    if load.requests is not None:
        check_count("requests", load.requests)
    if load.seconds is not None:
        check_positive("seconds", load.seconds)


def check_count(name: str, value: Any, least: int = 1) -> None:
    """Refuse what is not a whole number of at least ``least``."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise ConfigError(f"{name} must be a whole number, not {value!r}")
    if value < least:
        raise ConfigError(f"{name} must be {least} or more, not {value}")


def check_positive(name: str, value: Any) -> None:
    """Refuse what is not a finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ConfigError(f"{name} must be a number, not {value!r}")
    if not 0 < float(value) < math.inf:
        raise ConfigError(f"{name} must be above 0, not {value}")


def total_of(load: Load, prompts: Sequence[Prompt]) -> int | None:
    """Without a stop each prompt is sent once, and at least 130 requests are."""
    if load.requests is None and load.seconds is None:
        return max(len(prompts), LEAST_REQUESTS)
    return load.requests


def prompt_of(number: int, warmup: int, prompts: Sequence[Prompt]) -> int:
    """Measured requests take the prompts in order; warm-up takes them from the end, where they are the last to come again."""
    return (number - warmup) % len(prompts)
