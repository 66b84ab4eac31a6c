"""The closed load: as many requests in flight as asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count

from fmbench.load.planned import Planned, check_count, check_stop, prompt_of, total_of
from fmbench.types import Prompt

__all__ = ["Concurrency"]


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Keep ``n`` requests in flight: each of ``n`` streams sends its next request when its last one has ended.

    Without ``requests`` and ``seconds`` each prompt is sent once, and at least 130 requests are.
    """

    n: int
    requests: int | None = None
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_count("concurrency", self.n)
        check_stop(self)

    def __str__(self) -> str:
        return f"concurrency {self.n}"

    @property
    def streams(self) -> int:
        return self.n

    def arranged(self, prompts: Sequence[Prompt]) -> Sequence[Prompt]:
        return prompts

    def total(self, prompts: Sequence[Prompt]) -> int | None:
        return total_of(self, prompts)

    def warmup(self, asked: int | None) -> int:
        return self.n if asked is None else asked

    def plan(self, prompts: Sequence[Prompt], *, warmup: int, stream: int = 0) -> Iterator[Planned]:
        total = self.total(prompts)
        for number in count(stream, self.n) if total is None else range(stream, warmup + total, self.n):
            yield Planned(number, prompt_of(number, warmup, prompts), number >= warmup, None)

    def sending_seconds(self, prompts: Sequence[Prompt] | None, *, warmup: int) -> float | None:  # noqa: ARG002 - a Load's
        return None
