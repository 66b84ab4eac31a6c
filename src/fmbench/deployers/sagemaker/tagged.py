"""Finding what fmbench made in a region by its tags, without a journal."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

from fmbench import Found, PriceBook
from fmbench.deployers.sagemaker.control import Aws, AwsError, aws_in
from fmbench.deployers.sagemaker.standing import RUN_TAG, SERVICE

__all__ = ["find_tagged"]

_KINDS = {"endpoint": "Endpoints", "endpoint-config": "EndpointConfigs", "model": "Models"}
_LISTED = {"endpoint": "Endpoint", "endpoint-config": "EndpointConfig", "model": "Model"}
NAME_PART = "fmbench-"
"""In the names that fmbench makes."""
logger: logging.Logger = logging.getLogger(__name__)


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
    arns: list[str] = []
    for kind, key in _KINDS.items():
        noun = kind.replace("-", "_")
        listed = await aws.pages("sagemaker", f"list_{noun}s", key, **named)
        arns += [one[f"{_LISTED[kind]}Arn"] for one in listed]
    # The Tagging API tells of things for a while after they are gone, so each is looked at.
    tagged = await _all_tags(aws, dict.fromkeys([*arns, *(by_api or ())]))
    by_name: dict[tuple[str, str], dict[str, Mapping[str, str]]] = {}
    for arn, tags in tagged.items():
        if (run := tags.get(RUN_TAG)) is not None and run_id in {None, run}:
            # An ARN tells names in lower case; names differ by more than case where fmbench makes them.
            by_name.setdefault((run, _name(arn).lower()), {})[arn] = tags
    return [await _found(aws, things) for things in by_name.values()]


async def _found(aws: Aws, things: Mapping[str, Mapping[str, str]]) -> Found:
    """An endpoint, a configuration and a model of one name and run, or some of them, as one thing."""
    arn, tags = next(iter(things.items()))
    _, _, _, region, account, _ = arn.split(":", 5)
    handle = {"service": SERVICE, "region": region, "account": account, "name": _name(arn), "run": tags[RUN_TAG]}
    up = any(one.split(":", 5)[5].startswith("endpoint/") for one in things)
    rate = await _usd_per_hour(aws, handle["name"]) if up else 0.0
    return Found(handle=handle, tags=tags, usd_per_hour=rate)


def _name(arn: str) -> str:
    return arn.split(":", 5)[5].partition("/")[2]


async def _all_tags(aws: Aws, arns: Iterable[str]) -> dict[str, dict[str, str]]:
    """The tags of each; without those that may not be looked at, which are somebody else's, unless that is all of them."""
    tagged, refusal = {}, None
    for arn in arns:
        try:
            tagged[arn] = await _tags(aws, arn)
        except AwsError as error:
            if "AccessDenied" not in error.code:
                raise
            refusal = error
            logger.warning("%s is passed over, for its tags may not be read: %s", arn, error)
    if refusal is not None and not tagged:
        raise refusal
    return tagged


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
