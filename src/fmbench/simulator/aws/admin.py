"""What the offline AWS tells about itself and can be told, at ``/_offline/``: no signature, and no part of AWS."""

from __future__ import annotations

from typing import Any

import orjson

from fmbench import ConfigError
from fmbench.simulator.aws.account import Account, Resource
from fmbench.simulator.aws.runtime import Runtime
from fmbench.simulator.envelopes import http_reply

__all__ = ["PREFIX", "answered"]

PREFIX = "/_offline/"


def answered(account: Account, runtime: Runtime, method: str, path: str, body: bytes) -> bytes:
    """The reply to a request here."""
    try:
        told = _told(account, runtime, f"{method} {path.removeprefix(PREFIX)}", body)
    except (ConfigError, orjson.JSONDecodeError) as error:
        return http_reply(400, orjson.dumps({"error": str(error)}))
    if told is None:
        return http_reply(404, b'{"error":"there are GET state, POST faults, DELETE faults"}')
    return http_reply(200, orjson.dumps(told))


def _told(account: Account, runtime: Runtime, what: str, body: bytes) -> Any:
    if what == "GET state":
        return _state(account, runtime)
    if what == "POST faults":
        account.mischief.ask(orjson.loads(body))
        return {}
    if what == "DELETE faults":
        account.mischief.waiting.clear()
        return {}
    return None


def _state(account: Account, runtime: Runtime) -> dict[str, Any]:
    now = account.now()
    there = [_resource(one, now, runtime) for one in account.all()]
    return {
        "now": now,
        "resources": there,
        "gone": [_resource(one, now, runtime) for one in account.gone],
        "events": account.events,
        "faults": [{"kind": fault.kind, "times": fault.times} for fault in account.mischief.waiting],
    }


def _resource(one: Resource, now: float, runtime: Runtime) -> dict[str, Any]:
    return {
        "kind": one.kind,
        "name": one.name,
        "arn": one.arn,
        "region": one.region,
        "status": one.status(now),
        "tags": one.tags,
        "asked": one.asked,
        "instances": one.instances,
        "created_at": one.created_at,
        "created_by": one.created_by,
        "deleting_at": one.deleting_at,
        "deleted_at": one.deleted_at,
        "deleted_by": one.deleted_by,
        "billed_seconds": one.billed_seconds(now),
        "invocations": runtime.invocations.get(one.arn, 0),
    }
