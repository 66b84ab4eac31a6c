"""How replies are put on the wire: as plain HTTP, or as SageMaker's runtime puts a container's. Pure."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from functools import cache
from typing import Protocol

import orjson

from fmbench.simulator.formats import Format

__all__ = ["PLAIN", "SAGEMAKER", "Envelope", "event_frame", "http_reply"]

EVENT_STREAM = "application/vnd.amazon.eventstream"
END = b"0\r\n\r\n"
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 422: "Unprocessable Entity"}
_REASONS |= {424: "Failed Dependency", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}


class Envelope(Protocol):
    """Around a container's words."""

    def head(self, form: Format) -> bytes:
        """The head of a stream."""
        ...

    def part(self, payload: bytes) -> bytes:
        """A piece of a stream."""
        ...

    def broken_part(self, form: Format) -> bytes:
        """An error of the server in the middle of a stream."""
        ...

    def error(self, form: Format, status: int, message: str) -> bytes:
        """A whole reply that is an error."""
        ...


def http_reply(status: int, body: bytes, *, content_type: str = "application/json", extra: bytes = b"") -> bytes:
    """A whole HTTP reply."""
    reason = _REASONS.get(status, "Said")
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n".encode()
    return head + extra + b"\r\n" + body


class _Plain:
    def head(self, form: Format) -> bytes:
        return _stream_head(form.content_type)

    def part(self, payload: bytes) -> bytes:
        return _chunk(payload) if payload else b""

    def broken_part(self, form: Format) -> bytes:
        return _chunk(form.error_event())

    def error(self, form: Format, status: int, message: str) -> bytes:
        return http_reply(status, form.error(status, message))


class _SageMaker:
    """``InvokeEndpoint`` and ``InvokeEndpointWithResponseStream``, with the errors as AWS's clients know them."""

    def head(self, form: Format) -> bytes:
        return _stream_head(EVENT_STREAM, f"X-Amzn-SageMaker-Content-Type: {form.content_type}\r\n".encode())

    def part(self, payload: bytes) -> bytes:
        return _payload_part(payload) if payload else b""

    def broken_part(self, form: Format) -> bytes:
        said = orjson.dumps({"Message": "a simulated failure of the model", "ErrorCode": "ModelInvocationTimeExceeded"})
        names = {":message-type": "exception", ":exception-type": "ModelStreamError", ":content-type": form.content_type}
        return _chunk(event_frame(names, said))

    def error(self, form: Format, status: int, message: str) -> bytes:
        if status == 429:
            return _aws_error(400, "ThrottlingException", {"Message": message})
        if status == 503:
            return _aws_error(503, "ServiceUnavailable", {"Message": message})
        if status in {400, 404, 422}:
            return _aws_error(400, "ValidationError", {"Message": message})
        told = form.error(status, message).decode()
        said = f"Received server error ({status}) from model with message {told!r}"
        return _aws_error(424, "ModelError", {"Message": said, "OriginalStatusCode": status, "OriginalMessage": told})


@cache
def _payload_part(payload: bytes) -> bytes:
    names = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
    return _chunk(event_frame(names, payload))


def event_frame(names: Mapping[str, str], payload: bytes) -> bytes:
    """One message of ``vnd.amazon.eventstream``: lengths and their CRC, headers of type string, the payload, a CRC of all."""
    headers = b"".join(
        struct.pack(">B", len(name)) + name.encode() + struct.pack(">BH", 7, len(value)) + value.encode()
        for name, value in names.items()
    )
    lengths = struct.pack(">II", len(headers) + len(payload) + 16, len(headers))
    message = lengths + struct.pack(">I", zlib.crc32(lengths)) + headers + payload
    return message + struct.pack(">I", zlib.crc32(message))


def _aws_error(status: int, kind: str, body: Mapping[str, object]) -> bytes:
    extra = f"x-amzn-ErrorType: {kind}\r\nx-amzn-RequestId: simulated\r\n".encode()
    return http_reply(status, orjson.dumps(body), extra=extra)


def _stream_head(content_type: str, extra: bytes = b"") -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nTransfer-Encoding: chunked\r\n".encode() + extra + b"\r\n"


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


PLAIN = _Plain()
SAGEMAKER = _SageMaker()
