"""How a simulated server spends its time: frozen values, without a clock."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Protocol, runtime_checkable

from fmbench import ConfigError
from fmbench.simulator.batching import BatchingService
from fmbench.simulator.queueing import QueueingService, constant, deterministic, exponential
from fmbench.simulator.service import Service

__all__ = ["Batching", "Fixed", "Queueing", "ServiceModel", "model_of", "parse_model", "spec_of"]


@runtime_checkable
class ServiceModel(Protocol):
    """What a simulated server is made from: ``Batching``, ``Fixed`` or ``Queueing``, or a stranger's."""

    def start(self) -> Service:
        """An idle server at time 0; two of them behave alike."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """Continuous batching as inference servers do it: prompts first, in the order of their coming, and one queue.

    Between two steps the server looks at the oldest waiting request. If there is a place in the batch and room in the KV
    cache, its prompt is processed next (``tokens / prefill_tokens_per_second``), at the end of which its first token is
    there; meanwhile the others wait. Otherwise all requests of the batch get their next token, which takes ``decode_seconds +
    decode_seconds_per_sequence * batch``. A request holds room for its prompt and its whole answer until it ends, so none
    is ever put back; nobody overtakes a request that waits for room, and one that can never fit is refused.

    Args:
        prefill_tokens_per_second: How fast prompts are processed.
        decode_seconds: What a decode step takes, whatever the batch.
        decode_seconds_per_sequence: What each sequence of the batch adds to it.
        batch_limit: The most sequences in the batch.
        kv_tokens: The room for their tokens; ``None`` for no limit.
        jitter: Each step takes a lognormal multiple of its time: the standard deviation of its logarithm. The mean is kept.
        seed: Of the jitter.
    """

    prefill_tokens_per_second: float = 10_000.0
    decode_seconds: float = 0.02
    decode_seconds_per_sequence: float = 0.0002
    batch_limit: int = 32
    kv_tokens: int | None = None
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        _check_positive(self, "prefill_tokens_per_second", "decode_seconds")
        _check_not_negative(self, "decode_seconds_per_sequence", "jitter")
        _check_count(self, "batch_limit")
        if self.kv_tokens is not None:
            _check_count(self, "kv_tokens")

    def start(self) -> BatchingService:
        return BatchingService(
            prefill_ns=1e9 / self.prefill_tokens_per_second,
            step_ns=self.decode_seconds * 1e9,
            sequence_ns=self.decode_seconds_per_sequence * 1e9,
            batch_limit=self.batch_limit,
            kv_tokens=self.kv_tokens,
            jitter=self.jitter,
            seed=self.seed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Every request for itself: the first token after a constant time, the others at constant distances.

    Args:
        ttft_seconds: Until the first token.
        itl_seconds: Between tokens.
    """

    ttft_seconds: float = 0.05
    itl_seconds: float = 0.01

    def __post_init__(self) -> None:
        _check_not_negative(self, "ttft_seconds", "itl_seconds")

    def start(self) -> QueueingService:
        course = constant(round(self.ttft_seconds * 1e9), round(self.itl_seconds * 1e9))
        return QueueingService(servers=None, course=course)


@dataclass(frozen=True, slots=True, kw_only=True)
class Queueing:
    """A textbook queue, whose truth is known in closed form: under Poisson arrivals M/M/c, or M/D/c.

    Each request waits for one of the servers, in the order of their coming, and is then served, whatever its length; its
    tokens are spread evenly over its service, the last one at its end.

    Args:
        service_seconds: The mean time of service.
        servers: How many serve.
        service: ``"exponential"`` times (M/M/c) or always the same (``"deterministic"``, M/D/c).
        seed: Of the service times.
    """

    service_seconds: float
    servers: int = 1
    service: Literal["exponential", "deterministic"] = "exponential"
    seed: int = 0

    def __post_init__(self) -> None:
        _check_positive(self, "service_seconds")
        _check_count(self, "servers")
        if self.service not in {"exponential", "deterministic"}:
            raise ConfigError(f"service must be 'exponential' or 'deterministic', not {self.service!r}")

    def start(self) -> QueueingService:
        mean = self.service_seconds * 1e9
        course = exponential(mean, self.seed) if self.service == "exponential" else deterministic(mean)
        return QueueingService(servers=self.servers, course=course)


KINDS: dict[str, type[Batching | Fixed | Queueing]] = {"batching": Batching, "fixed": Fixed, "queueing": Queueing}


def model_of(spec: Any) -> ServiceModel:
    """A model by its name, or as ``{name: {its fields}}``, which is how a configuration file holds it.

    Raises:
        ConfigError: there is no such model or field.
    """
    if isinstance(spec, ServiceModel):
        return spec
    name, given = next(iter(spec.items())) if isinstance(spec, Mapping) and len(spec) == 1 else (spec, {})
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None or not isinstance(given, Mapping):
        raise ConfigError(f"service must be one of {', '.join(KINDS)}, or {{name: {{its fields}}}}, not {spec!r}")
    known = [field.name for field in fields(kind)]
    for field in given:
        if field not in known:
            raise ConfigError(f"service: {name} has no {field!r}; it has {', '.join(known)}")
    if missing := [field.name for field in fields(kind) if field.default is field.default_factory and field.name not in given]:
        raise ConfigError(f"service: {name} needs {' and '.join(missing)}")
    try:
        return kind(**given)
    except TypeError as error:
        raise ConfigError(f"service: {name}: {error}") from None


def parse_model(text: str) -> ServiceModel:
    """Read ``fixed:ttft_seconds=0.05,itl_seconds=0.01``, which is how the command line takes it.

    Raises:
        ConfigError: there is no such model or field.
    """
    name, _, rest = text.partition(":")
    given: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        field, separator, value = part.partition("=")
        if not separator:
            raise ConfigError(f"service: {part!r} is not FIELD=VALUE, such as itl_seconds=0.01")
        given[field.strip()] = _value(value.strip())
    return model_of({name.strip(): given})


def spec_of(model: ServiceModel) -> Any:
    """What ``model_of`` takes."""
    instance: Any = model
    for name, kind in KINDS.items():
        if isinstance(instance, kind):
            return {name: asdict(instance)}
    return {type(model).__name__: {}}


def _value(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _check_positive(model: object, *names: str) -> None:
    for name in names:
        value = getattr(model, name)
        if not (_is_number(value) and value > 0):
            raise ConfigError(f"{name} must be above 0, not {value!r}")


def _check_not_negative(model: object, *names: str) -> None:
    for name in names:
        value = getattr(model, name)
        if not (_is_number(value) and value >= 0):
            raise ConfigError(f"{name} must be 0 or more, not {value!r}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _check_count(model: object, name: str) -> None:
    value = getattr(model, name)
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} must be a whole number of 1 or more, not {value!r}")
