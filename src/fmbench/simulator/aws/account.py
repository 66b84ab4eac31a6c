"""What exists in the account, by region: who made it and when, how it is tagged, and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fmbench.simulator.aws.mischief import Mischief
from fmbench.simulator.aws.options import ACCOUNT, AwsOptions
from fmbench.simulator.aws.problems import AwsError
from fmbench.simulator.aws.shapes import Shapes
from fmbench.simulator.aws.signed import Caller

__all__ = ["KINDS", "Account", "Call", "Resource"]

KINDS: Mapping[str, str] = {
    "model": "model",
    "endpoint-config": "endpoint configuration",
    "endpoint": "endpoint",
    "inference-component": "inference component",
}
"""Kinds of resources as they stand in ARNs, and as messages call them."""


@dataclass(slots=True, kw_only=True, eq=False)
class Resource:
    """Something that was created. Times are seconds since the epoch.

    ``ready_at`` and what follows is for endpoints and inference components, which come and go slowly.
    """

    kind: str
    name: str
    arn: str
    region: str
    asked: Mapping[str, Any]
    created_at: float
    created_by: str
    tags: dict[str, str] = field(default_factory=dict)
    instances: Mapping[str, int] = field(default_factory=dict)
    """How many of which type it runs on."""
    serves: Sequence[Mapping[str, Any]] = ()
    """An endpoint's production variants as they were at its creation, each with its model's ``Container``."""
    visible_at: float = 0.0
    ready_at: float | None = 0.0
    """When it is InService or Failed; ``None`` for never."""
    failure: str | None = None
    deleting_at: float | None = None
    deleted_at: float | None = None
    deleted_by: str | None = None

    def status(self, now: float) -> str:
        """As AWS tells it."""
        if self.deleting_at is not None:
            return "Deleting"
        if self.ready_at is None or now < self.ready_at:
            return "Creating"
        return "InService" if self.failure is None else "Failed"

    def billed_seconds(self, now: float) -> float:
        """Instance-seconds so far; a failed endpoint bills until it fails."""
        end = now if self.deleted_at is None else min(now, self.deleted_at)
        if self.failure is not None and self.ready_at is not None:
            end = min(end, self.ready_at)
        return sum(self.instances.values()) * max(0.0, end - self.created_at)


class Account:
    """One AWS account.

    Args:
        options: How AWS behaves.
        shapes: What requests must look like.
        now: Seconds since the epoch.
    """

    def __init__(self, options: AwsOptions, shapes: Shapes, now: Callable[[], float]) -> None:
        self.options: AwsOptions = options
        self.shapes: Shapes = shapes
        self.now: Callable[[], float] = now
        self.mischief: Mischief = Mischief(options.faults, options.fault_seed)
        self.events: list[dict[str, Any]] = []
        """Every signed call of the control plane."""
        self.gone: list[Resource] = []
        self._resources: dict[tuple[str, str], dict[str, Resource]] = {}

    def arn(self, region: str, kind: str, name: str) -> str:
        """The name that is good everywhere; SageMaker writes it in lower case."""
        return f"arn:aws:sagemaker:{region}:{ACCOUNT}:{kind}/{name.lower()}"

    def add(self, resource: Resource) -> None:
        """Put it there."""
        self._resources.setdefault((resource.region, resource.kind), {})[resource.name] = resource

    def all(self, region: str | None = None, kind: str | None = None) -> Iterator[Resource]:
        """What exists, in the order of its creation; what is being deleted is still there until it is gone."""
        now = self.now()
        for (where, what), named in self._resources.items():
            if region in {None, where} and kind in {None, what}:
                for resource in list(named.values()):
                    if resource.deleted_at is not None and resource.deleted_at <= now:
                        del named[resource.name]
                        self.gone.append(resource)
                    else:
                        yield resource

    def get(self, region: str, kind: str, name: str) -> Resource | None:
        """It, if it exists."""
        return next((one for one in self.all(region, kind) if one.name == name), None)

    def found(self, region: str, kind: str, name: str) -> Resource:
        """It.

        Raises:
            AwsError: it is not there.
        """
        resource = self.get(region, kind, name)
        if resource is None or self.now() < resource.visible_at:
            raise AwsError("ValidationException", f'Could not find {KINDS[kind]} "{self.arn(region, kind, name)}".')
        return resource

    def remove(self, resource: Resource, by: str, after_seconds: float = 0.0) -> None:
        """It goes, at once or a little later."""
        resource.deleting_at = self.now()
        resource.deleted_at = resource.deleting_at + after_seconds
        resource.deleted_by = by


class Call(NamedTuple):
    """One call of the control plane."""

    account: Account
    caller: Caller
    operation: str
    given: Mapping[str, Any]

    @property
    def region(self) -> str:
        """Where it goes to."""
        return self.caller.region

    def found(self, kind: str, name: str) -> Resource:
        """A resource of this region, or AWS's error."""
        return self.account.found(self.region, kind, name)
