"""SageMaker's tags of a resource."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fmbench.simulator.aws.account import Call, Resource
from fmbench.simulator.aws.hosting import tags_of
from fmbench.simulator.aws.paging import page
from fmbench.simulator.aws.problems import AwsError

__all__ = ["OPERATIONS", "told"]

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
