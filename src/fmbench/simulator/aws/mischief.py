"""What goes wrong on purpose, in the control plane and at invocations: asked for one by one, and used up."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fmbench import ConfigError
from fmbench.simulator import faults as plain

__all__ = ["CONTROL_KINDS", "RUNTIME_KINDS", "Fault", "Mischief"]

CONTROL_KINDS: dict[str, str] = {
    "throttle": "the call is refused: ThrottlingException, Rate exceeded",
    "denied": "the call is refused: AccessDeniedException",
    "internal": "the call fails: InternalFailure, status 500",
    "lost_reply": "the call is done, and its connection reset before the reply",
    "expired": "any request, invocations too, is refused: ExpiredTokenException, status 403",
    "slow_reply": "the reply comes `seconds` late",
    "quota": "CreateEndpoint is refused: ResourceLimitExceeded",
    "capacity": "the endpoint becomes Failed: no capacity",
    "health_check": "the endpoint becomes Failed: it did not pass the ping health check",
    "stuck": "the endpoint stays Creating for ever",
    "unseen": "the endpoint is not found for `seconds` after its creation",
    "delete_ignored": "DeleteEndpoint is accepted, and nothing happens",
    "delete_refused": "DeleteEndpoint is refused while the endpoint is Creating",
    "ghosts": "GetResources tells of what is gone, too",
    "delete_slow": "the endpoint stays Deleting for `seconds` more",
}
"""The faults of the control plane."""
RUNTIME_KINDS: dict[str, str] = {
    **plain.KINDS,
    "not_ready": "ModelNotReadyException, status 429",
    "internal_stream": "the stream ends with the exception InternalStreamFailure",
    "error_line": "the stream begins well and holds the container's own error line, after the status 200",
    "cut": "a stream's payload is cut into parts of 7 bytes, through lines and characters",
    "split": "the reply leaves in TCP writes of 37 bytes, a millisecond apart",
    "flip": "one byte in the middle of the stream is flipped",
}
"""The faults of invocations: the simulated server's, and AWS's own."""


@dataclass(slots=True, kw_only=True)
class Fault:
    """One fault as asked for.

    Args:
        kind: One of ``CONTROL_KINDS`` or ``RUNTIME_KINDS``.
        times: How often it strikes; ``None`` for always.
        rate: The share of the matching calls that it strikes.
        name: Only where this is in the resource's name.
        instance_type: Only for endpoints on this.
        operation: Only for this operation.
        seconds: How long, for those that take time.
    """

    kind: str
    times: int | None = 1
    rate: float = 1.0
    name: str = ""
    instance_type: str | None = None
    operation: str | None = None
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in {*CONTROL_KINDS, *RUNTIME_KINDS}:
            raise ConfigError(f"fault: there is no {self.kind!r}; there are {', '.join([*CONTROL_KINDS, *RUNTIME_KINDS])}")
        if not 0 <= self.rate <= 1:
            raise ConfigError(f"fault: the rate of {self.kind} must be between 0 and 1, not {self.rate:g}")

    def fits(self, name: str, instance_types: Sequence[str], operation: str | None) -> bool:
        """Whether it may strike there."""
        of_type = self.instance_type is None or self.instance_type in instance_types
        return self.name in name and of_type and self.operation in {None, operation} and self.times != 0


class Mischief:
    """The faults that wait for their turn.

    Args:
        rates: What goes wrong from the start, without end: the share of the calls by the fault's kind.
        seed: Decides whom a ``rate`` strikes.

    Raises:
        ConfigError: there is no such fault, or its rate is no share.
    """

    def __init__(self, rates: Mapping[str, float], seed: int = 0) -> None:
        self.waiting: list[Fault] = [Fault(kind=kind, rate=rate, times=None) for kind, rate in rates.items()]
        self._random = random.Random(seed)  # noqa: S311 - not cryptography

    def ask(self, given: dict[str, Any]) -> Fault:
        """Take a fault in.

        Raises:
            ConfigError: there is no such fault, or such a field of one.
        """
        try:
            fault = Fault(**given)
        except TypeError as error:
            raise ConfigError(f"fault: {error}") from None
        self.waiting.append(fault)
        return fault

    def strikes(
        self, *kinds: str, name: str = "", instance_types: Sequence[str] = (), operation: str | None = None
    ) -> Fault | None:
        """The first fault of these kinds that strikes here; it is one time less from now on."""
        for fault in self.waiting:
            if fault.kind in kinds and fault.fits(name, instance_types, operation) and self._random.random() < fault.rate:
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None
