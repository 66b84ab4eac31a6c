"""The price book: one row for each region and instance type, with its source and date."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import orjson

from fmbench.errors import ConfigError

__all__ = ["HOSTING", "HostingPrice", "PriceBook"]

HOSTING = "Hosting"
"""The part of SageMaker's price list that endpoints are billed by; Studio, training and EC2 have other prices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostingPrice:
    """What one instance of a SageMaker endpoint costs an hour, or why that is not known.

    Args:
        instance_type: Such as ``ml.g5.12xlarge``.
        region: Such as ``us-east-1``.
        usd_per_hour: On demand; ``None`` where it is not known.
        reason: Why it is not known.
        source: Where the figure stands.
        retrieved: The day on which it was read there, as ``2026-11-24``.
        verified: Whether a second source tells the same.
        note: What else must be known of it.
    """

    instance_type: str
    region: str
    usd_per_hour: float | None
    reason: str | None = None
    source: str | None = None
    retrieved: str | None = None
    verified: bool = False
    note: str | None = None

    def facts(self) -> dict[str, Any]:
        """It as an endpoint's facts: ``usd_per_hour`` where it is known, and ``price`` with all that is known of it."""
        told = {name: getattr(self, name) for name in ("reason", "source", "retrieved", "verified", "note")}
        price = {name: value for name, value in told.items() if value is not None}
        return ({} if self.usd_per_hour is None else {"usd_per_hour": self.usd_per_hour}) | {"price": price}


class PriceBook:
    """Prices by region and instance type.

    Args:
        rows: One mapping for each price: ``region, instance_type, component, usd_per_hour, source, retrieved`` and perhaps
            ``verified`` and ``note``.
        name: What the book is called where it has no price.

    Raises:
        ConfigError: a row's price is not SageMaker hosting's, or there are two of one kind.
    """

    def __init__(self, rows: Iterable[Mapping[str, Any]], *, name: str = "the price book") -> None:
        self.name = name
        self._rows: dict[tuple[str, str], HostingPrice] = {}
        for row in rows:
            price = _price(row)
            key = price.region, price.instance_type
            if key in self._rows:
                raise ConfigError(f"{name} has two prices for {price.instance_type} in {price.region}")
            self._rows[key] = price

    @classmethod
    def shipped(cls) -> PriceBook:
        """The book that comes with fmbench."""
        return _shipped()

    def rows(self) -> tuple[HostingPrice, ...]:
        """All prices."""
        return tuple(self._rows.values())

    def look_up(self, instance_type: str, region: str) -> HostingPrice:
        """The price of a type in a region; without a figure, and with a reason, where the book has none.

        A price of another region is none of this one.
        """
        found = self._rows.get((region, instance_type))
        if found is not None:
            return found
        elsewhere = sorted(where for where, kind in self._rows if kind == instance_type)
        reason = f"{self.name} has no price for {instance_type} in {region}"
        reason += f" (it has one for {', '.join(elsewhere)})" if elsewhere else ""
        return HostingPrice(
            instance_type=instance_type, region=region, usd_per_hour=None, reason=f"{reason}; give usd_per_hour"
        )


def _price(row: Mapping[str, Any]) -> HostingPrice:
    kind, component = str(row["instance_type"]), row.get("component")
    if not kind.startswith("ml."):
        raise ConfigError(f"{kind} is no instance type of SageMaker's, whose names begin with ml.: EC2's prices are others")
    if component != HOSTING:
        raise ConfigError(f"{kind}: a price for {component or 'an unnamed component'} is not one for {HOSTING}")
    return HostingPrice(
        instance_type=kind,
        region=row["region"],
        usd_per_hour=float(row["usd_per_hour"]),
        source=row["source"],
        retrieved=row["retrieved"],
        verified=bool(row.get("verified", False)),
        note=row.get("note"),
    )


@cache
def _shipped() -> PriceBook:
    document = orjson.loads((files("fmbench.pricing") / "hosting.json").read_bytes())
    sources = document["sources"]
    rows = [row | {"source": sources[row["source"]]} for row in document["prices"]]
    return PriceBook(rows, name="fmbench's price book")
