"""Numbers and names as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "DASH",
    "NO_BREAK",
    "as_yaml",
    "bare",
    "bytes_of_memory",
    "duration",
    "figures",
    "in_milliseconds",
    "pairs",
    "percent",
    "shortened",
    "usd",
]

DASH = "–"  # noqa: RUF001 - a dash, so that it is no minus sign
"""Stands for what is not known."""

NO_BREAK = "\u00a0"
"""A space at which no line ends."""


def figures(value: float, digits: int = 3) -> str:
    """A number to so many significant figures, whole ones in full: ``0.0123``, ``1.20``, ``1,234``."""
    if not math.isfinite(value):
        return DASH
    if value == 0 or (abs(value) < 1e6 and value == int(value)):
        return f"{value:,.0f}"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    if places > 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, places)}f}"


def bare(value: float) -> str:
    """A number to three significant figures without the zeros that end it: ``0.001``, ``0.795``, ``662``."""
    text = figures(value)
    return text.rstrip("0").rstrip(".") if "." in text and "e" not in text else text


def in_milliseconds(seconds: Iterable[float | None]) -> bool:
    """Whether a column of times reads better in milliseconds: none of them reaches a second."""
    known = [value for value in seconds if value is not None]
    return bool(known) and max(known) < 1


def duration(seconds: float) -> str:
    """A time with its unit, kept on one line: ``850 µs``, ``12.3 ms``, ``4.20 s``, ``12 min 5 s``."""
    return _duration(seconds).replace(" ", NO_BREAK)


def _duration(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{figures(seconds * 1e6)} µs"
    if seconds < 1:
        return f"{figures(seconds * 1e3)} ms"
    if seconds < 120:
        return f"{figures(seconds)} s"
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole < 7200 else f"{whole // 3600} h {whole % 3600 // 60} min"


def percent(share: float) -> str:
    """A share as per cent; what is not nothing never reads as nothing, nor what is not all as all."""
    if 0 < share < 0.001:
        return "<0.1%"
    if 0.999 < share < 1:
        return ">99.9%"
    return f"{share * 100:.1f}".removesuffix(".0") + "%"


def usd(amount: float) -> str:
    """An amount of money: cents above a dollar, three significant figures below."""
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${figures(amount)}"


def bytes_of_memory(count: float) -> str:
    """A size in GiB."""
    return f"{figures(count / 2**30)} GiB"


def shortened(text: str, most: int) -> str:
    """A name that fits: its middle gives way, for its ends tell it from others."""
    if len(text) <= most:
        return text
    tail = (most - 1) // 2
    return f"{text[: most - 1 - tail]}…{text[-tail:]}"


def pairs(mapping: Mapping[str, Any]) -> str:
    """``a=1, b=2``."""
    return ", ".join(f"{key}={value}" for key, value in mapping.items())


def as_yaml(value: Any) -> str:
    """Nested facts as people read them best."""
    import yaml  # noqa: PLC0415 - read when a report is written, and only then

    return yaml.safe_dump(_plain(value), sort_keys=False, allow_unicode=True, width=100).rstrip() if value else "(nothing)"


def _plain(value: Any) -> Any:
    """Lists, dictionaries and scalars, and nothing else."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
