"""What all built-in deployers can be told: a name, who speaks to the endpoint, and what it costs."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

__all__ = ["STRICT", "Priced"]

STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Priced:
    """A deployer's name, invoker, tokenizer and price: by the hour, or by the token.

    Args:
        name: What people call the deployment.
        invoker: Who speaks to it, where neither the case nor the benchmark says.
        tokenizer: Its tokenizer: a folder, or a ``Tokenizer``.
        usd_per_hour: What one instance costs an hour.
        usd_per_million_input_tokens: What it costs by the token, instead.
        usd_per_million_output_tokens: The same for what it answers.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("tokenizer",)

    name: str | None = None
    invoker: Any = None
    tokenizer: Any = None
    usd_per_hour: float | None = None
    usd_per_million_input_tokens: float | None = None
    usd_per_million_output_tokens: float | None = None

    def price_facts(self) -> dict[str, Any]:
        """The prices that are known, under their names among an endpoint's facts."""
        names = ("usd_per_hour", "usd_per_million_input_tokens", "usd_per_million_output_tokens")
        return {name: value for name in names if (value := getattr(self, name)) is not None}
