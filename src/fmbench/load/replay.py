"""The load that takes its times from the prompts: a trace, sent again."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from fmbench.errors import ConfigError
from fmbench.load.opened import Opened
from fmbench.load.planned import check_positive
from fmbench.types import Prompt

__all__ = ["Replay"]


@dataclass(frozen=True, slots=True)
class Replay(Opened):
    """Requests at the prompts' own times (``Prompt.at_seconds``): a trace, sent again.

    Prompts are sent in the order of their times, counted from the earliest one's. When they run out, the trace begins again,
    one mean gap after its last request. Warm-up goes at the trace's mean rate.

    Args:
        speed: 2 sends twice as fast.
        from_seconds: Leave out the prompts that are earlier in the trace; with ``seconds`` this cuts out a window.
        requests: Stop after so many.
        seconds: Stop after so long, in time as sent (a trace's minute takes half a minute at ``speed`` 2).
        max_concurrency: The most in flight.
    """

    speed: float = 1.0
    from_seconds: float | None = None
    requests: int | None = None
    seconds: float | None = None
    max_concurrency: int | None = None

    def __str__(self) -> str:
        speed = "" if self.speed == 1 else f" at {self.speed:g} times its speed"
        after = "" if self.from_seconds is None else f" from {self.from_seconds:g} s"
        return f"replay{speed}{after}"

    def _check(self) -> None:
        check_positive("speed", self.speed)

    def arranged(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        timed = sorted(((_at(prompt), prompt) for prompt in prompts), key=lambda pair: pair[0])
        kept = [prompt for at, prompt in timed if self.from_seconds is None or at >= self.from_seconds]
        if timed and not kept:
            last = timed[-1][0]
            raise ConfigError(f"replay: no prompt is left from from_seconds={self.from_seconds:g} on; the last is at {last:g}")
        return kept

    def sending_seconds(self, prompts: Sequence[Prompt] | None, *, warmup: int) -> float | None:
        return None if prompts is None else Opened.sending_seconds(self, prompts, warmup=warmup)

    def _warmup_per_second(self, prompts: Sequence[Prompt]) -> float:
        return 1 / self._gap(prompts)

    def _gap(self, prompts: Sequence[Prompt]) -> float:
        """The mean gap as sent; prompts that are all due at once are a second apart from their next time."""
        span = (_at(prompts[-1]) - _at(prompts[0])) / self.speed
        return span / (len(prompts) - 1) if span > 0 else 1.0

    def _offsets(self, prompts: Sequence[Prompt]) -> Iterator[float]:
        first = _at(prompts[0])
        times = [(_at(prompt) - first) / self.speed for prompt in prompts]
        lap = times[-1] + self._gap(prompts)
        return (number * lap + time for number in count() for time in times)


def _at(prompt: Prompt) -> float:
    at = prompt.at_seconds
    if at is None or not math.isfinite(at):
        raise ConfigError(f"replay: prompt {prompt.id!r} has no at_seconds; give each prompt its time, or use another load")
    return at
