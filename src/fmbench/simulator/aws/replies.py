"""What SageMaker's runtime puts around a container's words, and what goes wrong with it on purpose."""

from __future__ import annotations

import itertools
from typing import NamedTuple

import orjson

from fmbench.simulator.aws.options import ACCOUNT
from fmbench.simulator.envelopes import event_frame, http_reply
from fmbench.simulator.formats import Asked, Format

__all__ = ["Container", "Reply", "request_id", "runtime_error"]

EVENT_STREAM = "application/vnd.amazon.eventstream"
CUT_BYTES = 7
_requests = itertools.count(1)


def request_id() -> str:
    """AWS's own, which no two replies share."""
    return f"00000000-0000-4000-8000-{next(_requests):012x}"


def runtime_error(status: int, code: str, **body: object) -> bytes:
    """An error of the runtime."""
    extra = f"x-amzn-ErrorType: {code}\r\nx-amzn-RequestId: {request_id()}\r\n".encode()
    return http_reply(status, orjson.dumps(body), extra=extra)


class Container(NamedTuple):
    """Which container answers."""

    endpoint: str
    region: str
    variant: str
    image: str = ""

    def failed(self, status: int, said: str) -> bytes:
        """``ModelError``: the container answered with this status."""
        group = f"/aws/sagemaker/Endpoints/{self.endpoint}"
        whose = "client" if status < 500 else "server"
        where = (
            f"https://{self.region}.console.aws.amazon.com/cloudwatch/home?region={self.region}#logEventViewer:group={group}"
        )
        return runtime_error(
            424,
            "ModelError",
            Message=f'Received {whose} error ({status}) from primary with message "{said}". See {where} in account {ACCOUNT}'
            " for more information.",
            OriginalStatusCode=status,
            OriginalMessage=said,
            LogStreamArn=f"arn:aws:logs:{self.region}:{ACCOUNT}:log-group:{group}",
        )


class Reply:
    """Makes one reply's bytes: ``Speaking`` of the simulator's flights.

    Args:
        form: The container's words.
        container: Which one it is.
        asked: What is asked for.
        events: Whether the reply is an event stream, as it is of InvokeEndpointWithResponseStream.
        echoed: The request's custom attributes, which come back.
        fault: What goes wrong.
    """

    def __init__(
        self, form: Format, container: Container, asked: Asked, *, events: bool, echoed: str | None, fault: str | None
    ) -> None:
        self._form = form
        self._container = container
        self._events = events
        self._fault = fault
        self._late = asked.streamed and not events
        """A container's stream, asked for by InvokeEndpoint: its events come all at the end."""
        self._flipped_at = asked.output_tokens // 2
        extra = f"x-amzn-RequestId: {request_id()}\r\nx-Amzn-Invoked-Production-Variant: {container.variant}\r\n"
        if echoed is not None:
            extra += f"X-Amzn-SageMaker-Custom-Attributes: {echoed}\r\n"
        self._extra = extra.encode()

    def first(self) -> bytes:
        return self._head(self._form.content_type) + self._part(self._form.opening())

    def token(self, index: int) -> bytes:
        frames = self._part(self._form.token(index))
        if self._fault != "flip" or index != self._flipped_at:
            return frames
        place = len(frames) - 12  # in the payload, before its checksum and the chunk's end
        return frames[:place] + bytes([frames[place] ^ 0x10]) + frames[place + 1 :]

    def last(self, asked: Asked) -> bytes:
        return self._part(self._form.closing(asked)) + b"0\r\n\r\n"

    def whole(self, asked: Asked) -> bytes:
        if not self._late:
            return self._said(self._form.whole(asked), "application/json")
        tokens = b"".join(self._form.token(index) for index in range(asked.output_tokens))
        return self._said(self._form.opening() + tokens + self._form.closing(asked), self._form.content_type)

    def error(self, status: int, message: str) -> bytes:
        if self._fault == "429":
            return runtime_error(400, "ThrottlingException", Message="Rate exceeded")
        if self._fault == "503":
            return runtime_error(503, "ServiceUnavailable", Message="The service is currently unavailable.")
        if self._fault == "not_ready":
            return runtime_error(429, "ModelNotReadyException", Message="The model is not ready for inference yet.")
        return self._container.failed(status, self._form.error(status, message).decode())

    def malformed(self, *, streamed: bool) -> bytes:
        broken = b'data: {"choices": [{oops\n\n'
        return self._part(broken) + b"0\r\n\r\n" if streamed else self._said(b'[{"generated_text": oops', "application/json")

    def error_inside(self, *, streamed: bool) -> bytes:
        if not streamed:
            return self._container.failed(500, self._form.error(500, "a simulated failure of the model").decode())
        if self._fault == "error_line":
            return self._part(self._form.error_event()) + b"0\r\n\r\n"
        name = "InternalStreamFailure" if self._fault == "internal_stream" else "ModelStreamError"
        said = {"Message": "a simulated failure of the model"}
        if name == "ModelStreamError":
            said["ErrorCode"] = "ModelInvocationTimeExceeded"
        names = {":message-type": "exception", ":exception-type": name, ":content-type": "application/json"}
        return _chunk(event_frame(names, orjson.dumps(said))) + b"0\r\n\r\n"

    def _said(self, body: bytes, content_type: str) -> bytes:
        if self._events:
            return self._head(content_type) + self._part(body) + b"0\r\n\r\n"
        return http_reply(200, body, content_type=content_type, extra=self._extra)

    def _head(self, content_type: str) -> bytes:
        head = f"HTTP/1.1 200 OK\r\nContent-Type: {EVENT_STREAM}\r\nX-Amzn-SageMaker-Content-Type: {content_type}\r\n"
        return head.encode() + b"Transfer-Encoding: chunked\r\n" + self._extra + b"\r\n"

    def _part(self, payload: bytes) -> bytes:
        size = CUT_BYTES if self._fault == "cut" else max(1, len(payload))
        return b"".join(_payload_part(payload[start : start + size]) for start in range(0, len(payload), size))


def _payload_part(payload: bytes) -> bytes:
    names = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
    return _chunk(event_frame(names, payload))


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)
