"""SageMaker's runtime, with kernel arrival times: signed just before sending, event streams taken apart here."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import orjson
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from fmbench import Completion, ConfigError, Decoder, Endpoint, Exchange, Head, Parameters, Prompt, Request, checked
from fmbench.invokers.completions import EventDecoder, WholeDecoder
from fmbench.invokers.failures import Failures
from fmbench.invokers.generated import GeneratedDecoder, WholeGeneratedDecoder
from fmbench.invokers.guarded import GuardedDecoder
from fmbench.invokers.payloads import Dialect, payload_in
from fmbench.invokers.sagemaker_replies import StreamDecoder, refuse
from fmbench.wire import Client, Credentials, Prepared, Signable, Signer, connect

__all__ = ["SageMaker"]

logger: logging.Logger = logging.getLogger(__name__)

REFRESH_SECONDS = 60.0
"""How often temporary credentials are looked at; botocore renews them a quarter of an hour before they end."""
SIGNED = {"Content-Type": "application/json"}
_IN_IMAGES: Mapping[str, Dialect] = {"tgi-inference": "tgi", "djl-inference": "lmi", "vllm": "openai", "sglang": "openai"}
"""What names of AWS's container images tell; the first that fits counts."""
_REGION = re.compile(r"//runtime\.sagemaker(?:-fips)?\.([a-z0-9-]+)\.")


@checked
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class SageMaker:
    """Speaks InvokeEndpoint and InvokeEndpointWithResponseStream.

    The endpoint's URL is ``https://runtime.sagemaker.REGION.amazonaws.com/endpoints/NAME``. Credentials come from botocore's
    usual chain and are renewed off the clock; what signing takes is told apart from the server's time. No request is
    repeated.

    Args:
        dialect: What the container speaks: ``tgi``, ``lmi`` (LMI's own ``inputs``) or ``openai`` (chat messages); by the
            container's image where it is not given.
        stream: Whether replies come token by token; without it there is no TTFT and no ITL.
    """

    dialect: Dialect | None = None
    stream: bool = True

    @property
    def sends_messages(self) -> bool:
        """Whether chat messages can be sent, and so conversations, as far as that is known before connecting."""
        return self.dialect in {None, "openai"}

    @asynccontextmanager
    async def connect(self, endpoint: Endpoint, *, concurrency: int | None) -> AsyncGenerator[SageMakerSession]:
        """Find credentials, and open as many connections as requests will be in flight.

        Raises:
            ConfigError: the ``aws`` extra is not installed, there are no credentials, or region or dialect cannot be told.
        """
        dialect = self.dialect or _dialect_of(endpoint)
        chain = _Chain(_region_of(endpoint))
        signer = Signer(await anyio.to_thread.run_sync(chain.frozen), region=chain.region, service="sagemaker")
        component = endpoint.facts.get("inference_component")
        signed = SIGNED if component is None else SIGNED | {"X-Amzn-SageMaker-Inference-Component": str(component)}
        async with connect(endpoint.url, connections=concurrency or 1, headers=signed) as client:
            renewing = asyncio.get_running_loop().create_task(_renew(signer, chain))
            try:
                yield SageMakerSession(client, signer, dialect, signed, stream=self.stream)
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)


