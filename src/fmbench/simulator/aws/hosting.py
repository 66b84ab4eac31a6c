"""SageMaker's models, endpoint configurations and endpoints: created, described, listed, deleted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from fmbench.simulator.aws.account import Call, Resource
from fmbench.simulator.aws.paging import listed
from fmbench.simulator.aws.problems import AwsError
from fmbench.simulator.aws.speeds import served

__all__ = ["OPERATIONS", "added", "tags_of"]

GATED = "s3://jumpstart-private-cache-"
"""Where the artifacts are that want their licence accepted."""
_ROLE = re.compile(r"arn:aws[a-z-]*:iam::\d{12}:role/.+")
CAPACITY = (
    "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. Please retry using a"
    " different ML instance type or after some time."
)
HEALTH = (
    "The primary container for production variant {variant} did not pass the ping health check. Please check CloudWatch logs"
    " for this endpoint."
)


def tags_of(given: Mapping[str, Any]) -> dict[str, str]:
    """A request's tags.

    Raises:
        AwsError: a key is AWS's own, or stands twice.
    """
    pairs = [(tag["Key"], tag["Value"]) for tag in given.get("Tags", ())]
    if any(key.lower().startswith("aws:") for key, _ in pairs):
        raise AwsError("ValidationException", "aws: prefixed tag key names are not allowed for external use.")
    if len({key for key, _ in pairs}) < len(pairs):
        raise AwsError("ValidationException", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    return dict(pairs)


def added(call: Call, kind: str, name: str, **rest: Any) -> Resource:
    """Put a resource into the account.

    Args:
        call: What asks for it; its parameters and tags are kept.
        kind: One of ``KINDS``.
        name: Its name.
        rest: Other fields of ``Resource``.

    Raises:
        AwsError: there is one of this name.
    """
    account, region = call.account, call.region
    arn = account.arn(region, kind, name)
    if account.get(region, kind, name) is not None:
        what = {"model": "model", "endpoint-config": "endpoint configuration"}.get(kind, kind.replace("-", " "))
        raise AwsError("ValidationException", f'Cannot create already existing {what} "{arn}".')
    tags = tags_of(call.given)
    resource = Resource(
        kind=kind, name=name, arn=arn, region=region, asked=call.given, created_at=account.now(),
        created_by=call.caller.access_key, tags=tags, **rest,
    )  # fmt: skip
    account.add(resource)
    return resource


# Models.


def _create_model(call: Call) -> dict[str, Any]:
    role = call.given.get("ExecutionRoleArn")
    if role is None or not _ROLE.fullmatch(role):
        raise AwsError("ValidationException", f"Could not access model role: {role!r} is not the ARN of an IAM role")
    containers = [call.given["PrimaryContainer"]] if "PrimaryContainer" in call.given else call.given.get("Containers", [])
    if not containers:
        raise AwsError("ValidationException", "Must provide either PrimaryContainer, Containers or InferenceExecutionConfig.")
    for container in containers:
        if not {"Image", "ModelPackageName"} & container.keys():
            raise AwsError("ValidationException", "Either Image or ModelPackageName must be provided for a container.")
        _check_licence(container)
    return {"ModelArn": added(call, "model", call.given["ModelName"]).arn}


def _check_licence(container: Mapping[str, Any]) -> None:
    source = container.get("ModelDataSource", {}).get("S3DataSource", {})
    address = source.get("S3Uri", container.get("ModelDataUrl", ""))
    if address.startswith(GATED) and source.get("ModelAccessConfig", {}).get("AcceptEula") is not True:
        raise AwsError(
            "ValidationException",
            "The model you are trying to use is gated: AcceptEula must be explicitly set to True in ModelAccessConfig to accept"
            " the model's end-user license agreement (EULA).",
        )


def _describe_model(call: Call) -> dict[str, Any]:
    model = call.found("model", call.given["ModelName"])
    told = {key: value for key, value in model.asked.items() if key != "Tags"}
    return {"EnableNetworkIsolation": False, **told, "ModelArn": model.arn, "CreationTime": model.created_at}


def _model_summary(one: Resource, _: float) -> dict[str, Any]:
    return {"ModelName": one.name, "ModelArn": one.arn, "CreationTime": one.created_at}


# Endpoint configurations.


def _create_endpoint_config(call: Call) -> dict[str, Any]:
    variants = call.given["ProductionVariants"]
    names = [variant["VariantName"] for variant in variants]
    if len(set(names)) < len(names):
        raise AwsError("ValidationException", "Production variant names must be unique within an endpoint configuration.")
    for variant in variants:
        if "ModelName" in variant:
            call.found("model", variant["ModelName"])
        elif "ExecutionRoleArn" not in call.given:
            raise AwsError("ValidationException", "ExecutionRoleArn is needed where a production variant has no ModelName.")
        if "InstanceType" not in variant and "ServerlessConfig" not in variant:
            raise AwsError("ValidationException", f"Production variant {variant['VariantName']} has no InstanceType.")
    return {"EndpointConfigArn": added(call, "endpoint-config", call.given["EndpointConfigName"]).arn}


def _describe_endpoint_config(call: Call) -> dict[str, Any]:
    config = call.found("endpoint-config", call.given["EndpointConfigName"])
    told = {key: value for key, value in config.asked.items() if key != "Tags"}
    return {"EnableNetworkIsolation": False, **told, "EndpointConfigArn": config.arn, "CreationTime": config.created_at}


def _config_summary(one: Resource, _: float) -> dict[str, Any]:
    return {"EndpointConfigName": one.name, "EndpointConfigArn": one.arn, "CreationTime": one.created_at}


# Endpoints.


def _create_endpoint(call: Call) -> dict[str, Any]:
    account, name = call.account, call.given["EndpointName"]
    config = call.found("endpoint-config", call.given["EndpointConfigName"])
    variants = [_with_container(call, variant) for variant in config.asked["ProductionVariants"]]
    instances: dict[str, int] = {}
    for variant in variants:
        kind = variant.get("InstanceType", "serverless")
        instances[kind] = instances.get(kind, 0) + variant.get("InitialInstanceCount", 1)
    if account.get(call.region, "endpoint", name) is None:
        _check_quota(call, name, instances)
    endpoint = added(call, "endpoint", name, instances=instances, serves=variants)
    endpoint.ready_at = endpoint.created_at + account.options.create_seconds
    if any(served(variant.get("InstanceType", ""), variant.get("Container", {}), 1.0).failure for variant in variants):
        endpoint.failure = HEALTH.format(variant=variants[0]["VariantName"])
    strikes = account.mischief.strikes
    if (fault := strikes("capacity", "health_check", "stuck", name=name, instance_types=list(instances))) is not None:
        endpoint.ready_at = None if fault.kind == "stuck" else endpoint.ready_at
        endpoint.failure = {"capacity": CAPACITY, "health_check": HEALTH.format(variant=variants[0]["VariantName"])}.get(
            fault.kind
        )
    if (fault := strikes("unseen", name=name, instance_types=list(instances))) is not None:
        endpoint.visible_at = endpoint.created_at + fault.seconds
    return {"EndpointArn": endpoint.arn}


def _with_container(call: Call, variant: Mapping[str, Any]) -> Mapping[str, Any]:
    if "ModelName" not in variant:
        return variant
    model = call.found("model", variant["ModelName"]).asked
    return {**variant, "Container": model["PrimaryContainer"] if "PrimaryContainer" in model else model["Containers"][0]}


def _check_quota(call: Call, name: str, instances: Mapping[str, int]) -> None:
    account, options = call.account, call.account.options
    for kind, count in instances.items():
        used = sum(one.instances.get(kind, 0) for one in account.all(call.region, "endpoint"))
        limit = options.quotas.get(kind, options.quota)
        struck = account.mischief.strikes("quota", name=name, instance_types=[kind])
        if struck is not None:
            limit = used = 0
        if used + count > limit:
            raise AwsError(
                "ResourceLimitExceeded",
                f"The account-level service limit '{kind} for endpoint usage' is {limit} Instances, with current utilization of"
                f" {used} Instances and a request delta of {count} Instances. Please use AWS Service Quotas to request an"
                " increase for this quota. If AWS Service Quotas is not available, contact AWS support to request an increase"
                " for this quota.",
            )


def _describe_endpoint(call: Call) -> dict[str, Any]:
    endpoint = call.found("endpoint", call.given["EndpointName"])
    now = call.account.now()
    status = endpoint.status(now)
    told = {
        "EndpointName": endpoint.name,
        "EndpointArn": endpoint.arn,
        "EndpointConfigName": endpoint.asked["EndpointConfigName"],
        "EndpointStatus": status,
        "CreationTime": endpoint.created_at,
        "LastModifiedTime": _modified_at(endpoint, now),
    }
    if status == "Failed":
        told["FailureReason"] = endpoint.failure
    if status == "InService":
        told["ProductionVariants"] = [_variant(variant, endpoint) for variant in endpoint.serves]
    return told


def _variant(variant: Mapping[str, Any], endpoint: Resource) -> dict[str, Any]:
    count = variant.get("InitialInstanceCount", 1)
    weight = variant.get("InitialVariantWeight", 1.0)
    told: dict[str, Any] = {"VariantName": variant["VariantName"], "CurrentWeight": weight, "DesiredWeight": weight}
    told |= {"CurrentInstanceCount": count, "DesiredInstanceCount": count}
    image = variant.get("Container", {}).get("Image")
    if image is not None:
        resolved = f"{image.partition(':')[0]}@sha256:{'0' * 64}"
        told["DeployedImages"] = [
            {"SpecifiedImage": image, "ResolvedImage": resolved, "ResolutionTime": endpoint.created_at}
        ]  # fmt: skip
    return told


def _modified_at(one: Resource, now: float) -> float:
    ready = one.ready_at if one.ready_at is not None and one.ready_at <= now else one.created_at
    return one.deleting_at or ready


def _endpoint_summary(one: Resource, now: float) -> dict[str, Any]:
    return {
        "EndpointName": one.name,
        "EndpointArn": one.arn,
        "CreationTime": one.created_at,
        "LastModifiedTime": _modified_at(one, now),
        "EndpointStatus": one.status(now),
    }


def _delete_endpoint(call: Call) -> dict[str, Any]:
    account, name = call.account, call.given["EndpointName"]
    endpoint = call.found("endpoint", name)
    if endpoint.deleting_at is not None:
        return {}
    if any(one.asked["EndpointName"] == name for one in account.all(call.region, "inference-component")):
        raise AwsError("ValidationException", f'Cannot delete endpoint "{endpoint.arn}": it has inference components.')
    strikes, types = account.mischief.strikes, list(endpoint.instances)
    if endpoint.status(account.now()) == "Creating" and strikes("delete_refused", name=name, instance_types=types) is not None:
        raise AwsError("ValidationException", f'Cannot update in-progress endpoint "{endpoint.arn}".')
    if strikes("delete_ignored", name=name, instance_types=types) is not None:
        return {}
    slower = strikes("delete_slow", name=name, instance_types=types)
    account.remove(endpoint, call.caller.access_key, account.options.delete_seconds + (slower.seconds if slower else 0.0))
    return {}


def _deleting(kind: str, field: str) -> Callable[[Call], dict[str, Any]]:
    def delete(call: Call) -> dict[str, Any]:
        call.account.remove(call.found(kind, call.given[field]), call.caller.access_key)
        return {}

    return delete


OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "CreateModel": _create_model,
    "DescribeModel": _describe_model,
    "DeleteModel": _deleting("model", "ModelName"),
    "ListModels": lambda call: listed(call, "model", "Models", _model_summary),
    "CreateEndpointConfig": _create_endpoint_config,
    "DescribeEndpointConfig": _describe_endpoint_config,
    "DeleteEndpointConfig": _deleting("endpoint-config", "EndpointConfigName"),
    "ListEndpointConfigs": lambda call: listed(call, "endpoint-config", "EndpointConfigs", _config_summary),
    "CreateEndpoint": _create_endpoint,
    "DescribeEndpoint": _describe_endpoint,
    "DeleteEndpoint": _delete_endpoint,
    "ListEndpoints": lambda call: listed(call, "endpoint", "Endpoints", _endpoint_summary),
}
"""SageMaker's operations on what hosts a model."""
