"""Prices changed after the fact: the same measurement, paid with other money."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from fmbench.errors import ConfigError

__all__ = ["PRICES", "Price", "repriced"]

Price = float | Mapping[str, float] | None
"""Dollars an hour of one instance; or a mapping of ``PRICES``; or ``None``, where nobody knows."""

PRICES = ("usd_per_hour", "usd_per_million_input_tokens", "usd_per_million_output_tokens")


def repriced(
    document: Mapping[str, Any], prices: Mapping[str, Price], *, multiplier: float, region: str | None
) -> dict[str, Any]:
    """A run's document with other prices among its endpoints' facts, and a note of what was changed.

    Args:
        document: ``run.json``; left as it is.
        prices: By deployment, or by instance type; a deployment's own wins.
        multiplier: What every price is multiplied with, those given here too.
        region: Where the endpoints would stand; prices that are not given for it are not known.

    Raises:
        ConfigError: a name that is neither a deployment nor an instance type, or what cannot be a price.
    """
    if not (_is_number(multiplier) and multiplier > 0):
        raise ConfigError(f"multiplier: {multiplier!r} is not a number above 0, such as 0.7 for 30 % off")
    deployments = document["deployments"]
    _check_names(prices, deployments)
    given = {name: _checked(name, price) for name, price in prices.items()}
    changed = [_deployment(entry, given, multiplier, region) for entry in deployments]
    note = {"prices": given, "multiplier": multiplier, "region": region}
    return {**document, "deployments": changed, "repriced": [*(document.get("repriced") or ()), note]}


def _facts(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {**(entry.get("facts") or {}), **((entry.get("endpoint") or {}).get("facts") or {})}


def _check_names(prices: Mapping[str, Price], deployments: Sequence[Mapping[str, Any]]) -> None:
    types = (_facts(entry).get("instance_type") for entry in deployments)
    known = list(dict.fromkeys([*(entry["name"] for entry in deployments), *filter(None, types)]))
    for name in prices:
        if name not in known:
            near = get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise ConfigError(f"prices: {name!r} is no deployment or instance type of this run; there are: {', '.join(near)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _checked(name: str, price: Price) -> dict[str, float] | None:
    if price is None:
        return None
    given: dict[str, float] = dict(price) if isinstance(price, Mapping) else {"usd_per_hour": price}
    unknown = [key for key in given if key not in PRICES]
    if unknown or not given:
        raise ConfigError(f"prices: {name}: {unknown[0] if unknown else 'nothing'} is no price; give {', '.join(PRICES)}")
    for key, value in given.items():
        if not _is_number(value) or value < 0:
            raise ConfigError(f"prices: {name}: {key} must be a number of dollars from 0 on, not {value!r}")
    if ("usd_per_million_input_tokens" in given) != ("usd_per_million_output_tokens" in given):
        raise ConfigError(f"prices: {name}: give both per-token prices, of input and of output tokens")
    return given


def _deployment(
    entry: Mapping[str, Any], given: Mapping[str, dict[str, float] | None], multiplier: float, region: str | None
) -> dict[str, Any]:
    facts = _facts(entry)
    kind = facts.get("instance_type")
    key = next((name for name in (entry["name"], kind) if name in given), None)
    old = {name: facts.pop(name, None) for name in PRICES}
    facts.pop("price_unknown", None)
    if region is not None:
        moved = facts.get("region") != region
        facts["region"] = region
        if key is None and moved:
            facts["price_unknown"] = f"no price was given for {kind or entry['name']} in {region}"
            return _with_facts(entry, facts)
    new = old if key is None else given[key]
    if new is None:
        facts["price_unknown"] = f"the price of {key} was given as not known"
        return _with_facts(entry, facts)
    return _with_facts(entry, facts | {name: value * multiplier for name, value in new.items() if value is not None})


def _with_facts(entry: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    endpoint = entry.get("endpoint")
    return {**entry, "facts": facts, "endpoint": {**endpoint, "facts": {}} if endpoint else endpoint}
