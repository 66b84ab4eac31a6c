"""Conversations under a load: what it plans are sessions, each with its turns in their order."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fmbench.errors import ConfigError
from fmbench.load.closed import Concurrency
from fmbench.load.opened import ConstantRate, Gamma, Poisson, Ramp
from fmbench.load.planned import LEAST_REQUESTS, Load, Place, Planned
from fmbench.load.replay import Replay
from fmbench.types import Prompt

__all__ = ["Conversing", "conversations", "conversing"]

SessionLoad = Concurrency | ConstantRate | Poisson | Gamma | Ramp | Replay


def conversations(prompts: Sequence[Prompt]) -> list[list[int]]:
    """The prompts' indices, conversation by conversation, each in the order of its turns; a single prompt is one, too.

    Raises:
        ConfigError: two have one id, a prompt continues one that is not there, two continue the same, or some lead in a
            circle.
    """
    index = {prompt.id: number for number, prompt in enumerate(prompts)}
    if len(index) < len(prompts):
        twin = next(prompt.id for number, prompt in enumerate(prompts) if index[prompt.id] != number)
        raise ConfigError(f"prompts: two have the id {twin!r}; give each its own")
    following: dict[str, int] = {}
    for number, prompt in enumerate(prompts):
        if prompt.after is None:
            continue
        if prompt.after not in index:
            raise ConfigError(f"prompt {prompt.id!r}: after={prompt.after!r} is the id of no prompt of its set")
        if prompt.after in following:
            other = prompts[following[prompt.after]].id
            raise ConfigError(f"prompts {other!r} and {prompt.id!r} both continue {prompt.after!r}; only one can")
        following[prompt.after] = number
    found: list[list[int]] = []
    for number, prompt in enumerate(prompts):
        if prompt.after is None:
            found.append(chain := [number])
            while (more := following.get(prompts[chain[-1]].id)) is not None:
                chain.append(more)
    if sum(map(len, found)) < len(prompts):
        left = set(range(len(prompts))).difference(*found)
        raise ConfigError(f"prompt {prompts[min(left)].id!r}: after= leads round in a circle; one turn must be the first")
    return found


def conversing(load: Load, prompts: Sequence[Prompt]) -> Load:
    """The load for prompts some of which may be turns of conversations.

    Raises:
        ConfigError: they are, and the load cannot send conversations.
    """
    if all(getattr(prompt, "after", None) is None for prompt in prompts):
        return load
    if not isinstance(load, SessionLoad):
        raise ConfigError(f"loads: {load} cannot send conversations (after=); use a load of fmbench's own")
    if getattr(load, "max_concurrency", None) is not None:
        raise ConfigError(
            f"loads: {load}: max_concurrency cannot be kept with conversations (after=), whose places would stand empty "
            "in their pauses; leave it out, or use Concurrency"
        )
    return Conversing(load)


@dataclass(frozen=True, slots=True)
class Conversing:
    """A load whose unit is the session: a closed load keeps so many of them, in an open one so many begin a second.

    ``requests`` counts turns, so that the last session may be cut short; ``seconds`` is as ever. Without either the last
    session is complete. Warm-up consists of first turns. Sessions repeat from their first turn when they run out.
    """

    load: SessionLoad

    def __str__(self) -> str:
        return str(self.load)

    @property
    def streams(self) -> int | None:
        return self.load.streams

    @property
    def requests(self) -> int | None:
        return self.load.requests

    @property
    def seconds(self) -> float | None:
        return self.load.seconds

    def arranged(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        """Session by session, so that a turn follows the one before it."""
        chains = {prompts[chain[0]].id: chain for chain in conversations(prompts)}
        for prompt in prompts:
            if not 0 <= prompt.pause_seconds < float("inf"):
                raise ConfigError(f"prompt {prompt.id!r}: pause_seconds must be 0 or more, not {prompt.pause_seconds}")
        firsts = self.load.arranged([prompts[chain[0]] for chain in chains.values()])
        return [prompts[number] for first in firsts for number in chains[first.id]]

    def total(self, prompts: Sequence[Prompt]) -> int | None:
        if self.load.requests is not None or self.load.seconds is not None:
            return self.load.requests
        starts, least = _starts(prompts), max(len(prompts), LEAST_REQUESTS)
        laps, rest = divmod(_sessions(starts, least, len(prompts)), len(starts))
        return laps * len(prompts) + (starts[rest] if rest else 0)

    def warmup(self, asked: int | None) -> int:
        return self.load.warmup(asked)

    def plan(self, prompts: Sequence[Prompt], *, warmup: int, stream: int = 0) -> Iterator[Planned]:
        starts, total = _starts(prompts), self.total(prompts)
        for session in self._by_session(total, starts, len(prompts)).plan(
            [prompts[start] for start in starts], warmup=warmup, stream=stream
        ):
            start = starts[session.prompt]
            if not session.measured:
                place = Place(session.number, f"{prompts[start].id}#warmup{session.number}", 1)
                yield Planned(session.number, start, False, session.due_seconds, place)
                continue
            lap, chain = divmod(session.number - warmup, len(starts))
            end = starts[chain + 1] if chain + 1 < len(starts) else len(prompts)
            if total is not None:
                end = min(end, total - lap * len(prompts))
            name = prompts[start].id if not lap else f"{prompts[start].id}#{lap + 1}"
            for turn, index in enumerate(range(start, end), 1):
                due = session.due_seconds if turn == 1 else None
                number = warmup + lap * len(prompts) + index
                yield Planned(number, index, True, due, Place(session.number, name, turn))

    def sending_seconds(self, prompts: Sequence[Prompt] | None, *, warmup: int) -> float | None:
        """How long the replies take decides, but where the load's seconds do."""
        if self.load.seconds is None or self.load.streams is not None:
            return None
        firsts = None if prompts is None else [prompts[start] for start in _starts(prompts)]
        return replace(self.load, requests=None).sending_seconds(firsts, warmup=warmup)

    def _by_session(self, total: int | None, starts: Sequence[int], prompts: int) -> SessionLoad:
        """The load as one that counts sessions."""
        return replace(self.load, requests=None if total is None else _sessions(starts, total, prompts))


def _starts(prompts: Sequence[Prompt]) -> list[int]:
    """The places of the first turns among arranged prompts."""
    return [number for number, prompt in enumerate(prompts) if prompt.after is None]


def _sessions(starts: Sequence[int], requests: int, prompts: int) -> int:
    """In how many sessions there are so many requests, the last one whole or not."""
    laps, rest = divmod(requests, prompts)
    return laps * len(starts) + bisect_left(starts, rest)
