"""What fmbench promises of its figures, and whether a machine lets it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from fmbench.calibration.errors import Level, Spread

__all__ = ["Budget", "Verdict"]


class Verdict(NamedTuple):
    """Whether a level keeps to the budget.

    ``unclear``: the truth server was late itself, so nothing can be told of the client.
    """

    outcome: Literal["met", "missed", "unclear"]
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """How far off figures may be, in seconds, and how many tokens may share a read with a later one.

    Args:
        median_seconds: The median error of TTFT, ITL and latency.
        p99_seconds: The 99th percentile of its size.
        coalesced_share: The share of coalesced tokens.
        lateness_seconds: How late the truth server may be at the 99th percentile, for its word to count.
    """

    median_seconds: float = 0.0001
    p99_seconds: float = 0.001
    coalesced_share: float = 0.01
    lateness_seconds: float = 0.001

    def judge(self, level: Level) -> Verdict:
        """Judge one number of streams."""
        if level.failed or not level.requests:
            return Verdict("missed", [f"{level.failed} of {level.failed + level.requests} requests failed"])
        missed = list(self._missed(level))
        late = level.server_lateness
        if missed and late is not None and late.p99 > self.lateness_seconds:
            return Verdict("unclear", [f"the truth server itself was {_ms(late.p99)} late at p99", *missed])
        return Verdict("missed" if missed else "met", missed)

    def keeps(self, levels: Sequence[Level]) -> bool:
        """Whether a machine meets it: some level does, and none misses it."""
        outcomes = [self.judge(level).outcome for level in levels]
        return "met" in outcomes and "missed" not in outcomes

    def as_dict(self) -> dict[str, Any]:
        """Its figures for JSON."""
        return asdict(self)

    def _missed(self, level: Level) -> Iterator[str]:
        named = (("TTFT", level.ttft_error), ("ITL", level.itl_error), ("latency", level.latency_error))
        for name, error in named:
            yield from self._missed_by(name, error)
        if level.coalesced_share > self.coalesced_share:
            yield f"{level.coalesced_share:.1%} of the tokens shared a read with a later one, limit {self.coalesced_share:.1%}"

    def _missed_by(self, name: str, error: Spread | None) -> Iterator[str]:
        if error is None:
            yield f"{name} is not known for any request"
            return
        if abs(error.p50) > self.median_seconds:
            yield f"{name}: the median error is {_ms(error.p50)}, limit {_ms(self.median_seconds)}"
        if error.p99 > self.p99_seconds:
            yield f"{name}: the error at p99 is {_ms(error.p99)}, limit {_ms(self.p99_seconds)}"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
