"""Tags: SageMaker's own operations on them, and the Resource Groups Tagging API."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fmbench.simulator.aws.account import Call, Resource
from fmbench.simulator.aws.hosting import tags_of
from fmbench.simulator.aws.paging import page
from fmbench.simulator.aws.problems import AwsError

__all__ = ["OPERATIONS", "TAGGING_OPERATIONS", "told"]

MOST_TAGS = 50


def told(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as AWS lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _tagged(call: Call) -> Resource:
    arn = call.given["ResourceArn"]
    found = next((one for one in call.account.all(call.region) if one.arn.lower() == arn.lower()), None)
    if found is None:
        raise AwsError("ValidationException", f"Could not find resource {arn}")
    return found


def _add(call: Call) -> dict[str, Any]:
    resource = _tagged(call)
    tags = resource.tags | tags_of(call.given)
    if len(tags) > MOST_TAGS:
        raise AwsError("ResourceLimitExceeded", f"A resource can have {MOST_TAGS} tags at most.")
    resource.tags = tags
    return {"Tags": told(tags)}


def _list(call: Call) -> dict[str, Any]:
    tags = told(_tagged(call).tags)
    shown, token = page(tags, call.given.get("MaxResults", 50), call.given.get("NextToken"), call.account.options.page_size)
    return {"Tags": list(shown)} | ({} if token is None else {"NextToken": token})


def _delete(call: Call) -> dict[str, Any]:
    resource = _tagged(call)
    resource.tags = {key: value for key, value in resource.tags.items() if key not in call.given["TagKeys"]}
    return {}


OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {"AddTags": _add, "ListTags": _list, "DeleteTags": _delete}
"""SageMaker's operations on tags."""


def _get_resources(call: Call) -> dict[str, Any]:
    """What carries tags. With the fault ``ghosts`` it also tells of what has gone, as AWS does for a while."""
    account, given = call.account, call.given
    found = list(account.all(call.region))
    if account.mischief.strikes("ghosts") is not None:
        found += [one for one in account.gone if one.region == call.region]
    shown = [one for one in found if one.tags and _fits(one, given)]
    most = min(given.get("ResourcesPerPage", 50), account.options.page_size)
    few, token = page(shown, most, given.get("PaginationToken") or None, most)
    mapping = [{"ResourceARN": one.arn.lower(), "Tags": told(one.tags)} for one in few]
    return {"ResourceTagMappingList": mapping, "PaginationToken": token or ""}


def _fits(resource: Resource, given: Any) -> bool:
    kinds = given.get("ResourceTypeFilters") or [f"sagemaker:{resource.kind}"]
    filters = given.get("TagFilters") or ()
    of_kind = {"sagemaker", f"sagemaker:{resource.kind}"} & set(kinds)
    return bool(of_kind) and all(
        one["Key"] in resource.tags and resource.tags[one["Key"]] in (one.get("Values") or [resource.tags[one["Key"]]])
        for one in filters
    )


TAGGING_OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {"GetResources": _get_resources}
"""The Tagging API's."""
