"""One check and its verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Check", "Verdict", "worst"]

Verdict = Literal["pass", "warn", "fail"]

_ORDER: tuple[Verdict, ...] = ("pass", "warn", "fail")


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found.

    Args:
        name: Which check.
        verdict: ``pass``; ``warn``, where the numbers hold with a reservation; ``fail``, where they are not to be believed.
        finding: What was found, in words and units.
        figure: The number that was looked at, in SI units or as a share.
        limit: From where on it is not a ``pass``.
        remedy: What to do about it; empty for a ``pass``.
        experiment: Which experiment; ``None`` for the whole run.
    """

    name: str
    verdict: Verdict
    finding: str
    figure: float | None = None
    limit: float | None = None
    remedy: str = ""
    experiment: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def worst(checks: Iterable[Check]) -> Verdict:
    """The worst verdict among the checks; ``pass`` without any."""
    verdicts: list[Verdict] = [check.verdict for check in checks]
    return _ORDER[max((_ORDER.index(verdict) for verdict in verdicts), default=0)]
