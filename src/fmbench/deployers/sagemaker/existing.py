"""An endpoint of SageMaker's that exists: nothing is made, and nothing is deleted."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Any

from pydantic.dataclasses import dataclass

from fmbench import DeployError, Endpoint, Run, checked
from fmbench.deployers.priced import STRICT, Priced
from fmbench.deployers.sagemaker.control import Aws, AwsError, aws_in, region_of
from fmbench.deployers.sagemaker.deployed import runtime_url
from fmbench.deployers.sagemaker.describing import described, facts_of
from fmbench.deployers.sagemaker.prices import price_of
from fmbench.invokers import SageMaker

__all__ = ["SageMakerEndpoint"]

logger: logging.Logger = logging.getLogger(__name__)


@checked
@dataclass(frozen=True, config=STRICT)
class SageMakerEndpoint(Priced):
    """An endpoint of SageMaker's that exists (needs the ``aws`` extra). It is never changed or deleted.

    Args:
        endpoint_name: Its name.
        inference_component: Which of its inference components, where it has some.
        region: Where it is; boto3's own by default.
    """

    endpoint_name: str
    inference_component: str | None = field(default=None, kw_only=True)
    region: str | None = field(default=None, kw_only=True)

    @property
    def label(self) -> str:
        """The name, or the endpoint's with its component's."""
        return self.name or "-".join(filter(None, (self.endpoint_name, self.inference_component)))

    def describe(self) -> dict[str, Any]:
        """What is known of it before AWS is asked.

        Raises:
            ConfigError: the ``aws`` extra is not installed.
        """
        known = {"region": region_of(self.region), "inference_component": self.inference_component}
        return {name: value for name, value in known.items() if value is not None} | self.price_facts()

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:  # noqa: ARG002 - a Deployer's
        """Yield it, if it is in service.

        Raises:
            DeployError: there is no such endpoint or component, or it is not in service.
            ConfigError: there are no credentials.
        """
        async with aws_in(self.region) as aws:
            endpoint = await self._found(aws, "endpoint", "EndpointName", self.endpoint_name)
            component = None
            if self.inference_component is not None:
                component = await self._found(aws, "inference_component", "InferenceComponentName", self.inference_component)
            facts = self.describe() | facts_of(await described(aws, endpoint, component=component))
            if not self.price_facts() and "instance_type" in facts:
                facts |= (await price_of(aws, facts["instance_type"])).facts()
            logger.info("%s: region %s, an endpoint that exists", self.label, aws.region)
            yield Endpoint(
                name=self.label,
                url=await runtime_url(aws, self.endpoint_name),
                facts=facts,
                invoker=self.invoker or SageMaker(),
                tokenizer=self.tokenizer,
            )

    async def _found(self, aws: Aws, kind: str, key: str, name: str) -> dict[str, Any]:
        try:
            thing: dict[str, Any] = await aws.call("sagemaker", f"describe_{kind}", **{key: name})
        except AwsError as error:
            if not error.not_found:
                raise
            raise DeployError(f"there is no {kind.replace('_', ' ')} {name!r} in {aws.region}") from error
        status = thing.get("EndpointStatus") or thing.get("InferenceComponentStatus")
        if status not in {"InService", "Updating"}:
            raise DeployError(f"{name} is {status}: {thing.get('FailureReason') or 'it must be in service'}")
        return thing
