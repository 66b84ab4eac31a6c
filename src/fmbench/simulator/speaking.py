"""What a request asks for, and in which words its reply is made."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import orjson

from fmbench.simulator.envelopes import PLAIN, SAGEMAKER, Envelope, http_reply
from fmbench.simulator.formats import CHAT, COMPLETIONS, TGI, TGI_LIST, Asked, Format

__all__ = ["NotUnderstood", "Speaker", "understood"]

CONTAINER: dict[str, Format] = {"messages": CHAT, "prompt": COMPLETIONS, "inputs": TGI_LIST}
"""Behind a SageMaker endpoint a body's own words tell the protocol."""
PLACES: dict[str, tuple[Format, bool | None]] = {
    "/v1/chat/completions": (CHAT, None),
    "/v1/completions": (COMPLETIONS, None),
    "/generate": (TGI, False),
    "/generate_stream": (TGI, True),
    "/": (TGI_LIST, None),
}
"""Paths, and whether they stream; ``None`` where the body says so."""


class NotUnderstood(Exception):
    """There is nothing to do for this request; holds the reply that says so."""

    def __init__(self, reply: bytes, status: int) -> None:
        super().__init__(status)
        self.reply = reply
        self.status = status


class Speaker(NamedTuple):
    """A protocol in its envelope."""

    form: Format
    envelope: Envelope

    def first(self) -> bytes:
        """The head of a stream, and what goes before its first token."""
        return _first(self)

    def token(self, index: int) -> bytes:
        """One token."""
        return self.envelope.part(self.form.token(index))

    def last(self, asked: Asked) -> bytes:
        """What goes behind the last token, to the reply's end."""
        return self.envelope.part(self.form.closing(asked)) + b"0\r\n\r\n"

    def whole(self, asked: Asked) -> bytes:
        """An unstreamed reply."""
        return http_reply(200, self.form.whole(asked))

    def error(self, status: int, message: str) -> bytes:
        """A reply that is an error."""
        return self.envelope.error(self.form, status, message)

    def malformed(self, *, streamed: bool) -> bytes:
        """What is no JSON, in the middle of a stream or as a reply."""
        if streamed:
            return self.envelope.part(b'data: {"choices": [{oops\n\n') + b"0\r\n\r\n"
        return http_reply(200, b'{"choices": [{oops')

    def error_inside(self, *, streamed: bool) -> bytes:
        """An error where all had begun well."""
        if streamed:
            return self.envelope.broken_part(self.form) + b"0\r\n\r\n"
        return http_reply(200, self.form.error(500, "a simulated failure of the model"))


@cache
def _first(speaker: Speaker) -> bytes:
    form, envelope = speaker
    return envelope.head(form) + envelope.part(form.opening())


def understood(method: str, path: str, raw: bytes, *, natural: int | None) -> tuple[Speaker, Asked]:
    """Read a request.

    Args:
        method: The HTTP method.
        path: Its path.
        raw: Its body.
        natural: After how many tokens the model ends by itself, unless it is told to ignore that; ``None`` for never.

    Raises:
        NotUnderstood: it asks for nothing that there is.
    """
    envelope, form, streams = _place(path)
    speaker = Speaker(form, envelope)
    if method != "POST":
        raise NotUnderstood(speaker.error(405, f"{path} takes POST, not {method}"), 405)
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise NotUnderstood(speaker.error(400, f"the body is not JSON: {error}"), 400) from None
    if not isinstance(body, dict):
        raise NotUnderstood(speaker.error(400, "the body is not a JSON object"), 400)
    if envelope is SAGEMAKER:
        found = next((known for word, known in CONTAINER.items() if word in body), None)
        if found is None:
            raise NotUnderstood(speaker.error(400, f"the body has none of {', '.join(CONTAINER)}"), 400)
        speaker = Speaker(found, envelope)
    streamed = bool(body.get("stream")) if streams is None else streams
    if (wrong := _wrong_length(body)) is not None:
        raise NotUnderstood(speaker.error(400, wrong), 400)
    return speaker, _asked(body, speaker.form, streamed=streamed, natural=natural)


def _place(path: str) -> tuple[Envelope, Format, bool | None]:
    path = path.partition("?")[0]
    if path.startswith("/endpoints/"):
        action = path.rpartition("/")[2]
        if action in {"invocations", "invocations-response-stream"}:
            return SAGEMAKER, TGI_LIST, action == "invocations-response-stream"
    if path not in PLACES:
        raise NotUnderstood(http_reply(404, CHAT.error(404, f"there is no {path} here")), 404)
    form, streams = PLACES[path]
    return PLAIN, form, streams


_LENGTHS = ("max_tokens", "max_completion_tokens", "max_new_tokens")


def _options(body: Mapping[str, Any]) -> dict[str, Any]:
    given = body.get("parameters")
    return {**body, **(given if isinstance(given, dict) else {})}


def _wrong_length(body: Mapping[str, Any]) -> str | None:
    for name in _LENGTHS:
        value = _options(body).get(name)
        if value is not None and not (type(value) is int and value > 0):
            return f"{name} must be a whole number above 0, not {value!r}"
    return None


def _asked(body: Mapping[str, Any], form: Format, *, streamed: bool, natural: int | None) -> Asked:
    options = _options(body)
    most = next((value for name in _LENGTHS if (value := options.get(name)) is not None), None)
    ends = None if options.get("ignore_eos") else natural
    output = min(filter(None, (most, ends)), default=100)
    stream_options = body.get("stream_options")
    usage = isinstance(stream_options, dict) and bool(stream_options.get("include_usage"))
    return Asked(
        prompt_tokens=max(1, form.counted(body)),
        output_tokens=output,
        finish_reason="length" if output == most else "stop",
        streamed=streamed,
        usage=usage,
    )
