"""Models of SageMaker JumpStart."""

from __future__ import annotations

from dataclasses import field
from typing import Any, Self

import orjson
from pydantic import model_validator
from pydantic.dataclasses import dataclass

from fmbench import DeployError, checked
from fmbench.deployers.priced import STRICT
from fmbench.deployers.sagemaker.control import Aws, AwsError
from fmbench.deployers.sagemaker.deployed import Deployed
from fmbench.deployers.sagemaker.hub import HUB, Choices, wanted_from_hub
from fmbench.deployers.sagemaker.plan import Wanted, refuse_misfit

__all__ = ["JumpStart"]

NEWEST = "*"


@checked
@dataclass(frozen=True, config=STRICT)
class JumpStart(Deployed):
    """Deploys a model of JumpStart, by its document in SageMaker's public hub (needs the ``aws`` extra).

    Args:
        model_id: Such as ``meta-textgeneration-llama-2-13b-f``.
        model_version: Its version; ``*`` for the newest.
        accept_eula: Whether you accept the model's licence, where it has one.
    """

    model_id: str
    model_version: str = field(default=NEWEST, kw_only=True)
    accept_eula: bool = field(default=False, kw_only=True)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        refuse_misfit(Wanted(image_uri=self.image_uri or "", instance_type=self.instance_type, environment=self.env))
        return self

    def _stem(self) -> str:
        return self.model_id

    def _known(self, region: str) -> dict[str, Any]:
        return super()._known(region) | {"model_source": f"jumpstart:{self.model_id}/{self.model_version}"}

    async def _wanted(self, aws: Aws) -> Wanted:
        asked: dict[str, Any] = {"HubName": HUB, "HubContentType": "Model", "HubContentName": self.model_id}
        if self.model_version != NEWEST:
            asked["HubContentVersion"] = self.model_version
        try:
            content = await aws.call("sagemaker", "describe_hub_content", **asked)
        except AwsError as error:
            if not error.not_found:
                raise
            raise DeployError(
                f"JumpStart has no model {self.model_id!r} of version {self.model_version} in {aws.region}: {error.told}"
            ) from error
        return wanted_from_hub(
            orjson.loads(content["HubContentDocument"]),
            Choices(
                model_id=self.model_id,
                instance_type=self.instance_type,
                region=aws.region,
                accept_eula=self.accept_eula,
                instance_count=self.instance_count,
                image_uri=self.image_uri,
                env=self.env,
                download_timeout_seconds=self.download_timeout_seconds,
                startup_timeout_seconds=self.startup_timeout_seconds,
                ami_version=self.ami_version,
                provision_timeout_seconds=self.provision_timeout_seconds,
            ),
        )
