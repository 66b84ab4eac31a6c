"""Replies of the completions protocols: event streams and whole ones, and what servers say when they fail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from fmbench import Completion, Delta, Head, InvokeError, Usage
from fmbench.wire import EventReader

__all__ = ["EventDecoder", "WholeDecoder"]

MOST_MESSAGE = 300
"""Characters of a server's message that are kept."""

_KINDS = {400: "validation", 401: "unauthorized", 403: "unauthorized", 404: "not_found", 413: "validation", 422: "validation"}
_KINDS |= {429: "throttled", 503: "not_ready"}


class EventDecoder:
    """Decodes an event stream as it arrives. A reply is complete when a finish reason was seen, ``[DONE]`` or not."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self._events = EventReader()
        self._start = b""
        self._piece = -1
        self._tokens_told = 0
        self._finish_reason: str | None = None
        self._usage: dict[str, Any] | None = None
        self._model: str | None = None
        self._timings: dict[str, Any] | None = None
        self._failure: InvokeError | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._piece += 1
        if len(self._start) < MOST_MESSAGE * 4:
            self._start += piece
        for data in self._events.feed(piece):
            self._event(data)

    def close(self, head: Head) -> Completion:
        """The body has ended.

        Raises:
            InvokeError: the status or an event was an error, or no finish reason was seen.
        """
        for data in self._events.close():
            self._event(data)
        _refuse_status(head, self._start)
        if self._failure is not None:
            raise self._failure
        if self._finish_reason is None:
            raise self._incomplete(head)
        return Completion(
            deltas=self.deltas,
            streamed=True,
            finish_reason=self._finish_reason,
            usage=usage_of(self._usage),
            model=self._model,
            timings=self._timings,
        )

    def _event(self, data: bytes) -> None:
        if data == b"[DONE]" or self._failure is not None:
            return
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            self._failure = InvokeError("decode", f"an event is not JSON: {_shortened(data)}")
            return
        if not isinstance(chunk, dict):
            self._failure = InvokeError("decode", f"an event is not a JSON object: {_shortened(data)}")
            return
        if chunk.get("error"):
            self._failure = InvokeError("model_error", _message(chunk) or "the server reported an error in mid-stream")
            return
        try:
            self._chunk(chunk)
        except (AttributeError, KeyError, TypeError, IndexError):
            self._failure = InvokeError("decode", f"an event is not a completion: {_shortened(data)}")

    def _chunk(self, chunk: dict[str, Any]) -> None:
        if (usage := chunk.get("usage")) is not None:
            self._usage = usage
        if (timings := chunk.get("timings")) is not None:
            self._timings = timings
        if self._model is None:
            self._model = chunk.get("model")
        choices = chunk.get("choices")
        if not choices:
            return
        choice = choices[0]
        kind, text = _content(choice)
        tokens = self._new_tokens(choice, usage, timings)
        if text or tokens:
            self.deltas.append(Delta(self._piece, kind, text, tokens))
        if reason := choice.get("finish_reason"):
            self._finish_reason = reason

    def _new_tokens(
        self, choice: Mapping[str, Any], usage: Mapping[str, Any] | None, timings: Mapping[str, Any] | None
    ) -> int | None:
        """How many tokens this chunk brought, from whichever running count the server keeps; ``None`` where it keeps none."""
        if (ids := choice.get("token_ids")) is not None:
            return len(ids)
        so_far = (
            timings.get("predicted_n") if timings is not None else usage.get("completion_tokens") if usage is not None else None
        )
        if so_far is None or (self._tokens_told == 0 and self.deltas):
            return None  # a count that comes only at the end tells nothing of the chunks before
        new: int = so_far - self._tokens_told
        self._tokens_told = so_far
        return new

    def _incomplete(self, head: Head) -> InvokeError:
        if not self.deltas and (told := _not_events(head, self._start)) is not None:
            return InvokeError("decode", told, head.status)
        return InvokeError(
            "incomplete", f"the stream ended without a finish reason, after {len(self.deltas)} chunks", head.status
        )


class WholeDecoder:
    """Decodes a reply that is one JSON document."""

    def __init__(self) -> None:
        self.deltas: list[Delta] = []
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._pieces.append(piece)

    def close(self, head: Head) -> Completion:
        """The body has ended.

        Raises:
            InvokeError: the status is an error, or the body is not a completion.
        """
        body = b"".join(self._pieces)
        _refuse_status(head, body)
        try:
            reply = orjson.loads(body)
            if reply.get("error"):
                raise InvokeError("model_error", _message(reply) or "the server reported an error", head.status)
            choice = reply["choices"][0]
            kind, text = _content(choice)
            usage = usage_of(reply.get("usage"))
        except (orjson.JSONDecodeError, AttributeError, KeyError, TypeError, IndexError):
            raise InvokeError("decode", _not_json(head, body) or f"not a completion: {_shortened(body)}", head.status) from None
        told = None if usage is None else usage.completion_tokens
        if text or told:
            self.deltas.append(Delta(len(self._pieces) - 1, kind, text, told))
        if not choice.get("finish_reason"):
            raise InvokeError("incomplete", "the reply has no finish reason", head.status)
        return Completion(
            deltas=self.deltas,
            streamed=False,
            finish_reason=choice["finish_reason"],
            usage=usage,
            model=reply.get("model"),
            timings=reply.get("timings"),
        )


def usage_of(usage: Mapping[str, Any] | None) -> Usage | None:
    """OpenAI's usage object."""
    if not usage:
        return None
    details = usage.get("prompt_tokens_details") or {}
    return Usage(
        prompt_tokens=usage.get("prompt_tokens"),
        completion_tokens=usage.get("completion_tokens"),
        cached_tokens=details.get("cached_tokens"),
    )