class SageMakerSession:
    """An open session with one endpoint."""

    def __init__(self, client: Client, signer: Signer, dialect: Dialect, signed: Mapping[str, str], *, stream: bool) -> None:
        self._client = client
        self._signer = signer
        self._dialect: Dialect = dialect
        self._signed = signed
        self._stream = stream
        self._path = "/invocations-response-stream" if stream else "/invocations"
        self._told_by = Failures(_secrets(signer.credentials))
        self._signed_by = signer.credentials

    @property
    def clock_step_ns(self) -> int:
        """The largest change of the kernel clock's offset between two samples."""
        return self._client.clock.step_ns

    @property
    def write_delay_ns(self) -> int | None:
        """How long after ``sent`` the kernel had the request, at the 99th percentile."""
        return self._client.clock.write_delay_ns

    def encode(self, prompt: Prompt, parameters: Parameters) -> Request:
        """Make the JSON body, the HTTP head, and what of the signature does not depend on the time.

        Raises:
            ConfigError: chat messages cannot be sent in this dialect, or something cannot be written as JSON.
        """
        payload = _payload(self._dialect, prompt, parameters, self._stream)
        try:
            body = orjson.dumps(payload)
        except orjson.JSONEncodeError as error:
            raise ConfigError(f"prompt {prompt.id!r} with its parameters cannot be written as JSON: {error}") from None
        signable = self._client.signable("POST", self._path, headers=self._signed, body=body)
        self._signer.prepare(signable)
        return Request(payload=payload, body=(self._client.prepare("POST", self._path, body=body), signable))

    async def send(self, request: Request, exchange: Exchange) -> None:
        """Sign it and send it; every chunk of the reply's body is a piece."""
        prepared: Prepared
        signable: Signable
        prepared, signable = request.body
        began = time.perf_counter_ns()
        signed = prepared.with_lines(self._signer.sign(signable))
        exchange.spent(sign_ns=time.perf_counter_ns() - began)
        await self._client.send(signed, exchange)

    def decoder(self) -> Decoder:
        """A decoder for one reply, fed while it arrives."""
        if self._stream:
            return StreamDecoder(self._inner(), self._failures)
        whole = WholeDecoder if self._dialect == "openai" else WholeGeneratedDecoder
        return GuardedDecoder(whole(self._failures), partial(refuse, failures=self._failures))

    def decode(self, pieces: Sequence[Any], head: Head) -> Completion:
        """The same for a reply that is whole."""
        decoder = self.decoder()
        for piece in pieces:
            decoder.feed(piece)
        return decoder.close(head)

    @property
    def _failures(self) -> Failures:
        """Of the credentials in use: AWS repeats the session's token when a signature is wrong."""
        if self._signed_by is not self._signer.credentials:
            self._signed_by = self._signer.credentials
            self._told_by = Failures(_secrets(self._signed_by))
        return self._told_by

    def _inner(self) -> Decoder:
        if self._dialect == "openai":
            return EventDecoder(self._failures)
        return GeneratedDecoder(self._failures, counts=self._dialect == "tgi")


def _payload(dialect: Dialect, prompt: Prompt, parameters: Parameters, stream: bool) -> dict[str, Any]:
    payload = payload_in(dialect, prompt, parameters)
    if stream:
        payload |= {"stream": True} | ({"stream_options": {"include_usage": True}} if dialect == "openai" else {})
    return payload


def _dialect_of(endpoint: Endpoint) -> Dialect:
    image = str(endpoint.facts.get("image") or "")
    for part, dialect in _IN_IMAGES.items():
        if part in image:
            return dialect
    shown = f"the image {image!r}" if image else "an unknown image"
    raise ConfigError(f"dialect: what {endpoint.name} speaks cannot be told from {shown}: give tgi, lmi or openai")


def _region_of(endpoint: Endpoint) -> str:
    region = endpoint.facts.get("region")
    found = _REGION.search(endpoint.url)
    if region is None and found is None:
        raise ConfigError(f"region: that of {endpoint.name} is not known, and its url does not tell")
    return str(region) if region is not None else str(found and found[1])


def _secrets(credentials: Credentials) -> list[str]:
    return [credentials.secret_key, *([] if credentials.token is None else [credentials.token])]


class _Chain:
    """botocore's usual chain of credentials."""

    def __init__(self, region: str) -> None:
        self.region = region
        self._found: Any = None

    def frozen(self) -> Credentials:
        """Those of now; may wait for the network."""
        if self._found is None:
            try:
                from botocore.session import Session  # noqa: PLC0415 - the aws extra, and slow to import
            except ImportError:
                raise ConfigError('sagemaker needs the extra "aws": pip install "fmbench-harness[aws]"') from None
            self._found = Session().get_credentials()
            if self._found is None:
                raise ConfigError("AWS credentials: there are none; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret")
        now = self._found.get_frozen_credentials()
        return Credentials(access_key=now.access_key, secret_key=now.secret_key, token=now.token)


async def _renew(signer: Signer, chain: _Chain) -> None:
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        try:
            fresh = await anyio.to_thread.run_sync(chain.frozen)
        except Exception as error:  # noqa: BLE001 - the old ones may last yet; if not, each request will say so
            logger.warning("AWS credentials could not be renewed (%s); trying again", type(error).__name__)
        else:
            if fresh != signer.credentials:
                signer.credentials = fresh
