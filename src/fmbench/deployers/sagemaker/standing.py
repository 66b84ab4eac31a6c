"""An endpoint of our own: created, waited for, deleted until it is gone."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import anyio

from fmbench import ConfigError, DeployError, Run
from fmbench.deployers.sagemaker.control import Aws, AwsError, aws_in
from fmbench.deployers.sagemaker.plan import Plan

__all__ = ["RUN_TAG", "Up", "delete_deployment", "handle_of", "standing"]

RUN_TAG = "fmbench:run"
"""The tag whose value is the run's id: what carries it was made by that run."""
SERVICE = "sagemaker"
DELETE_SECONDS = 240.0
"""How long one call of ``delete_deployment`` goes on."""
UNSEEN_SECONDS = 60.0
"""For so long after its creation an endpoint may not be found yet."""
CREATE_ATTEMPTS = 3
FIRST_POLL_SECONDS, LONGEST_POLL_SECONDS = 0.25, 15.0
KINDS = ("endpoint", "endpoint_config", "model")
"""In the order of deletion: without its configuration, an endpoint's instance type would be lost to sight."""
_NAMES = {"endpoint": "EndpointName", "endpoint_config": "EndpointConfigName", "model": "ModelName"}
_ARNS = {"endpoint": "EndpointArn", "endpoint_config": "EndpointConfigArn", "model": "ModelArn"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Up:
    """An endpoint in service.

    Args:
        endpoint: As AWS describes it.
        start_seconds: From the request to create it until AWS called it in service.
    """

    endpoint: Mapping[str, Any]
    start_seconds: float


def handle_of(plan: Plan, *, region: str, account: str | None, run_id: str) -> dict[str, Any]:
    """What a fresh process needs to delete it: a model, an endpoint configuration and an endpoint of this name."""
    return {"service": SERVICE, "region": region, "account": account, "name": plan.name, "run": run_id}


@asynccontextmanager
async def standing(
    run: Run, aws: Aws, plan: Plan, *, account: str | None, usd_per_hour: float | None, ready_seconds: float, keep: bool
) -> AsyncGenerator[Up]:
    """Create an endpoint, yield it once it is in service, and delete it.

    Raises:
        DeployError: AWS refused, the endpoint failed, or was not in service in time.
    """
    handle = handle_of(plan, region=aws.region, account=account, run_id=_run_in(plan.model))
    run.creating(handle, usd_per_hour)
    came_up = refused = free = False
    try:
        began = time.monotonic()
        try:
            await _create(aws, "create_model", plan.model)
        except AwsError as error:
            refused = not error.unsure  # then there is nothing to delete of what was asked for now
            free = refused and await _is_free(aws, handle, error)
            raise
        await _create(aws, "create_endpoint_config", plan.endpoint_config)
        await _create(aws, "create_endpoint", plan.endpoint)
        endpoint = await _in_service(aws, plan.name, _limit(run, ready_seconds))
        came_up = True
        if keep:
            run.creating(handle, usd_per_hour, keep=True)  # one that does not come up is not kept
        yield Up(endpoint=endpoint, start_seconds=time.monotonic() - began)
    finally:
        if free:
            run.deleted(handle)
        elif not refused and not (keep and came_up):
            async with run.undoing():
                await delete_deployment(handle, aws, seconds=math.inf)  # the run's own limit ends it
                run.deleted(handle)


async def _is_free(aws: Aws, handle: Mapping[str, Any], refusal: AwsError) -> bool:
    """Whether nothing of our run stands under a refused name: an earlier sitting's may, whose entry must not be crossed out."""
    try:
        return not [kind for kind in KINDS if await _is_ours(aws, kind, handle["name"], handle["run"])]
    except AwsError:
        return not refusal.exists  # it may not be looked at


def _limit(run: Run, ready_seconds: float) -> float:
    return ready_seconds if run.deadline is None else min(ready_seconds, max(0.0, run.deadline - time.time()))


async def _create(aws: Aws, operation: str, parameters: Mapping[str, Any]) -> None:
    """Create one thing. AWS knows no token that makes asking twice harmless, so what exists after doubt is looked at.

    Raises:
        AwsError: it is refused; ``unsure`` where any attempt was, whatever the last one came to.
    """
    unsure = False
    for attempt in range(CREATE_ATTEMPTS):
        try:
            await aws.call("sagemaker", operation, **parameters)
        except AwsError as error:
            kind = operation.removeprefix("create_")
            sure, error.unsure = not error.unsure, unsure or error.unsure
            if unsure and error.exists and await _came_to_be(aws, kind, parameters):
                return
            unsure = error.unsure
            if sure or attempt + 1 == CREATE_ATTEMPTS:
                raise
            await anyio.sleep(FIRST_POLL_SECONDS)
        else:
            return


async def _came_to_be(aws: Aws, kind: str, parameters: Mapping[str, Any]) -> bool:
    try:
        return await _is_ours(aws, kind, parameters[_NAMES[kind]], _run_in(parameters))
    except AwsError:
        return False  # it may not be looked at; that creating it was in doubt is told


def _run_in(parameters: Mapping[str, Any]) -> str:
    return next(str(tag["Value"]) for tag in parameters["Tags"] if tag["Key"] == RUN_TAG)


async def _in_service(aws: Aws, name: str, seconds: float) -> dict[str, Any]:
    """Wait for an endpoint.

    Raises:
        DeployError: it failed, was deleted by somebody, or was not in service in time.
    """
    began = time.monotonic()
    status = "Creating"
    for pause in _polls():
        try:
            endpoint: dict[str, Any] = await aws.call("sagemaker", "describe_endpoint", EndpointName=name)
        except AwsError as error:
            unseen = error.not_found and status == "Creating" and time.monotonic() - began < UNSEEN_SECONDS
            if not unseen and not error.unsure:
                raise
        else:
            status = endpoint["EndpointStatus"]
            if status == "InService":
                return endpoint
            if status not in {"Creating", "Updating", "SystemUpdating"}:
                raise DeployError(f"{name} is {status}: {endpoint.get('FailureReason') or 'AWS gives no reason'}")
        if (left := seconds - (time.monotonic() - began)) <= 0:
            raise DeployError(f"{name} is {status}, and was not in service within {seconds:g} s")
        await anyio.sleep(min(pause, left))
    raise AssertionError  # the polls have no end


def _polls() -> Iterator[float]:
    pause = FIRST_POLL_SECONDS
    while True:
        yield pause
        pause = min(1.5 * pause, LONGEST_POLL_SECONDS)


async def delete_deployment(handle: Mapping[str, Any], aws: Aws | None = None, *, seconds: float = DELETE_SECONDS) -> bool:
    """Delete what a handle names, and only what carries its run's tag, until AWS no longer finds it.

    Endpoint, configuration and model are asked for again at the end: a request to create one may have been under way.

    Args:
        handle: As ``handle_of`` makes it.
        aws: Where; a fresh process makes its own.
        seconds: How long to go on.

    Returns:
        Whether all of it is gone.

    Raises:
        ConfigError: the handle is another service's, or the credentials are another account's.
        AwsError: AWS refuses.
    """
    if handle.get("service") != SERVICE:
        raise ConfigError(f"{handle.get('service')!r} is not SageMaker: this cannot be deleted here")
    if aws is None:
        async with aws_in(handle["region"]) as own:
            return await delete_deployment(handle, own, seconds=seconds)
    await _refuse_other_account(aws, handle.get("account"))
    until = time.monotonic() + seconds
    while True:
        found = [kind for kind in KINDS if await _is_ours(aws, kind, handle["name"], handle["run"])]
        if not found:
            return True
        for kind in found:
            if not await _delete_one(aws, kind, handle["name"], handle["run"], until):
                return False


async def _delete_one(aws: Aws, kind: str, name: str, run_id: str, until: float) -> bool:
    """Ask for one thing's deletion, again and again, until it is gone; whether it is, in time."""
    for pause in _polls():
        try:
            await aws.call("sagemaker", f"delete_{kind}", **{_NAMES[kind]: name})
        except AwsError as error:
            if error.code != "ValidationException" and not error.unsure:
                raise
            # It is gone, or may not be deleted yet: what is asked next will tell.
        if not await _is_ours(aws, kind, name, run_id):
            return True
        if time.monotonic() > until:
            return False
        await anyio.sleep(pause)
    raise AssertionError  # the polls have no end


async def _is_ours(aws: Aws, kind: str, name: str, run_id: str) -> bool:
    """Whether a thing of this name exists and was made by this run."""
    try:
        thing = await aws.call("sagemaker", f"describe_{kind}", **{_NAMES[kind]: name})
        tags = await aws.pages("sagemaker", "list_tags", "Tags", ResourceArn=thing[_ARNS[kind]])
    except AwsError as error:
        if error.not_found:
            return False
        raise
    return {"Key": RUN_TAG, "Value": run_id} in [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags]


async def _refuse_other_account(aws: Aws, account: str | None) -> None:
    """Another account's credentials would find nothing, which is not the same as that it is gone."""
    if account is None:
        return
    try:
        here = (await aws.call("sts", "get_caller_identity"))["Account"]
    except AwsError:
        return  # it may not be asked here; who deletes will be told by AWS itself
    if here != account:
        raise ConfigError(f"the AWS credentials are of account {here}, but this was made in {account}: use that account's")
