"""What an endpoint's time and tokens are paid with."""

from __future__ import annotations

from typing import NamedTuple

from fmbench.types import Facts

__all__ = ["UNKNOWN_PRICE", "Prices", "usd_of_time"]

UNKNOWN_PRICE = "no price is known: give the deployer usd_per_hour, or the two per-token prices"


class Prices(NamedTuple):
    """An endpoint's price: by the hour and instance, or by tokens; by the hour where both are told."""

    usd_per_hour: float | None = None
    """Of one instance."""
    instances: int = 1
    usd_per_million_input_tokens: float | None = None
    usd_per_million_output_tokens: float | None = None
    why_unknown: str = UNKNOWN_PRICE
    """Why there is none, where there is none."""

    @classmethod
    def of(cls, facts: Facts) -> Prices:
        """The prices among an endpoint's facts."""
        return cls(
            facts.get("usd_per_hour"),
            facts.get("instance_count") or 1,
            facts.get("usd_per_million_input_tokens"),
            facts.get("usd_per_million_output_tokens"),
            facts.get("price_unknown") or UNKNOWN_PRICE,
        )

    @property
    def by_tokens(self) -> bool:
        """Whether tokens are paid for, and not time."""
        prices = (self.usd_per_million_input_tokens, self.usd_per_million_output_tokens)
        return self.usd_per_hour is None and None not in prices


def usd_of_time(usd_per_hour: float, instances: int, seconds: float) -> float:
    """Rate x instances x hours."""
    return usd_per_hour * instances * seconds / 3600