def _content(choice: Mapping[str, Any]) -> tuple[Literal["text", "reasoning", "tool"], str]:
    delta = choice.get("delta")
    if delta is None:
        delta = choice.get("message")
    if delta is None:
        return "text", choice.get("text") or ""
    if text := delta.get("content"):
        return "text", text
    if text := delta.get("reasoning_content") or delta.get("reasoning"):
        return "reasoning", text
    if calls := delta.get("tool_calls"):
        functions = [call.get("function") or {} for call in calls]
        return "tool", "".join((function.get("name") or "") + (function.get("arguments") or "") for function in functions)
    return "text", ""


def _refuse_status(head: Head, body: bytes) -> None:
    status = head.status
    if status is not None and 200 <= status < 300:
        return
    if status is None:
        raise InvokeError("incomplete", "there was no reply")
    kind = _KINDS.get(status, "server" if status >= 500 else "http")
    raise InvokeError(kind, f"HTTP {status}: {_told(head, body)}", status)


def _told(head: Head, body: bytes) -> str:
    try:
        message = _message(orjson.loads(body))
    except orjson.JSONDecodeError:
        message = None
    if message is None and 300 <= (head.status or 0) < 400:
        message = f"a redirect to {head.headers.get('location', 'nowhere')}, which is not followed: use that address"
    return message or _not_json(head, body) or _shortened(body) or "no message"


def _message(reply: Any) -> str | None:
    """What a server says went wrong, in any of the usual shapes."""
    if not isinstance(reply, dict):
        return None
    error = reply.get("error", reply)
    if isinstance(error, dict):
        error = error.get("message") or error.get("detail") or error.get("type") or error.get("code")
    return None if error is None else _shortened(error if isinstance(error, str) else str(error))


def _not_events(head: Head, body: bytes) -> str | None:
    if (told := _not_json(head, body)) is not None:
        return told
    if body.lstrip()[:1] in (b"{", b"["):
        return f"a whole JSON document came instead of an event stream; is streaming supported there? {_shortened(body)}"
    return None


def _not_json(head: Head, body: bytes) -> str | None:
    kind = head.headers.get("content-type", "")
    if "html" in kind or body.lstrip()[:1] == b"<":
        return "HTML came instead of JSON: is the URL the API's root, and not a web page's or a proxy's?"
    return None


def _shortened(text: bytes | str) -> str:
    text = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    text = " ".join(text.split())
    return text if len(text) <= MOST_MESSAGE else text[: MOST_MESSAGE - 1] + "…"
