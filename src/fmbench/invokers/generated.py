"""Replies of TGI and of LMI's own protocol: ``generated_text``, whole or token by token."""

from __future__ import annotations

from typing import Any

import orjson

from fmbench import Completion, Delta, Head, InvokeError, Usage
from fmbench.invokers.completions import ODD, count_in
from fmbench.invokers.failures import Failures, not_json
from fmbench.invokers.whole import WholeReply
from fmbench.wire import EventReader

__all__ = ["GeneratedDecoder", "WholeGeneratedDecoder"]


class GeneratedDecoder:
    """Decodes a stream of ``{"token": …}`` events; it is complete when ``generated_text`` or a finish reason was seen.

    Args:
        failures: Makes its errors.
        counts: Whether an event is one token and its count can be believed. LMI's are not: an event may hold several tokens,
            and the count at its end is one too many.
    """

    __slots__ = ("_complete", "_counts", "_events", "_failure", "_failures", "_piece", "_reason", "_usage", "deltas")

    def __init__(self, failures: Failures, *, counts: bool) -> None:
        self.deltas: list[Delta] = []
        self._failures = failures
        self._counts = counts
        self._events = EventReader()
        self._piece = -1
        self._complete = False
        self._reason: str | None = None
        self._usage: Usage | None = None
        self._failure: InvokeError | None = None

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._piece += 1
        for data in self._events.feed(piece):
            self._event(data)

    def close(self, head: Head) -> Completion:
        """The body has ended.

        Raises:
            InvokeError: an event was an error, or the end was not seen.
        """
        for data in self._events.close():
            self._event(data)
        if self._failure is not None:
            raise self._failure
        if not self._complete:
            raise InvokeError("incomplete", f"the stream ended early, after {len(self.deltas)} tokens", head.status)
        return Completion(deltas=self.deltas, streamed=True, finish_reason=self._reason, usage=self._usage)

    def _event(self, data: bytes) -> None:
        if self._failure is not None or data == b"[DONE]":
            return
        try:
            event = orjson.loads(data)
            if event.get("error"):
                self._failure = self._failures.of_model(event)
            else:
                self._take(event)
        except orjson.JSONDecodeError:
            self._failure = self._failures.not_completion("an event is not JSON", data)
        except ODD:
            self._failure = self._failures.not_completion("an event is not a token", data)

    def _take(self, event: dict[str, Any]) -> None:
        details = event.get("details") or {}
        if details.get("finish_reason") == "error":
            self._failure = InvokeError("model_error", "the server ended the reply with finish_reason error")
            return
        if (outputs := event.get("outputs")) is not None:  # of LMI's older handlers
            [text] = outputs
            self.deltas.append(Delta(self._piece, text=_text(text)))
            self._complete = True  # no event says that it is the last one: the stream's own end does
            return
        token = event["token"] or {}
        text = "" if token.get("special") else _text(token.get("text", ""))
        if token:
            self.deltas.append(Delta(self._piece, text=text, tokens=1 if self._counts else None))
        if event.get("generated_text") is not None or details.get("finish_reason"):
            self._complete = True
            self._reason = details.get("finish_reason")
            self._usage = _usage(details) if self._counts else None


class WholeGeneratedDecoder(WholeReply):
    """Decodes a reply that is ``{"generated_text": …}``, or a list of one.

    Args:
        failures: Makes its errors.
    """

    __slots__ = ()

    def close(self, head: Head) -> Completion:
        """The body has ended.

        Raises:
            InvokeError: it is not such a reply, or an error.
        """
        body = self._body()
        try:
            reply = orjson.loads(body)
            [reply] = reply if isinstance(reply, list) else [reply]
            if reply.get("error"):
                raise self._failures.of_model(reply)
            text, details = _text(reply["generated_text"]), reply.get("details") or {}
            reason, usage = details.get("finish_reason"), _usage(details)
        except (orjson.JSONDecodeError, ValueError, *ODD):
            if (told := not_json(head, body)) is not None:
                raise InvokeError("decode", told, head.status) from None
            raise self._failures.not_completion("not a generated text", body, head.status) from None
        if reason == "error":
            raise InvokeError("model_error", "the reply's finish_reason is error", head.status)
        told_tokens = None if usage is None else usage.completion_tokens
        self.deltas.append(Delta(len(self._pieces) - 1, text=text, tokens=told_tokens))
        return Completion(deltas=self.deltas, streamed=False, finish_reason=reason, usage=usage)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("content is no text")
    return value


def _usage(details: Any) -> Usage | None:
    tokens = count_in(details, "generated_tokens")
    prompt = count_in(details, "input_length")
    return None if tokens is None else Usage(prompt_tokens=prompt, completion_tokens=tokens)
