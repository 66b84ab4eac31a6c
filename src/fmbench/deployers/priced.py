"""What all built-in deployers can be told: a name, who speaks to the endpoint, and what it costs."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import ConfigDict, NonNegativeFloat, model_validator
from pydantic.dataclasses import dataclass

from fmbench import checked

__all__ = ["STRICT", "Priced"]

# Numbers may stand where texts are meant: YAML reads OMP_NUM_THREADS: 1 as one. Inputs are hidden: they may be secrets.
STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True, coerce_numbers_to_str=True, hide_input_in_errors=True)


@checked
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
    usd_per_hour: NonNegativeFloat | None = None
    usd_per_million_input_tokens: NonNegativeFloat | None = None
    usd_per_million_output_tokens: NonNegativeFloat | None = None

    @model_validator(mode="after")
    def _one_kind_of_price(self) -> Self:
        by_token = self.usd_per_million_input_tokens, self.usd_per_million_output_tokens
        if self.usd_per_hour is not None and by_token != (None, None):
            raise ValueError("give usd_per_hour, or the two prices per million tokens, not both")
        if by_token.count(None) == 1:
            raise ValueError("give both usd_per_million_input_tokens and usd_per_million_output_tokens")
        return self

    def price_facts(self) -> dict[str, Any]:
        """The prices that are known, under their names among an endpoint's facts."""
        names = ("usd_per_hour", "usd_per_million_input_tokens", "usd_per_million_output_tokens")
        return {name: value for name in names if (value := getattr(self, name)) is not None}
