"""What AWS says of an endpoint, as an endpoint's facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fmbench.deployers.masking import shown_variables
from fmbench.deployers.sagemaker.control import Aws
from fmbench.simulator.aws import ACCOUNT

__all__ = ["described", "facts_of"]


async def described(aws: Aws, endpoint: Mapping[str, Any], *, component: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """An endpoint, its configuration and its model, as AWS describes them; what may be secret in the environment is masked."""
    config = await aws.call("sagemaker", "describe_endpoint_config", EndpointConfigName=endpoint["EndpointConfigName"])
    variants = config.get("ProductionVariants") or [{}]
    name = variants[0].get("ModelName") if component is None else component.get("Specification", {}).get("ModelName")
    model = {} if name is None else _masked(await aws.call("sagemaker", "describe_model", ModelName=name))
    told = {"endpoint": dict(endpoint), "endpoint_config": config, "model_config": model}
    return told if component is None else told | {"inference_component": dict(component)}


def facts_of(told: Mapping[str, Any]) -> dict[str, Any]:
    """The known facts among AWS's own words."""
    variant = (told["endpoint_config"].get("ProductionVariants") or [{}])[0]
    running = (told["endpoint"].get("ProductionVariants") or [{}])[0]
    container = _container(told)
    source = (container.get("ModelDataSource") or {}).get("S3DataSource", {}).get("S3Uri") or container.get("ModelDataUrl")
    known = {
        # Whatever comes from the offline AWS is told by its account, which is nobody's.
        "simulated": f":{ACCOUNT}:" in told["endpoint"].get("EndpointArn", "") or None,
        "instance_type": variant.get("InstanceType"),
        "instance_count": running.get("CurrentInstanceCount") or variant.get("InitialInstanceCount"),
        "image": container.get("Image"),
        "model_source": source or (container.get("Environment") or {}).get("HF_MODEL_ID"),
        "environment": container.get("Environment"),
        "sagemaker": dict(told),
    }
    return {name: value for name, value in known.items() if value is not None}


def _container(told: Mapping[str, Any]) -> Mapping[str, Any]:
    model = told["model_config"]
    found = model.get("PrimaryContainer") or next(iter(model.get("Containers") or ()), None)
    if found is None:  # an inference component may bring its own
        found = (told.get("inference_component") or {}).get("Specification", {}).get("Container", {})
        image = (found.get("DeployedImage") or {}).get("SpecifiedImage")
        return {**found, "Image": found.get("Image") or image}
    return dict(found)


def _masked(model: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _without_secrets(value) for key, value in model.items()}


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: shown_variables(inner) if key == "Environment" and isinstance(inner, dict) else _without_secrets(inner)
        for key, inner in value.items()
    }
