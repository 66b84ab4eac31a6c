"""What goes wrong on purpose, and how often: drawn from a seed, request by request."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from fmbench import ConfigError

__all__ = ["FAULT_HEADER", "KINDS", "Faults", "parse_rates"]

FAULT_HEADER = "x-fmbench-fault"
"""A request with this header has the fault that it names, whatever was drawn; ``none`` for none."""

KINDS: dict[str, str] = {
    "500": "the status 500 at once (SageMaker: ModelError)",
    "429": "the status 429 at once (SageMaker: ThrottlingException)",
    "503": "the status 503 at once (SageMaker: ServiceUnavailable)",
    "reset": "the connection is reset in the middle of the reply",
    "stall": "the reply stops in its middle for ever; the connection stays open",
    "slow": "each token is sent one second late",
    "malformed": "an event in the middle of the reply is no JSON; an unstreamed reply is none",
    "error_event": "the reply begins well and holds an error in its middle, after the status 200",
}
"""The faults by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How many requests have which fault.

    Args:
        rates: The share of requests by the fault's name, together 1 at most.
        seed: Decides which requests.
    """

    rates: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0

    def __post_init__(self) -> None:
        for kind, rate in self.rates.items():
            if kind not in KINDS:
                raise ConfigError(f"faults: there is no {kind!r}; there are {', '.join(KINDS)}")
            if not 0 <= rate <= 1:
                raise ConfigError(f"faults: the rate of {kind} must be between 0 and 1, not {rate:g}")
        if sum(self.rates.values()) > 1:
            raise ConfigError("faults: the rates together must be 1 at most")

    @classmethod
    def parse(cls, text: str, *, seed: int = 0) -> Faults:
        """Read ``500=0.01,reset=0.02``."""
        return cls(rates=parse_rates(text), seed=seed)

    def of(self, number: int, asked: str | None) -> str | None:
        """The fault of a request.

        Args:
            number: How many came before it.
            asked: What its header names.

        Raises:
            ConfigError: there is no such fault.
        """
        if asked is not None:
            if asked not in {*KINDS, "none"}:
                raise ConfigError(f"{FAULT_HEADER}: there is no {asked!r}; there are {', '.join(KINDS)}, none")
            return None if asked == "none" else asked
        drawn = random.Random(f"{self.seed} {number}").random() if self.rates else 1.0  # noqa: S311 - not cryptography
        for kind, rate in self.rates.items():
            if drawn < rate:
                return kind
            drawn -= rate
        return None


def parse_rates(text: str) -> dict[str, float]:
    """Read ``500=0.01,reset=0.02``.

    Raises:
        ConfigError: a part is not a name and a number.
    """
    rates = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        kind, _, rate = part.partition("=")
        try:
            rates[kind.strip()] = float(rate)
        except ValueError:
            raise ConfigError(f"faults: {part!r} is not KIND=RATE, such as 500=0.01") from None
    return rates
