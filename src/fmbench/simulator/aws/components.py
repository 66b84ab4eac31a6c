"""Inference components: several models on one endpoint's instances."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fmbench.simulator.aws.account import Call, Resource
from fmbench.simulator.aws.hosting import added
from fmbench.simulator.aws.paging import listed
from fmbench.simulator.aws.problems import AwsError

__all__ = ["OPERATIONS"]

KIND = "inference-component"


def _create(call: Call) -> dict[str, Any]:
    endpoint = call.found("endpoint", call.given["EndpointName"])
    if endpoint.status(call.account.now()) != "InService":
        raise AwsError("ValidationException", f"Endpoint {endpoint.name} is not InService.")
    if any("Container" in variant for variant in endpoint.serves):
        said = f"Endpoint {endpoint.name} was created with a model: it takes no inference components."
        raise AwsError("ValidationException", said)
    specification = call.given.get("Specification", {})
    name = call.given["InferenceComponentName"]
    component = added(call, KIND, name, serves=[{"Container": _container(call, specification)}])
    stuck = call.account.mischief.strikes("stuck", name=name)
    component.ready_at = None if stuck else component.created_at + call.account.options.create_seconds
    return {"InferenceComponentArn": component.arn}


def _container(call: Call, specification: Mapping[str, Any]) -> Mapping[str, Any]:
    if "ModelName" in specification:
        container: Mapping[str, Any] = call.found("model", specification["ModelName"]).asked["PrimaryContainer"]
        return container
    if "Container" not in specification:
        raise AwsError("ValidationException", "An inference component needs a ModelName or a Container.")
    return dict(specification["Container"])


def _of_endpoint(one: Resource, call: Call, now: float) -> dict[str, Any]:
    return {
        "InferenceComponentName": one.name,
        "InferenceComponentArn": one.arn,
        "EndpointName": one.asked["EndpointName"],
        "EndpointArn": call.account.arn(one.region, "endpoint", one.asked["EndpointName"]),
        "VariantName": one.asked.get("VariantName", "AllTraffic"),
        "CreationTime": one.created_at,
        "LastModifiedTime": one.deleting_at or one.created_at,
        "InferenceComponentStatus": one.status(now),
    }


def _describe(call: Call) -> dict[str, Any]:
    one = call.found(KIND, call.given["InferenceComponentName"])
    container = one.serves[0]["Container"]
    specification = {**one.asked.get("Specification", {})}
    if "Image" in container:
        told: dict[str, Any] = {"DeployedImage": {"SpecifiedImage": container["Image"], "ResolutionTime": one.created_at}}
        specification["Container"] = told | {"Environment": container.get("Environment", {})}
    copies = one.asked.get("RuntimeConfig", {}).get("CopyCount", 1)
    runtime = {"DesiredCopyCount": copies, "CurrentCopyCount": copies}
    return {**_of_endpoint(one, call, call.account.now()), "Specification": specification, "RuntimeConfig": runtime}


def _list(call: Call) -> dict[str, Any]:
    return listed(call, KIND, "InferenceComponents", lambda one, now: _of_endpoint(one, call, now))


def _delete(call: Call) -> dict[str, Any]:
    component = call.found(KIND, call.given["InferenceComponentName"])
    if component.deleting_at is None:
        call.account.remove(component, call.caller.access_key, call.account.options.delete_seconds)
    return {}


OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {
    "CreateInferenceComponent": _create,
    "DescribeInferenceComponent": _describe,
    "ListInferenceComponents": _list,
    "DeleteInferenceComponent": _delete,
}
"""SageMaker's operations on them."""
