"""Finding what fmbench made in a region by its tags, without a journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fmbench import PriceBook
from fmbench.deployers.sagemaker.control import Aws, AwsError, aws_in
from fmbench.deployers.sagemaker.standing import RUN_TAG, SERVICE

__all__ = ["Found", "find_tagged"]

_KINDS = {"endpoint": "Endpoints", "endpoint-config": "EndpointConfigs", "model": "Models"}
_LISTED = {"endpoint": "Endpoint", "endpoint-config": "EndpointConfig", "model": "Model"}
NAME_PART = "fmbench-"
"""In the names that fmbench makes."""


@dataclass(slots=True, kw_only=True)
class Found:
    """What carries our tags under one name.

    Args:
        handle: What ``delete`` takes.
        tags: All its tags.
        kinds: Which of ``endpoint``, ``endpoint-config`` and ``model`` there are.
        usd_per_hour: What the endpoint costs; ``None`` without an endpoint, or where its price is not known.
    """

    handle: dict[str, Any]
    tags: Mapping[str, str]
    kinds: list[str] = field(default_factory=list)
    usd_per_hour: float | None = None


async def find_tagged(region: str | None = None, *, run_id: str | None = None) -> list[Found]:
    """Everything in a region that carries the tag ``fmbench:run``, by name.

    Both the Tagging API and lists of everything that has our kind of name are asked, since either may miss something: the
    first lags behind, the second passes over endpoints that a user named. Where the first may not be asked, everything
    that there is in the region is looked at.

    Args:
        region: Where; boto3's own by default.
        run_id: Only of this run.

    Raises:
        ConfigError: the ``aws`` extra is not installed, or there are no credentials.
        DeployError: AWS refuses.
    """
    async with aws_in(region) as aws:
        return await _find(aws, run_id)


async def _find(aws: Aws, run_id: str | None) -> list[Found]:
    by_api = await _by_tagging_api(aws)
    named = {} if by_api is None else {"NameContains": NAME_PART}
    tagged: dict[str, dict[str, str]] = {}
    for kind, key in _KINDS.items():
        noun = kind.replace("-", "_")
        listed = await aws.pages("sagemaker", f"list_{noun}s", key, **named)
        for arn in (one[f"{_LISTED[kind]}Arn"] for one in listed):
            tagged[arn] = await _tags(aws, arn)
    for arn in by_api or ():  # it tells of things for a while after they are gone, so each is looked at
        tagged[arn] = await _tags(aws, arn)
    found: dict[tuple[str, str], Found] = {}
    for arn, tags in tagged.items():
        if (run := tags.get(RUN_TAG)) is not None and run_id in {None, run}:
            _add(found, arn, tags)
    for one in found.values():
        if "endpoint" in one.kinds:
            one.usd_per_hour = await _usd_per_hour(aws, one.handle["name"])
    return list(found.values())


def _add(found: dict[tuple[str, str], Found], arn: str, tags: Mapping[str, str]) -> None:
    _, _, _, region, account, resource = arn.split(":", 5)
    kind, _, name = resource.partition("/")
    # An ARN tells names in lower case; names differ by more than case where fmbench makes them.
    key = tags[RUN_TAG], name.lower()
    if key not in found:
        handle = {"service": SERVICE, "region": region, "account": account, "name": name, "run": tags[RUN_TAG]}
        found[key] = Found(handle=handle, tags=tags)
    found[key].kinds.append(kind)


async def _tags(aws: Aws, arn: str) -> dict[str, str]:
    try:
        tags = await aws.pages("sagemaker", "list_tags", "Tags", ResourceArn=arn)
    except AwsError as error:
        if error.not_found:
            return {}  # deleted meanwhile
        raise
    return {tag["Key"]: tag["Value"] for tag in tags}


async def _by_tagging_api(aws: Aws) -> list[str] | None:
    """The ARNs of what carries our tag; ``None`` where that may not be asked."""
    try:
        listed = await aws.pages(
            "resourcegroupstaggingapi",
            "get_resources",
            "ResourceTagMappingList",
            TagFilters=[{"Key": RUN_TAG}],
            ResourceTypeFilters=[f"sagemaker:{kind}" for kind in _KINDS],
        )
    except AwsError:
        return None
    return [one["ResourceARN"] for one in listed]


async def _usd_per_hour(aws: Aws, name: str) -> float | None:
    try:
        config = await aws.call("sagemaker", "describe_endpoint_config", EndpointConfigName=name)
    except AwsError:
        return None
    total = 0.0
    for variant in config.get("ProductionVariants", ()):
        rate = PriceBook.shipped().look_up(variant.get("InstanceType", ""), aws.region).usd_per_hour
        if rate is None:
            return None
        total += rate * variant.get("InitialInstanceCount", 1)
    return total
