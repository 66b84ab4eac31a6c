"""AWS's control plane, called in threads. A call that AWS throttles is made again; boto3 itself repeats nothing."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import cache, partial
from typing import Any

import anyio

from fmbench import ConfigError, DeployError
from fmbench.deployers.masking import blotted

__all__ = ["Aws", "AwsError", "aws_in", "region_of"]

PASSING = frozenset({
    "Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded", "RequestThrottled",
    "RequestThrottledException", "TooManyRequestsException", "SlowDown", "PriorRequestNotComplete",
    "ServiceUnavailable", "ServiceUnavailableException", "InternalFailure", "InternalServerError", "InternalServerException",
})  # fmt: skip
"""Refusals that say: later."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 20.0
PATIENCE_SECONDS = 300.0
"""How long one call is made again where AWS throttles."""
ANSWER_SECONDS = 30.0
MOST_TOLD = 600
"""Characters of AWS's message that are kept."""
MISSING = 'SageMaker needs the extra "aws": pip install "fmbench-harness[aws]"'


class AwsError(DeployError):
    """AWS refused, or did not answer.

    Args:
        code: AWS's name of the error; botocore's class where AWS did not answer.
        message: AWS's message.
        operation: What was asked.
        unsure: Whether it may have been done all the same.
    """

    def __init__(self, code: str, message: str, *, operation: str, unsure: bool = False) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.code = code
        self.told = message
        self.unsure = unsure

    @property
    def passing(self) -> bool:
        """Whether the same call may succeed a little later."""
        return self.code in PASSING

    @property
    def not_found(self) -> bool:
        """Whether the thing asked for does not exist. SageMaker says so in words, under the code for any invalid request."""
        told = self.told.lower()
        by_words = self.code == "ValidationException" and ("could not find" in told or "does not exist" in told)
        return by_words or self.code in {"ResourceNotFound", "ResourceNotFoundException"}

    @property
    def exists(self) -> bool:
        """Whether it says that what is to be created is there."""
        return "already exist" in self.told.lower()


class Aws:
    """One account's services in one region, by boto3's usual settings: profiles, environment, endpoint URLs.

    Args:
        region: Such as ``us-east-1``; boto3's own where it is not given.

    Raises:
        ConfigError: the ``aws`` extra is not installed, the profile cannot be used, or no region is known.
    """

    def __init__(self, region: str | None = None) -> None:
        self._session = _session(region)
        self.region: str = _known_region(self._session)
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._secrets: tuple[str, ...] = ()

    def client(self, service: str) -> Any:
        """A client, made once; boto3's sessions are not safe to share between threads, their clients are."""
        with self._lock:
            if service not in self._clients:
                from botocore.config import Config  # noqa: PLC0415 - the aws extra, and slow to import

                config = Config(
                    connect_timeout=10,
                    read_timeout=ANSWER_SECONDS,
                    retries={"total_max_attempts": 1},
                    user_agent_extra="fmbench",
                )
                region = "us-east-1" if service == "pricing" else self.region  # few regions have the Pricing API
                self._clients[service] = self._session.client(service, region_name=region, config=config)
            return self._clients[service]

    def hide(self, secrets: Iterable[str]) -> None:
        """Blot these out of what AWS says: it quotes what it refuses."""
        self._secrets = tuple(secrets)

    def close(self) -> None:
        """Close every connection."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    async def call(self, service: str, operation: str, **parameters: Any) -> Any:
        """Call an operation, by boto3's name of it, and again while AWS throttles.

        Raises:
            AwsError: AWS refused, or did not answer.
            ConfigError: there are no credentials.
        """
        until, pauses = time.monotonic() + PATIENCE_SECONDS, _pauses()
        while True:
            try:
                return await anyio.to_thread.run_sync(partial(self.ask, service, operation, parameters))
            except AwsError as error:
                if not error.passing or time.monotonic() > until:
                    raise
            await anyio.sleep(next(pauses))

    async def pages(self, service: str, operation: str, key: str, **parameters: Any) -> list[Any]:
        """What a paginated operation lists under ``key``, of all pages."""
        listed: list[Any] = []
        more: dict[str, Any] = {}
        token_in, token_out = ("PaginationToken",) * 2 if operation == "get_resources" else ("NextToken",) * 2
        while True:
            page = await self.call(service, operation, **parameters, **more)
            listed += page.get(key, ())
            if not (token := page.get(token_out)):
                return listed
            more = {token_in: token}

    def ask(self, service: str, operation: str, parameters: Mapping[str, Any]) -> Any:
        """Call an operation once, in this thread."""
        from botocore import exceptions  # noqa: PLC0415 - the aws extra, and slow to import
        from botocore.parsers import ResponseParserError  # noqa: PLC0415

        failure: ConfigError | AwsError
        try:
            answer: dict[str, Any] = getattr(self.client(service), operation)(**parameters)
        except exceptions.ClientError as error:
            said = error.response.get("Error", {})
            failure = AwsError(said.get("Code", "Unknown"), self._told(said.get("Message", "")), operation=operation)
        except exceptions.ParamValidationError as error:
            failure = ConfigError(self._told(f"{operation}: {error}"))
        except (exceptions.BotoCoreError, ResponseParserError) as error:
            failure = _unanswered(type(error).__name__, self._told(str(error)), operation)
        else:
            answer.pop("ResponseMetadata", None)
            return answer
        # Raised out here: botocore's error would hold on to its frames, and with them to the connection.
        raise failure

    def _told(self, text: str) -> str:
        return blotted(text, self._secrets, most=MOST_TOLD)


def _unanswered(kind: str, told: str, operation: str) -> ConfigError | AwsError:
    """For what came to no answer of AWS's."""
    if "Credential" in kind:
        return ConfigError(f"AWS credentials: {told}; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret")
    return AwsError(kind, told, operation=operation, unsure=True)


@asynccontextmanager
async def aws_in(region: str | None) -> AsyncGenerator[Aws]:
    """A region's services; their connections are closed on leaving."""
    aws = await anyio.to_thread.run_sync(Aws, region)
    try:
        yield aws
    finally:
        aws.close()


def region_of(region: str | None) -> str | None:
    """A region as given, or boto3's; ``None`` where that has none.

    Raises:
        ConfigError: the ``aws`` extra is not installed, or the profile cannot be used.
    """
    found: str | None = _session(region).region_name
    return found


def _session(region: str | None) -> Any:
    try:
        from boto3.session import Session  # noqa: PLC0415 - an extra, and slow to import
        from botocore.exceptions import BotoCoreError  # noqa: PLC0415
        from botocore.session import Session as Core  # noqa: PLC0415
    except ImportError:
        raise ConfigError(MISSING) from None
    core = Core()
    try:
        core.register_component("data_loader", _loader(core.get_config_variable("data_path")))
        return Session(region_name=region, botocore_session=core)
    except BotoCoreError as error:
        raise ConfigError(f"AWS: {error}") from error


@cache
def _loader(data_path: str | None) -> Any:
    """What botocore knows of services, read once: each session would read them anew, for a tenth of a second."""
    from botocore.loaders import create_loader  # noqa: PLC0415 - the aws extra

    return create_loader(data_path)


def _known_region(session: Any) -> str:
    if session.region_name is None:
        raise ConfigError("region: none is given, and neither AWS_DEFAULT_REGION nor the AWS profile names one")
    return str(session.region_name)


def _pauses() -> Iterator[float]:
    pause = FIRST_PAUSE_SECONDS
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - only to keep callers apart
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
