"""What SageMaker's runtime puts around a model's reply: its event stream, and its own errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from fmbench import Completion, Decoder, Delta, Head, InvokeError
from fmbench.invokers.failures import Failures
from fmbench.invokers.guarded import MOST_START
from fmbench.wire import EventStreamReader, Message

__all__ = ["StreamDecoder", "refuse"]

KINDS = {
    "ModelError": "model_error",
    "ThrottlingException": "throttled",
    "Throttling": "throttled",
    "ServiceUnavailable": "not_ready",
    "ServiceUnavailableException": "not_ready",
    "ModelNotReadyException": "not_ready",
    "ValidationError": "validation",
    "ValidationException": "validation",
    "AccessDeniedException": "unauthorized",
    "InvalidSignatureException": "unauthorized",
    "UnrecognizedClientException": "unauthorized",
    "ExpiredTokenException": "unauthorized",
    "InternalFailure": "server",
    "InternalDependencyException": "server",
    "ModelStreamError": "model_error",
    "InternalStreamFailure": "server",
}
"""AWS's errors; ``ThrottlingException`` comes with the status 400, so that the status alone does not tell."""


class Lines:
    """A body's lines, of JSON or of server-sent events alike, as events in pieces of their own."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, payload: bytes) -> list[bytes]:
        """The events that these bytes complete."""
        *lines, self._rest = (self._rest + payload).split(b"\n")
        return [event for line in lines if (event := self._event(line))]

    def close(self) -> list[bytes]:
        """A last line without its end."""
        rest, self._rest = self._rest, b""
        return [event] if (event := self._event(rest)) else []

    @staticmethod
    def _event(line: bytes) -> bytes:
        line = line.strip()
        if not line or line.startswith((b":", b"event:", b"id:", b"retry:")):
            return b""
        return b"data: " + line.removeprefix(b"data:").strip() + b"\n\n"


class StreamDecoder:
    """Decodes the model's reply inside an event stream; a line's time is that of the piece that completed it.

    Args:
        inner: Decodes the reply, given an event at a time.
        failures: Makes errors.
    """

    __slots__ = ("_arrived", "_failure", "_failures", "_inner", "_lines", "_piece", "_reader", "_start")

    def __init__(self, inner: Decoder, failures: Failures) -> None:
        self._inner = inner
        self._failures = failures
        self._reader = EventStreamReader()
        self._lines = Lines()
        self._piece = -1
        self._arrived: list[int] = []
        """The piece that completed each event."""
        self._start = b""
        self._failure: InvokeError | None = None

    @property
    def deltas(self) -> Sequence[Delta]:
        """What came, by the pieces of the connection."""
        return [delta._replace(piece=self._arrived[delta.piece]) for delta in self._inner.deltas]

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._piece += 1
        if len(self._start) < MOST_START:
            self._start += piece
        for message in self._reader.feed(piece):
            self._take(message)

    def close(self, head: Head) -> Completion:
        """The body has ended.

        Raises:
            InvokeError: AWS or the model said that it failed, the stream is damaged, or it ended early.
        """
        refuse(head, self._start, self._failures)
        if self._failure is not None:
            raise self._failure
        self._reader.close()
        self._pass_on(self._lines.close())
        reply = self._inner.close(head)
        return Completion(
            deltas=self.deltas, streamed=True, finish_reason=reply.finish_reason, usage=reply.usage, model=reply.model,
            timings=reply.timings,
        )  # fmt: skip

    def _take(self, message: Message) -> None:
        if self._failure is not None:
            return
        if message.headers.get(":message-type") == "event":
            self._pass_on(self._lines.feed(message.payload))
        else:
            name = str(message.headers.get(":exception-type") or message.headers.get(":error-code") or "an unnamed error")
            told = _told(message.payload) or str(message.headers.get(":error-message", ""))
            self._failure = InvokeError(KINDS.get(name, "server"), self._failures.shortened(f"{name}: {told}"))

    def _pass_on(self, events: Sequence[bytes]) -> None:
        for event in events:
            self._arrived.append(self._piece)
            self._inner.feed(event)


def refuse(head: Head, body: bytes, failures: Failures) -> None:
    """Raise for a status that is no success, by AWS's name of the error where it gives one."""
    name = head.headers.get("x-amzn-errortype", "").partition(":")[0]
    if head.status is None or 200 <= head.status < 300 or name not in KINDS:
        failures.refuse_status(head, body)
        return
    told = _told(body)
    kind = "timeout" if name == "ModelError" and "invocation timed out" in told else KINDS[name]  # AWS's own limit, of 60 s
    raise InvokeError(kind, failures.shortened(f"HTTP {head.status} {name}: {told}"), head.status)


def _told(body: bytes) -> str:
    """AWS's message, and the model's own where that is the matter."""
    try:
        reply: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
    if not isinstance(reply, dict):
        return str(reply)
    told = reply.get("OriginalMessage") or reply.get("Message") or reply.get("message") or "no message"
    status = reply.get("OriginalStatusCode")
    return f"{told}" if status is None else f"the model answered {status}: {told}"
