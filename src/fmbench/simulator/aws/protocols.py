"""The three protocols of AWS's control planes: how an operation and its parameters are read, and how answers are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

import orjson

from fmbench.simulator.aws.cbor import decoded, encoded
from fmbench.simulator.aws.problems import AwsError
from fmbench.simulator.aws.replies import request_id
from fmbench.simulator.connection import Incoming
from fmbench.simulator.envelopes import http_reply

__all__ = ["Asked", "Language", "language_of"]


class Asked(NamedTuple):
    """What is asked of which service; ``target`` is the service's name in its protocol, empty where the signature tells it."""

    target: str
    operation: str
    given: Any


class Language(Protocol):
    """One protocol."""

    def read(self, incoming: Incoming) -> Asked:
        """What is asked.

        Raises:
            AwsError: it cannot be read.
        """
        ...

    def said(self, operation: str, answer: Mapping[str, Any]) -> bytes:
        """The answer."""
        ...

    def failed(self, error: AwsError) -> bytes:
        """An error."""
        ...


def language_of(incoming: Incoming) -> Language:
    """By path and headers, as AWS tells them apart."""
    if incoming.headers.get("smithy-protocol") == "rpc-v2-cbor":
        return _Cbor()
    form = incoming.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    return _Query() if form else _Json()


class _Json:
    """JSON 1.1."""

    content_type = "application/x-amz-json-1.1"

    def read(self, incoming: Incoming) -> Asked:
        target, _, operation = incoming.headers.get("x-amz-target", "").partition(".")
        try:
            return Asked(target, operation, orjson.loads(bytes(incoming.body) or b"{}"))
        except orjson.JSONDecodeError:
            raise AwsError("SerializationException", "The request is not JSON") from None

    def said(self, operation: str, answer: Mapping[str, Any]) -> bytes:  # noqa: ARG002 - a Language's
        return self._reply(200, orjson.dumps(answer))

    def failed(self, error: AwsError) -> bytes:
        body = orjson.dumps({"__type": error.code, "message": error.message})
        return self._reply(error.status, body, f"x-amzn-ErrorType: {error.code}\r\n")

    def _reply(self, status: int, body: bytes, extra: str = "") -> bytes:
        extra += f"x-amzn-RequestId: {request_id()}\r\n"
        return http_reply(status, body, content_type=self.content_type, extra=extra.encode())


class _Cbor:
    """Smithy's RPC v2 CBOR."""

    extra = b"smithy-protocol: rpc-v2-cbor\r\n"

    def read(self, incoming: Incoming) -> Asked:
        parts = incoming.path.split("/")
        if len(parts) != 5 or parts[1] != "service" or parts[3] != "operation":
            raise AwsError("UnknownOperationException", f"There is no {incoming.path}", 404)
        try:
            return Asked(parts[2], parts[4], decoded(bytes(incoming.body) or b"\xa0"))
        except ValueError as error:
            raise AwsError("SerializationException", f"The request is not CBOR: {error}") from None

    def said(self, operation: str, answer: Mapping[str, Any]) -> bytes:  # noqa: ARG002 - a Language's
        return http_reply(200, encoded(answer), content_type="application/cbor", extra=self.extra)

    def failed(self, error: AwsError) -> bytes:
        body = encoded({"__type": error.code, "message": error.message})
        return http_reply(error.status, body, content_type="application/cbor", extra=self.extra)


class _Query:
    """STS's and IAM's: a form, answered in XML."""

    codes: Mapping[str, str] = {
        "InvalidSignatureException": "SignatureDoesNotMatch",
        "UnrecognizedClientException": "InvalidClientTokenId",
        "MissingAuthenticationTokenException": "MissingAuthenticationToken",
        "ThrottlingException": "Throttling",
        "AccessDeniedException": "AccessDenied",
    }

    def read(self, incoming: Incoming) -> Asked:
        given = dict(parse_qsl(bytes(incoming.body).decode("utf-8", "replace")))
        return Asked("", given.pop("Action", ""), given)

    def said(self, operation: str, answer: Mapping[str, Any]) -> bytes:
        metadata = f"<ResponseMetadata><RequestId>{request_id()}</RequestId></ResponseMetadata>"
        result = f"<{operation}Result>{_xml(answer)}</{operation}Result>{metadata}"
        return self._reply(200, f"<{operation}Response>{result}</{operation}Response>")

    def failed(self, error: AwsError) -> bytes:
        code = self.codes.get(error.code, error.code)
        told = _xml({"Error": {"Type": "Sender", "Code": code, "Message": error.message}, "RequestId": request_id()})
        return self._reply(error.status, f"<ErrorResponse>{told}</ErrorResponse>")

    @staticmethod
    def _reply(status: int, text: str) -> bytes:
        return http_reply(status, text.encode(), content_type="text/xml")


def _xml(told: Mapping[str, Any]) -> str:
    return "".join(
        f"<{name}>{_xml(value) if isinstance(value, Mapping) else escape(str(value))}</{name}>" for name, value in told.items()
    )
