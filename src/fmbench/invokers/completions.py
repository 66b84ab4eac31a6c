"""Replies of the completions protocols: event streams and whole ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import orjson

from fmbench import Completion, Delta, Head, InvokeError, Usage
from fmbench.invokers.failures import NO_FAILURES, Failures, not_json
from fmbench.invokers.mould import NO_MOULD, Mould, around
from fmbench.invokers.whole import WholeReply
from fmbench.wire import EventReader

__all__ = ["EventDecoder", "WholeDecoder"]

MOST_START = 1200
"""Bytes kept from a body's start, to quote from when it turns out to be no reply."""

Kind = Literal["text", "reasoning", "tool"]
ODD = (AttributeError, IndexError, KeyError, TypeError)
"""What taking a reply apart raises where a part is not of the type it should be."""

LESSONS = 8
"""How often a reply's mould is learnt anew where something but the content changes, such as a time of day."""

# A Delta a token: its own constructor, which is a Python function, takes three times as long as the tuple's.
_make = tuple.__new__


class EventDecoder:
    """Decodes an event stream as it arrives. A reply is complete when a finish reason was seen, ``[DONE]`` or not.

    Args:
        failures: Makes its errors.
    """

    __slots__ = (
        "_between_events",
        "_events",
        "_failure",
        "_failures",
        "_finish_reason",
        "_lessons",
        "_model",
        "_mould",
        "_piece",
        "_plain",
        "_start",
        "_timings",
        "_tokens_told",
        "_usage",
        "deltas",
    )

    def __init__(self, failures: Failures = NO_FAILURES) -> None:
        self.deltas: list[Delta] = []
        self._failures = failures
        self._events = EventReader()
        self._between_events = False
        self._plain = False
        """Whether the first event was a good one, so that the next may take the short way."""
        self._start = b""
        self._piece = -1
        self._tokens_told = 0
        self._finish_reason: str | None = None
        self._usage: Any = None
        self._model: str | None = None
        self._timings: dict[str, Any] | None = None
        self._failure: InvokeError | None = None
        self._mould: Mould = NO_MOULD
        self._lessons = LESSONS

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._piece += 1
        if self._between_events:
            before, after, kind, start, stop = self._mould
            if piece.startswith(before) and piece.endswith(after):
                try:
                    text = orjson.loads(piece[start:-stop])
                except orjson.JSONDecodeError:
                    pass  # more than a string, or less: another event altogether
                else:
                    if text:
                        self.deltas.append(_make(Delta, (self._piece, kind, text, None)))
                    return
            if self._one_event(piece):
                return
        if len(self._start) < MOST_START:
            self._start += piece
        for data in self._events.feed(piece):
            self._event(data)
        self._between_events = piece[-2:] == b"\n\n"

    def _one_event(self, piece: bytes) -> bool:
        """Take a piece that is one whole event on one line, as it mostly is; whether it was."""
        # Of all ways to look at bytes, partition is the quickest by half.
        line, _, rest = piece.partition(b"\n")
        before, _, data = line.partition(b"data: ")
        if rest != b"\n" or before:
            return False
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            return False
        known = len(self.deltas)
        self._take(chunk, data)
        if self._lessons and len(self.deltas) == known + 1:
            self._learn(piece, chunk)
        return True

    def close(self, head: Head) -> Completion:
        """The body has ended.

        Raises:
            InvokeError: the status or an event was an error, or no finish reason was seen.
        """
        for data in self._events.close():
            self._event(data)
        self._failures.refuse_status(head, self._start)
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
        try:
            chunk = orjson.loads(data)
        except orjson.JSONDecodeError:
            if data != b"[DONE]":
                self._fail(self._failures.not_completion("an event is not JSON", data))
        else:
            self._take(chunk, data)

    def _take(self, chunk: Any, data: bytes) -> None:
        """Take one event: by the short way if it is content and nothing else, which nearly every event is."""
        if self._plain:
            try:
                choice = chunk["choices"][0]
                delta = choice.get("delta")
                text = choice.get("text") if delta is None else delta.get("content")
                if (
                    text.__class__ is str
                    and text
                    and (delta is None or len(delta) == 1)
                    and choice.get("finish_reason") is None
                    and choice.get("token_ids") is None
                ):
                    usage, timings = chunk.get("usage"), chunk.get("timings")
                    tokens = None if usage is None and timings is None else self._counted(usage, timings)
                    self.deltas.append(_make(Delta, (self._piece, "text", text, tokens)))
                    return
            except ODD:
                pass  # not the usual event: _other says what it is
        if self._failure is None:
            self._other(chunk, data)

    def _learn(self, piece: bytes, chunk: dict[str, Any]) -> None:
        """Let the events that follow be compared with this one, if it brought one content and nothing else."""
        [_, kind, text, tokens], choices = self.deltas[-1], chunk.get("choices")
        more = chunk.get("usage"), chunk.get("timings"), tokens
        if choices and only(choices).get("finish_reason") is None and more == (None, None, None) and kind != "tool":
            self._lessons -= 1
            self._mould = around(piece, text, kind, lambda other: contents_of(only(other["choices"])))

    def _other(self, chunk: Any, data: bytes) -> None:
        if not isinstance(chunk, dict):
            self._fail(self._failures.not_completion("an event is not a JSON object", data))
        elif chunk.get("error") or chunk.get("object") == "error":
            self._fail(self._failures.of_model(chunk))
        else:
            try:
                self._chunk(chunk)
                self._plain = True
            except ODD:
                self._fail(self._failures.not_completion("an event is not a completion", data))

    def _chunk(self, chunk: dict[str, Any]) -> None:
        if self._model is None:
            self._model = _text_or_none(chunk.get("model"))
        was_counting = self._tokens_told > 0
        tokens = self._counted(chunk.get("usage"), chunk.get("timings"))
        choices = chunk.get("choices")
        if not choices:
            if tokens and was_counting:
                self.deltas.append(Delta(self._piece, "text", "", tokens))
            return
        choice = only(choices)
        if (ids := choice.get("token_ids")) is not None:
            tokens = len(ids)
        self.deltas += _deltas(self._piece, contents_of(choice), tokens)
        if reason := choice.get("finish_reason"):
            self._finish_reason = str(reason)
            if reason == "error":
                self._fail(InvokeError("model_error", "the server ended the reply with finish_reason error"))

    def _counted(self, usage: Any, timings: Any) -> int | None:
        """How many tokens this chunk brought, from whichever running count the server keeps; ``None`` where it keeps none."""
        so_far = None
        if usage is not None:
            self._usage = usage
            so_far = count_in(usage, "completion_tokens")
        if timings.__class__ is dict:
            self._timings = timings
            if (predicted := count_in(timings, "predicted_n")) is not None:
                so_far = predicted
        if so_far is None or (self._tokens_told == 0 and self.deltas):
            return None  # a count that comes only at the end tells nothing of the chunks before
        new = so_far - self._tokens_told
        self._tokens_told = so_far
        return new if new >= 0 else None

    def _fail(self, failure: InvokeError) -> None:
        if self._failure is None:
            self._failure = failure
            self._plain = False
            self._mould = NO_MOULD
            self._lessons = 0

    def _incomplete(self, head: Head) -> InvokeError:
        if not self.deltas and (told := self._failures.not_events(head, self._start)) is not None:
            return told
        return InvokeError(
            "incomplete", f"the stream ended without a finish reason, after {len(self.deltas)} chunks", head.status
        )


