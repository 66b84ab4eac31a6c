"""What the protocols' replies look like: OpenAI's chat and completions, and TGI's. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import orjson

__all__ = ["CHAT", "COMPLETIONS", "TGI", "TGI_LIST", "WORD", "Asked", "Format"]

WORD = "word "
"""What every token says."""
MODEL = "simulated"


class Asked(NamedTuple):
    """What a request asks for."""

    prompt_tokens: int
    output_tokens: int
    finish_reason: str
    """``length`` where the answer is cut off there, ``stop`` where the model would have ended by itself."""
    streamed: bool
    usage: bool
    """Whether a streamed reply ends with its counts of tokens."""


class Format(Protocol):
    """One protocol's bodies."""

    @property
    def content_type(self) -> str:
        """Of a stream."""
        ...

    def counted(self, body: Mapping[str, Any]) -> int:
        """The prompt's length: its words."""
        ...

    def opening(self) -> bytes:
        """What goes before the first token."""
        ...

    def token(self, index: int) -> bytes:
        """One token's event."""
        ...

    def closing(self, asked: Asked) -> bytes:
        """What goes behind the last token."""
        ...

    def whole(self, asked: Asked) -> bytes:
        """An unstreamed reply."""
        ...

    def error(self, status: int, message: str) -> bytes:
        """The body of a reply that is an error."""
        ...

    def error_event(self) -> bytes:
        """An error in the middle of a stream."""
        ...


class _OpenAI:
    content_type = "text/event-stream"

    def __init__(self, chat: bool) -> None:
        self._chat = chat
        self._kind = "chat.completion" if chat else "text_completion"
        self._token = self._event(self._choice({"content": WORD} if chat else WORD))

    def counted(self, body: Mapping[str, Any]) -> int:
        if not self._chat:
            return _words(body.get("prompt"))
        messages = body.get("messages")
        if not isinstance(messages, list):
            return 0
        return sum(_words(message.get("content")) for message in messages if isinstance(message, dict))

    def opening(self) -> bytes:
        return self._event(self._choice({"role": "assistant", "content": ""})) if self._chat else b""

    def token(self, index: int) -> bytes:  # noqa: ARG002 - a Format's
        return self._token

    def closing(self, asked: Asked) -> bytes:
        end = self._event(self._choice({} if self._chat else "", asked.finish_reason))
        counts = _sse({**self._frame(".chunk"), "choices": [], "usage": _usage(asked)}) if asked.usage else b""
        return end + counts + b"data: [DONE]\n\n"

    def whole(self, asked: Asked) -> bytes:
        text = WORD * asked.output_tokens
        content: dict[str, Any] = {"message": {"role": "assistant", "content": text}} if self._chat else {"text": text}
        choice = {"index": 0, **content, "finish_reason": asked.finish_reason}
        return orjson.dumps({**self._frame(""), "choices": [choice], "usage": _usage(asked)})

    def error(self, status: int, message: str) -> bytes:
        return orjson.dumps({"error": {"message": message, "type": "simulated", "code": status}})

    def error_event(self) -> bytes:
        return _sse({"error": {"message": "a simulated failure of the model", "type": "simulated", "code": 500}})

    def _event(self, choice: Mapping[str, Any]) -> bytes:
        return _sse({**self._frame(".chunk"), "choices": [choice]})

    def _choice(self, content: Any, reason: str | None = None) -> dict[str, Any]:
        return {"index": 0, "delta" if self._chat else "text": content, "finish_reason": reason}

    def _frame(self, suffix: str) -> dict[str, Any]:
        return {"id": MODEL, "object": self._kind + (suffix if self._chat else ""), "created": 0, "model": MODEL}


class _Tgi:
    content_type = "text/event-stream"

    def __init__(self, in_list: bool) -> None:
        self._in_list = in_list

    def counted(self, body: Mapping[str, Any]) -> int:
        return _words(body.get("inputs"))

    def opening(self) -> bytes:
        return b""

    def token(self, index: int) -> bytes:
        return b'data:{"index":%d,"token":%s,"generated_text":null,"details":null}\n\n' % (index + 1, _TGI_TOKEN)

    def closing(self, asked: Asked) -> bytes:
        """The last token's event tells the whole text; it is sent again as a special token of no length."""
        token = {"id": 2, "text": "", "logprob": None, "special": True}
        told = {"index": asked.output_tokens + 1, "token": token, "generated_text": WORD * asked.output_tokens}
        return b"data:" + orjson.dumps({**told, "details": _details(asked)}) + b"\n\n"

    def whole(self, asked: Asked) -> bytes:
        told = {"generated_text": WORD * asked.output_tokens, "details": {**_details(asked), "prefill": [], "tokens": []}}
        return orjson.dumps([told] if self._in_list else told)

    def error(self, status: int, message: str) -> bytes:
        return orjson.dumps({"error": message, "error_type": "overloaded" if status == 429 else "generation"})

    def error_event(self) -> bytes:
        told = {"error": "a simulated failure of the model", "error_type": "generation"}
        return b"data:" + orjson.dumps(told) + b"\n\n"


_TGI_TOKEN = orjson.dumps({"id": 1, "text": WORD, "logprob": -0.1, "special": False})


def _details(asked: Asked) -> dict[str, Any]:
    reason = "length" if asked.finish_reason == "length" else "eos_token"
    return {"finish_reason": reason, "generated_tokens": asked.output_tokens, "input_length": asked.prompt_tokens, "seed": None}


def _usage(asked: Asked) -> dict[str, int]:
    total = asked.prompt_tokens + asked.output_tokens
    return {"prompt_tokens": asked.prompt_tokens, "completion_tokens": asked.output_tokens, "total_tokens": total}


def _sse(value: Mapping[str, Any]) -> bytes:
    return b"data: " + orjson.dumps(value) + b"\n\n"


def _words(content: Any) -> int:
    if isinstance(content, str):
        return len(content.split())
    if isinstance(content, list):
        return sum(_words(part.get("text") if isinstance(part, dict) else part) for part in content)
    return 0


CHAT = _OpenAI(chat=True)
COMPLETIONS = _OpenAI(chat=False)
TGI = _Tgi(in_list=False)
TGI_LIST = _Tgi(in_list=True)
"""As its SageMaker container answers."""
