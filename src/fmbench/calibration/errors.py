"""Reported minus true, from a run's records and the server's log. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmbench.simulator import Truth

__all__ = ["Level", "Spread", "compared"]

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spread:
    """How values are spread, in seconds.

    Args:
        p50: Their median.
        p99: The 99th percentile of their size, whatever their sign.
        values: All of them.
    """

    p50: float
    p99: float
    values: Values

    @classmethod
    def of(cls, values: Sequence[float] | Values) -> Spread | None:
        """``None`` where there is none."""
        known = np.asarray(values, dtype=np.float64)
        if not len(known):
            return None
        return cls(float(np.median(known)), float(np.quantile(np.abs(known), 0.99, method="inverted_cdf")), known)

    def as_dict(self) -> dict[str, Any]:
        """Its figures for JSON."""
        return {"p50_seconds": self.p50, "p99_seconds": self.p99, "count": len(self.values)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What one number of streams showed.

    Args:
        streams: How many.
        requests: How many requests were compared; others failed.
        failed: How many did.
        ttft_error: TTFT as reported minus the time from the request's arrival at the server to its first token's sending.
        itl_error: The same for the gaps between tokens.
        latency_error: The same for the last token.
        unknown_ttft: For how many requests TTFT is not reported, because the first token shared a read with a later one.
        coalesced_share: The share of tokens that shared a read with a later one.
        client_delay: How much later than the kernel the reader came, each request's worst: what a client without kernel times
            would have added.
        server_lateness: How much later than planned the truth server itself sent its tokens.
        client_cores: How much of a core the measuring process used.
    """

    streams: int
    requests: int
    failed: int
    ttft_error: Spread | None
    itl_error: Spread | None
    latency_error: Spread | None
    unknown_ttft: int
    coalesced_share: float
    client_delay: Spread | None
    server_lateness: Spread | None
    client_cores: float | None

    def as_dict(self) -> dict[str, Any]:
        """Its figures for JSON."""
        told: dict[str, Any] = {}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            told[name] = value.as_dict() if isinstance(value, Spread) else value
        return told


@dataclass(slots=True)
class _Tally:
    """The errors of one experiment's requests, in seconds, as they are added."""

    ttft: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    gaps: list[Values] = field(default_factory=list)
    late: list[Values] = field(default_factory=list)
    delays: list[float] = field(default_factory=list)
    failed: int = 0
    unknown: int = 0
    tokens: int = 0
    coalesced: int = 0
    requests: int = 0

    def add(self, row: Mapping[str, Any], true: Truth | None) -> None:
        """Add one record, with what the server logged of it."""
        if row["status"] != "ok" or true is None or len(true.sent_ns) != len(row["arrivals_ns"]):
            self.failed += 1
            return
        self.requests += 1
        sent, arrived = np.array(true.sent_ns), np.array(row["arrivals_ns"])
        self.late.append((sent - np.array(true.planned_ns)) / 1e9)
        own = ~np.array(row["arrival_coalesced"], dtype=np.bool_)
        self.tokens, self.coalesced = self.tokens + len(own), self.coalesced + int((~own).sum())
        if row["first_token_ns"] is None:
            self.unknown += 1
        else:
            self.ttft.append((row["first_token_ns"] - row["sent_ns"] - int(sent[0] - true.received_ns)) / 1e9)
        self.latency.append((row["last_token_ns"] - row["sent_ns"] - int(sent[-1] - true.received_ns)) / 1e9)
        known = own[1:] & own[:-1]
        self.gaps.append((np.diff(arrived) - np.diff(sent))[known] / 1e9)
        if row["client_delay_ns"] is not None:
            self.delays.append(row["client_delay_ns"] / 1e9)


def compared(
    streams: int, rows: Iterable[Mapping[str, Any]], truth: Mapping[str, Truth], *, client_cores: float | None
) -> Level:
    """Compare one experiment's records with the truth.

    Args:
        streams: Its number of streams.
        rows: Its records, columns by name.
        truth: The server's log by request id.
        client_cores: How much of a core the measuring process used.
    """
    tally = _Tally()
    for row in rows:
        tally.add(row, truth.get(row["id"]))
    gaps, late, tokens = tally.gaps, tally.late, tally.tokens
    return Level(
        streams=streams,
        requests=tally.requests,
        failed=tally.failed,
        ttft_error=Spread.of(tally.ttft),
        itl_error=Spread.of(np.concatenate(gaps) if gaps else ()),
        latency_error=Spread.of(tally.latency),
        unknown_ttft=tally.unknown,
        coalesced_share=tally.coalesced / tokens if tokens else 0.0,
        client_delay=Spread.of(tally.delays),
        server_lateness=Spread.of(np.concatenate(late) if late else ()),
        client_cores=client_cores,
    )
