"""From what is wanted to the three requests that make it: a model, an endpoint configuration, an endpoint. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from fmbench.deployers.sagemaker.catalogue import Instance, accelerator_of_image, ami_version, instance

__all__ = ["ModelData", "Plan", "Wanted", "plan", "refuse_misfit"]

VARIANT = "AllTraffic"
DEGREES = (
    *("OPTION_TENSOR_PARALLEL_DEGREE", "TENSOR_PARALLEL_DEGREE", "SM_NUM_GPUS", "NUM_SHARD", "HF_NUM_CORES"),
    *("SM_VLLM_TENSOR_PARALLEL_SIZE", "SM_SGLANG_TP_SIZE", "SM_SGLANG_TP"),
)
"""The variables that tell containers over how many GPUs or NeuronCores to spread one model."""
NONE: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelData:
    """Where the model's files are.

    Args:
        uri: A folder of S3, or a ``.tar.gz``.
        accept_eula: Whether its licence is accepted; ``None`` where there is none to accept.
    """

    uri: str
    accept_eula: bool | None = None

    def source(self) -> dict[str, Any]:
        """It as SageMaker's ``ModelDataSource``."""
        packed = self.uri.endswith((".tar.gz", ".tgz"))
        kind = {"S3DataType": "S3Prefix", "CompressionType": "None"}
        if packed:
            kind = {"S3DataType": "S3Object", "CompressionType": "Gzip"}
        access = {} if self.accept_eula is None else {"ModelAccessConfig": {"AcceptEula": self.accept_eula}}
        uri = self.uri if packed or self.uri.endswith("/") else f"{self.uri}/"
        return {"S3DataSource": {"S3Uri": uri, **kind, **access}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An endpoint as it is wanted, with everything looked up."""

    image_uri: str
    instance_type: str
    instance_count: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)
    model_data: ModelData | None = None
    network_isolation: bool = False
    ami_version: str | None = None
    download_timeout_seconds: int = 1200
    startup_timeout_seconds: int = 1200
    provision_timeout_seconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The requests of CreateModel, CreateEndpointConfig and CreateEndpoint, in this order. All three have one name."""

    name: str
    model: Mapping[str, Any]
    endpoint_config: Mapping[str, Any]
    endpoint: Mapping[str, Any]


def plan(wanted: Wanted, *, name: str, role: str, tags: Mapping[str, str]) -> Plan:
    """The requests that make an endpoint.

    Args:
        wanted: What is to be made.
        name: What the model, the configuration and the endpoint are called.
        role: The ARN of the role that SageMaker is to act as.
        tags: Put on all three.

    Raises:
        ValueError: it cannot work; see ``refuse_misfit``.
    """
    refuse_misfit(wanted)
    tagged = [{"Key": key, "Value": value} for key, value in tags.items()]
    container: dict[str, Any] = {"Image": wanted.image_uri, "Environment": dict(wanted.environment)}
    if wanted.model_data is not None:
        container["ModelDataSource"] = wanted.model_data.source()
    model: dict[str, Any] = {"ModelName": name, "ExecutionRoleArn": role, "PrimaryContainer": container, "Tags": tagged}
    if wanted.network_isolation:
        model["EnableNetworkIsolation"] = True
    return Plan(
        name=name,
        model=model,
        endpoint_config={"EndpointConfigName": name, "ProductionVariants": [_variant(wanted, name)], "Tags": tagged},
        endpoint={"EndpointName": name, "EndpointConfigName": name, "Tags": tagged},
    )


def _variant(wanted: Wanted, name: str) -> dict[str, Any]:
    optional = {
        "InferenceAmiVersion": wanted.ami_version or ami_version(wanted.image_uri, instance(wanted.instance_type)),
        "VariantInstanceProvisionTimeoutInSeconds": wanted.provision_timeout_seconds,
    }
    return {
        "VariantName": VARIANT,
        "ModelName": name,
        "InstanceType": wanted.instance_type,
        "InitialInstanceCount": wanted.instance_count,
        "InitialVariantWeight": 1,
        "ModelDataDownloadTimeoutInSeconds": wanted.download_timeout_seconds,
        "ContainerStartupHealthCheckTimeoutInSeconds": wanted.startup_timeout_seconds,
        **{key: value for key, value in optional.items() if value is not None},
    }


def refuse_misfit(wanted: Wanted) -> None:
    """Refuse what is known not to work, before anything is made.

    Raises:
        ValueError: the instance type is not known, the image is for another accelerator, or a tensor-parallel degree does
            not fit the instance.
    """
    kind = instance(wanted.instance_type)
    built_for = accelerator_of_image(wanted.image_uri)
    if built_for not in {None, "cpu", kind.accelerator}:
        image = wanted.image_uri.rpartition("/")[2]
        raise ValueError(
            f"image_uri: {image} is built for {built_for}, but {kind.name} has {_what(kind)}: choose another image or instance"
        )
    for variable in DEGREES:
        if (value := wanted.environment.get(variable)) is not None:
            refuse_degree(variable, value, kind)


def refuse_degree(what: str, value: str, kind: Instance) -> None:
    """Refuse a tensor-parallel degree that an instance cannot have.

    Raises:
        ValueError: it is no number, more than there are cores, or one that does not divide them.
    """
    if value == "max":
        return
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise ValueError(f"{what}: {value!r} is no number of {kind.core_name}")
    degree = int(value)
    if degree > max(kind.cores, 1):
        raise ValueError(f"{what}: {degree} is more than the {kind.cores} {kind.core_name} of {kind.name}")
    fits = degree in kind.degrees if kind.degrees else max(kind.cores, 1) % degree == 0
    if not fits:
        possible = kind.degrees or tuple(one for one in range(1, kind.cores + 1) if kind.cores % one == 0)
        listed = ", ".join(map(str, possible))
        raise ValueError(f"{what}: {kind.name} cannot spread a model over {degree} of its {kind.core_name}: give {listed}")


def _what(kind: Instance) -> str:
    return kind.device if kind.accelerator != "cpu" else "no accelerator"
