"""Lists in pages, as the control plane gives them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from fmbench.simulator.aws.account import Call, Resource
from fmbench.simulator.aws.problems import AwsError

__all__ = ["listed", "page"]

Item = TypeVar("Item")
DEFAULT = 10


def page(items: Sequence[Item], asked: int | None, token: str | None, most: int) -> tuple[Sequence[Item], str | None]:
    """A page, and the token of the next one.

    Args:
        items: All of them.
        asked: How many are asked for.
        token: Where the page before ended.
        most: The most that a page holds.

    Raises:
        AwsError: the token is none.
    """
    try:
        start = 0 if token is None else int(base64.b64decode(token, validate=True))
    except (binascii.Error, ValueError):
        raise AwsError("ValidationException", "Invalid pagination token") from None
    end = start + min(asked or DEFAULT, most)
    return items[start:end], base64.b64encode(b"%d" % end).decode() if end < len(items) else None


def listed(call: Call, kind: str, field: str, summary: Callable[[Resource, float], dict[str, Any]]) -> dict[str, Any]:
    """A List call's reply: filtered, sorted by creation (the newest first unless asked otherwise), in pages."""
    given, now = call.given, call.account.now()
    found = [one for one in call.account.all(call.region, kind) if one.visible_at <= now and _fits(one, given, now)]
    by_name = given.get("SortBy") == "Name"
    found.sort(key=lambda one: (one.name,) if by_name else (one.created_at, one.name))
    if given.get("SortOrder", "Descending") == "Descending":
        found.reverse()
    shown, token = page(found, given.get("MaxResults"), given.get("NextToken"), call.account.options.page_size)
    reply: dict[str, Any] = {field: [summary(one, now) for one in shown]}
    return reply if token is None else {**reply, "NextToken": token}


def _fits(resource: Resource, given: Any, now: float) -> bool:
    wanted: Iterable[bool] = (
        given.get("NameContains", "").lower() in resource.name.lower(),
        given.get("StatusEquals", resource.status(now)) == resource.status(now),
        resource.created_at >= given.get("CreationTimeAfter", 0),
        resource.created_at <= given.get("CreationTimeBefore", now),
        given.get("EndpointNameEquals") in {None, resource.asked.get("EndpointName")},
    )
    return all(wanted)