class WholeDecoder(WholeReply):
    """Decodes a reply that is one JSON document.

    Args:
        failures: Makes its errors.
    """

    __slots__ = ()

    def close(self, head: Head) -> Completion:
        """The body has ended.

        Raises:
            InvokeError: the status is an error, or the body is not a completion.
        """
        body = self._body()
        self._failures.refuse_status(head, body)
        try:
            reply = orjson.loads(body)
            if reply.get("error") or reply.get("object") == "error":
                raise self._failures.of_model(reply)
            choice = only(reply["choices"])
            usage = usage_of(reply.get("usage"))
            told = None if usage is None else usage.completion_tokens
            self.deltas.extend(_deltas(len(self._pieces) - 1, contents_of(choice), told))
            reason, timings = choice.get("finish_reason"), reply.get("timings")
        except (orjson.JSONDecodeError, *ODD):
            raise self._no_completion(head, body) from None
        if not reason or reason == "error":
            what = "incomplete" if not reason else "model_error"
            raise InvokeError(what, f"the reply's finish_reason is {reason or 'missing'}", head.status)
        return Completion(
            deltas=self.deltas,
            streamed=False,
            finish_reason=str(reason),
            usage=usage,
            model=_text_or_none(reply.get("model")),
            timings=timings if isinstance(timings, dict) else None,
        )

    def _no_completion(self, head: Head, body: bytes) -> InvokeError:
        if (told := not_json(head, body)) is not None:
            return InvokeError("decode", told, head.status)
        return self._failures.not_completion("not a completion", body, head.status)


def usage_of(usage: Any) -> Usage | None:
    """OpenAI's usage object. A count that is no whole number is one that was not told."""
    if not usage or not isinstance(usage, dict):
        return None
    details = usage.get("prompt_tokens_details")
    return Usage(
        prompt_tokens=count_in(usage, "prompt_tokens"),
        completion_tokens=count_in(usage, "completion_tokens"),
        cached_tokens=None if details is None else count_in(details, "cached_tokens"),
    )


def count_in(counts: Any, name: str) -> int | None:
    """A count out of an object that may be none; ``None`` for anything that is no count."""
    value = counts.get(name) if isinstance(counts, dict) else None
    return value if type(value) is int and value >= 0 else None


def only(choices: Any) -> dict[str, Any]:
    """The one choice that was asked for.

    Raises:
        TypeError: there are others, whose tokens could not be told from its own.
    """
    choice: dict[str, Any] = choices[0]
    if len(choices) > 1 or choice.get("index"):
        raise TypeError("more than one choice")
    return choice


def contents_of(choice: Mapping[str, Any]) -> list[tuple[Kind, str]]:
    """What a choice brings, by kind; a reply may bring reasoning, text and calls of tools together.

    Raises:
        TypeError: some of it is no text.
    """
    delta = choice.get("delta") or choice.get("message")
    if delta is None:
        return [("text", _checked(text))] if (text := choice.get("text")) else []
    contents: list[tuple[Kind, str]] = []
    if reasoning := delta.get("reasoning_content") or delta.get("reasoning"):
        contents.append(("reasoning", _checked(reasoning)))
    if text := delta.get("content") or delta.get("refusal"):
        contents.append(("text", _checked(text)))
    if calls := delta.get("tool_calls"):
        functions = [call.get("function") or {} for call in calls]
        contents.append(("tool", "".join((one.get("name") or "") + (one.get("arguments") or "") for one in functions)))
    return contents


def _checked(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("content is no text")
    return text


def _deltas(piece: int, contents: list[tuple[Kind, str]], tokens: int | None) -> list[Delta]:
    """A chunk's deltas. Its tokens are told together, so the first delta has them all."""
    if not contents:
        return [Delta(piece, "text", "", tokens)] if tokens else []
    [(kind, text), *others] = contents
    if not others:
        return [Delta(piece, kind, text, tokens)]
    rest = None if tokens is None else 0
    return [Delta(piece, kind, text, tokens), *(Delta(piece, other, more, rest) for other, more in others)]


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None
