"""JumpStart: from a model's document in SageMaker's public hub to what is to be deployed. Pure.

The documents' fields, and how an instance type's variant changes them, are those of JumpStart's own SDK
(``HubModelDocument`` of sagemaker-python-sdk).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from fmbench.deployers.sagemaker.plan import ModelData, Wanted

__all__ = ["HUB", "Choices", "wanted_from_hub"]

HUB = "SageMakerPublicHub"
TIMEOUT_SECONDS = 1200


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the user says; whatever is given wins over the document."""

    model_id: str
    instance_type: str
    region: str
    accept_eula: bool
    instance_count: int
    image_uri: str | None
    env: Mapping[str, str]
    download_timeout_seconds: int | None
    startup_timeout_seconds: int | None
    ami_version: str | None
    provision_timeout_seconds: int | None


def wanted_from_hub(document: Mapping[str, Any], choices: Choices) -> Wanted:
    """What a JumpStart model needs on an instance type.

    Raises:
        ValueError: its licence was not accepted, it is sold through AWS Marketplace, or no image is known.
    """
    document = _configured(document, choices.instance_type)
    if document.get("HostingModelPackageArn"):
        raise ValueError(f"{choices.model_id} is a model package of AWS Marketplace, which cannot be deployed here")
    needs_eula = bool(document.get("GatedBucket") or document.get("HostingEulaUri"))
    if needs_eula and not choices.accept_eula:
        place = f" (at {document['HostingEulaUri']})" if document.get("HostingEulaUri") else ""
        raise ValueError(f"{choices.model_id} has a licence{place}: read it, and give accept_eula=True if you accept it")
    image = choices.image_uri or _variant(document, choices.instance_type, "ImageUri") or document.get("HostingEcrUri")
    if not image:
        raise ValueError(f"{choices.model_id} names no image for {choices.instance_type}: give image_uri")
    uri = _artifact(document, choices.instance_type)
    return Wanted(
        image_uri=str(image),
        instance_type=choices.instance_type,
        instance_count=choices.instance_count,
        environment=_environment(document, choices),
        model_data=None if uri is None else ModelData(uri=uri, accept_eula=True if needs_eula else None),
        network_isolation=bool(document.get("InferenceEnableNetworkIsolation")),
        ami_version=choices.ami_version or document.get("InferenceAmiVersion"),
        download_timeout_seconds=_timeout(choices.download_timeout_seconds, document.get("ModelDataDownloadTimeout")),
        startup_timeout_seconds=_timeout(choices.startup_timeout_seconds, document.get("ContainerStartupHealthCheckTimeout")),
        provision_timeout_seconds=choices.provision_timeout_seconds,
    )


def _configured(document: Mapping[str, Any], instance_type: str) -> Mapping[str, Any]:
    """The document under its best-ranked configuration that runs on the instance type; as it is where it has none."""
    ranked = document.get("InferenceConfigRankings") or {}
    configs, components = document.get("InferenceConfigs") or {}, document.get("InferenceConfigComponents") or {}
    for name in (ranked.get("overall") or {}).get("Rankings", ()):
        merged = dict(document)
        for component in (configs.get(name) or {}).get("ComponentNames", ()):
            merged |= components.get(component) or {}
        if instance_type in (merged.get("SupportedInferenceInstanceTypes") or ()):
            return merged
    return document


def _environment(document: Mapping[str, Any], choices: Choices) -> dict[str, str]:
    told = {
        one["Name"]: str(one["Default"])
        for one in document.get("InferenceEnvironmentVariables") or ()
        if one.get("Default") is not None and one.get("RequiredForModelClass", True)
    }
    for properties in reversed(list(_properties(document, choices.instance_type))):
        told |= {name: str(value) for name, value in (properties.get("EnvironmentVariables") or {}).items()}
    return told | {"SAGEMAKER_REGION": choices.region} | dict(choices.env)


def _artifact(document: Mapping[str, Any], instance_type: str) -> str | None:
    """Where the model's files are: prepacked with its code, as most are; an instance type may have files of its own."""
    whole = document.get("HostingPrepackedArtifactUri") if not document.get("HostingUseScriptUri") else None
    usual = whole or document.get("HostingArtifactUri")
    key = _variant(document, instance_type, "PrepackedArtifactKey" if whole else "ArtifactKey")
    if key and usual:
        bucket = str(usual).removeprefix("s3://").partition("/")[0]
        return f"s3://{bucket}/{key}"
    return None if not usual else str(usual)


def _variant(document: Mapping[str, Any], instance_type: str, name: str) -> str | None:
    """What the instance type has instead, or its family; ``$`` stands before the name of an alias."""
    aliases = (document.get("HostingInstanceTypeVariants") or {}).get("Aliases") or {}
    for properties in _properties(document, instance_type):
        if value := properties.get(name):
            return aliases.get(value[1:]) if value.startswith("$") else str(value)
    return None


def _properties(document: Mapping[str, Any], instance_type: str) -> Iterator[Mapping[str, Any]]:
    variants = (document.get("HostingInstanceTypeVariants") or {}).get("Variants") or {}
    family = instance_type.removeprefix("ml.").partition(".")[0]
    for key in (instance_type, family):
        variant = variants.get(key) or {}
        yield {**(variant.get("RegionalProperties") or {}), **(variant.get("Properties") or {})}


def _timeout(given: int | None, told: Any) -> int:
    return given if given is not None else int(told) if told else TIMEOUT_SECONDS
