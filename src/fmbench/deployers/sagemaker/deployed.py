"""What JumpStart, GPU and Neuron deployers share: their options, and the way from a plan to an endpoint."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import field
from typing import Annotated, Any

from anyio import to_thread
from pydantic import Field, PositiveFloat, PositiveInt, field_validator
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, Endpoint, Found, HostingPrice, PriceBook, Run, checked
from fmbench.deployers.masking import secrets_in, shown_variables
from fmbench.deployers.priced import STRICT, Priced
from fmbench.deployers.sagemaker.catalogue import instance
from fmbench.deployers.sagemaker.control import Aws, aws_in, region_of
from fmbench.deployers.sagemaker.describing import described, facts_of
from fmbench.deployers.sagemaker.identity import account_and_role
from fmbench.deployers.sagemaker.plan import Wanted, plan, refuse_misfit
from fmbench.deployers.sagemaker.prices import price_of
from fmbench.deployers.sagemaker.standing import RUN_TAG, Up, delete_deployment, standing
from fmbench.deployers.sagemaker.tagged import find_tagged
from fmbench.invokers import SageMaker

__all__ = ["Deployed", "Timeout", "runtime_url"]

logger: logging.Logger = logging.getLogger(__name__)

Timeout = Annotated[int, Field(ge=60, le=3600)]
"""Seconds, as SageMaker takes them."""
KEEP_TAG = "fmbench:keep"
"""Of what its user wants to stand when the run is over."""
ANY_REGION = "us-east-1"
NO_REGION = "no region is known: give region, or set AWS_DEFAULT_REGION"
LONGEST_NAME = 63
NO_COMPILE_TIME = "AWS tells only when the endpoint was in service; the container's own log would tell it"


@checked
@dataclass(frozen=True, kw_only=True, config=STRICT)
class Deployed(Priced):
    """An endpoint that is made for a run and deleted after it.

    Args:
        instance_type: Such as ``ml.g5.12xlarge``.
        instance_count: How many of them.
        image_uri: The container's image, instead of the one that is looked up.
        env: Environment variables of the container; they win over those that are looked up or made of other options. Values
            that sound secret are never shown or written down.
        role: The ARN or the name of the role that SageMaker is to act as; this machine's own by default.
        region: Where; boto3's own by default.
        keep: Whether the endpoint is left standing after the run. It goes on costing money then.
        endpoint_name: What the endpoint, its configuration and its model are called; a name is made by default.
        ready_seconds: How long it may take to be in service.
        download_timeout_seconds: How long SageMaker lets an instance take to load the model's files.
        startup_timeout_seconds: How long SageMaker lets the container take to be healthy, compiling included.
        provision_timeout_seconds: How long SageMaker is to look for an instance that is free.
        ami_version: The instances' ``InferenceAmiVersion``, instead of the one that the image needs.
    """

    instance_type: str
    instance_count: PositiveInt = 1
    image_uri: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    role: str | None = None
    region: str | None = None
    keep: bool = False
    endpoint_name: str | None = None
    ready_seconds: PositiveFloat = 3600.0
    download_timeout_seconds: Timeout | None = None
    startup_timeout_seconds: Timeout | None = None
    provision_timeout_seconds: Annotated[int, Field(ge=300, le=3600)] | None = None
    ami_version: str | None = None

    @field_validator("instance_type")
    @classmethod
    def _is_known(cls, instance_type: str) -> str:
        return instance(instance_type).name

    @field_validator("endpoint_name")
    @classmethod
    def _is_a_name(cls, endpoint_name: str | None) -> str | None:
        pattern = rf"[a-zA-Z0-9](-*[a-zA-Z0-9]){{0,{LONGEST_NAME - 1}}}"
        if endpoint_name is not None and not re.fullmatch(pattern, endpoint_name):
            raise ValueError(f"must be at most {LONGEST_NAME} letters, digits and hyphens, and begin and end with none")
        return endpoint_name

    @property
    def label(self) -> str:
        """The name, or the model's with the instance type."""
        return self.name or f"{self._stem()}-{self.instance_type.removeprefix('ml.')}"

    @property
    def resource(self) -> tuple[str, ...] | None:
        """What its user named: of one name, a region has one endpoint, whatever the case of its letters.

        Raises:
            ConfigError: the ``aws`` extra is not installed.
        """
        if self.endpoint_name is None:
            return None
        return ("the endpoint", self.endpoint_name.lower(), "in", region_of(self.region) or "the default region")

    def _stem(self) -> str:
        raise NotImplementedError

    async def _wanted(self, aws: Aws) -> Wanted:
        """What is to be deployed, with everything looked up."""
        raise NotImplementedError

    def _known(self, region: str) -> dict[str, Any]:  # noqa: ARG002 - some look an image up
        """What a deployer knows besides, before it has asked AWS."""
        return {"image": self.image_uri, "environment": shown_variables(self.env) or None}

    def describe(self) -> dict[str, Any]:
        """What is known of it before it is deployed; AWS is not asked.

        Raises:
            ConfigError: the ``aws`` extra is not installed.
        """
        region = region_of(self.region)
        price = HostingPrice(instance_type=self.instance_type, region="", usd_per_hour=None, reason=NO_REGION)
        if region is not None:
            price = PriceBook.shipped().look_up(self.instance_type, region)
        known = {
            "instance_type": self.instance_type,
            "instance_count": self.instance_count,
            "region": region,
            "role": self.role,
            **self._known(region or ANY_REGION),
            "start_limit_seconds": self.ready_seconds,
            **self._price_facts(price),
        }
        return {name: value for name, value in known.items() if value is not None}

    def _price_facts(self, price: HostingPrice) -> dict[str, Any]:
        return self.price_facts() or price.facts()

    @asynccontextmanager
    async def deploy(self, run: Run) -> AsyncGenerator[Endpoint]:
        """Make it, and yield it once it is in service.

        Raises:
            ConfigError: something is missing or known not to work; nothing was made.
            DeployError: AWS refused, or it did not come up in time; what was made is deleted.
        """
        async with aws_in(self.region) as aws:
            account, role = await account_and_role(aws, self.role)
            logger.info("%s: region %s, role %s", self.label, aws.region, role)
            # Without the run's tag, nothing of ours could be told from what is somebody else's.
            tags = {RUN_TAG: run.name, **run.tags, **({KEEP_TAG: "true"} if self.keep else {})}
            made = plan(await self._checked(aws), name=self._resource_name(tags[RUN_TAG]), role=role, tags=tags)
            price = self._price_facts(await price_of(aws, self.instance_type))
            hourly = price.get("usd_per_hour")
            rate = None if hourly is None else hourly * self.instance_count
            async with standing(
                run, aws, made, account=account, usd_per_hour=rate, ready_seconds=self.ready_seconds, keep=self.keep
            ) as up:
                yield await self._endpoint(aws, up, {"role": role, **price})

    async def _checked(self, aws: Aws) -> Wanted:
        """What is to be deployed, and can be.

        Raises:
            ConfigError: it is known not to work.
        """
        try:
            wanted = await self._wanted(aws)
            refuse_misfit(wanted)
        except ConfigError:
            raise
        except ValueError as error:
            raise ConfigError(f"{self.label}: {error}") from error
        aws.hide(secrets_in(wanted.environment))
        return wanted

    async def _endpoint(self, aws: Aws, up: Up, more: Mapping[str, Any]) -> Endpoint:
        facts = self.describe() | facts_of(await described(aws, up.endpoint)) | dict(more)
        facts |= {"region": aws.region, "start_seconds": up.start_seconds}
        if instance(self.instance_type).accelerator == "neuron":
            facts |= {"compile_seconds": None, "compile_seconds_reason": NO_COMPILE_TIME}
        return Endpoint(
            name=self.label,
            url=await runtime_url(aws, up.endpoint["EndpointName"]),
            facts=facts,
            invoker=self.invoker or SageMaker(),
            tokenizer=self.tokenizer,
        )

    def _resource_name(self, run_id: str) -> str:
        """A name that tells the run, and is nobody else's."""
        if self.endpoint_name is not None:
            return self.endpoint_name
        words = re.sub(r"[^a-zA-Z0-9]+", "-", f"fmbench-{run_id}-{self.label}").strip("-").lower()
        end = f"-{secrets.token_hex(3)}"
        return words[: LONGEST_NAME - len(end)].rstrip("-") + end

    async def delete(self, handle: Any) -> bool:
        """Delete what a handle of ours names, and only what carries its run's tag; whether it is gone.

        Raises:
            ConfigError: the handle is not ours, or the credentials are another account's.
            DeployError: AWS refuses.
        """
        return await delete_deployment(handle)

    @classmethod
    async def find(cls, tags: Mapping[str, str | None], *, region: str | None = None) -> list[Found]:
        """What carries all these tags in a region, boto3's own by default; a value of ``None``: any.

        Raises:
            ConfigError: the ``aws`` extra is not installed, or there are no credentials.
            DeployError: AWS refuses.
        """
        found = await find_tagged(region, run_id=tags.get(RUN_TAG))
        return [
            one for one in found if all(name in one.tags and value in {None, one.tags[name]} for name, value in tags.items())
        ]


async def runtime_url(aws: Aws, endpoint_name: str) -> str:
    """Where an endpoint is invoked."""
    client = await to_thread.run_sync(aws.client, "sagemaker-runtime")
    return f"{str(client.meta.endpoint_url).rstrip('/')}/endpoints/{endpoint_name}"
