"""What containers say and understand: TGI's and LMI's ``inputs``, and OpenAI's words as LMI and vLLM send them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from fmbench.simulator.formats import CHAT, COMPLETIONS, WORD, Asked, Format

__all__ = ["BadInput", "Dialect", "dialect_of", "understood"]

DEFAULT_TOKENS = {"tgi": 100, "lmi": 30, "openai": 100}
"""Of an answer whose length is not asked for. LMI: 30, as its documentation says."""
Dialect = str
_REASONS = {"stop": "eos_token", "length": "length"}


class BadInput(Exception):
    """The container cannot do anything with the body."""


def dialect_of(image: str) -> Dialect:
    """What a container of this image speaks: ``tgi``, ``lmi`` or ``openai``."""
    if "tgi-inference" in image or "huggingface-pytorch-inference" in image:
        return "tgi"
    return "openai" if "vllm" in image or "sglang" in image else "lmi"


@dataclass(frozen=True)
class _Generated:
    """TGI's replies, and LMI's, which are like them.

    Args:
        lmi: LMI's: lines of JSON in place of events, one object in place of a list.
        details: Whether the counts of tokens are asked for.
        echo: What goes before the text.
    """

    lmi: bool
    in_list: bool
    details: bool
    echo: str = ""

    @property
    def content_type(self) -> str:
        return "application/jsonlines" if self.lmi else "text/event-stream"

    def counted(self, body: Mapping[str, Any]) -> int:
        return max(1, len(str(body.get("inputs", "")).split()))

    def opening(self) -> bytes:
        return b""

    def token(self, index: int) -> bytes:
        return self._line({"index": index + 1, "token": _token(index), "generated_text": None, "details": None})

    def closing(self, asked: Asked) -> bytes:
        """The last event tells the whole text. LMI's counts one token too many there: its own defect."""
        extra = int(self.lmi)
        told = {"index": asked.output_tokens + 1, "token": {"id": 2, "text": "", "logprob": 0.0, "special": True}}
        told |= {"generated_text": WORD * asked.output_tokens, "details": self._counts(asked, extra)}
        return self._line(told) + (b"\n" if self.lmi else b"")

    def whole(self, asked: Asked) -> bytes:
        told: dict[str, Any] = {"generated_text": self.echo + WORD * asked.output_tokens}
        if self.details:
            told["details"] = self._counts(asked, 0)
        return orjson.dumps([told] if self.in_list else told)

    def error(self, status: int, message: str) -> bytes:
        if self.lmi:
            return orjson.dumps({"error": message, "code": status})
        return orjson.dumps({"error": message, "error_type": "overloaded" if status == 429 else "validation"})

    def error_event(self) -> bytes:
        """After the status 200."""
        if self.lmi:
            return self._line({"index": 0, "token": None, "generated_text": None, "details": {"finish_reason": "error"}})
        return self._line({"error": "a simulated failure of the model", "error_type": "generation"})

    def _counts(self, asked: Asked, extra: int) -> dict[str, Any] | None:
        if not self.details:
            return None
        told = {"finish_reason": _REASONS[asked.finish_reason], "generated_tokens": asked.output_tokens + extra}
        return {**told, "inputs" if self.lmi else "seed": None}

    def _line(self, told: Mapping[str, Any]) -> bytes:
        return orjson.dumps(told) + b"\n" if self.lmi else b"data:" + orjson.dumps(told) + b"\n\n"


def _token(index: int) -> dict[str, Any]:
    return {"id": 1000 + index % 1000, "text": WORD, "logprob": -0.1, "special": False}


@dataclass(frozen=True)
class _Lines:
    """OpenAI's words as LMI streams them: lines of JSON, without ``data:`` and without an end mark."""

    form: Format
    content_type: str = "application/jsonlines"

    def counted(self, body: Mapping[str, Any]) -> int:
        return self.form.counted(body)

    def opening(self) -> bytes:
        return _bare(self.form.opening())

    def token(self, index: int) -> bytes:
        return _bare(self.form.token(index))

    def closing(self, asked: Asked) -> bytes:
        return _bare(self.form.closing(asked))

    def whole(self, asked: Asked) -> bytes:
        return self.form.whole(asked)

    def error(self, status: int, message: str) -> bytes:
        return self.form.error(status, message)

    def error_event(self) -> bytes:
        return _bare(self.form.error_event())


def _bare(events: bytes) -> bytes:
    lines = [line.removeprefix(b"data: ") for line in events.split(b"\n\n")]
    return b"".join(line + b"\n" for line in lines if line and line != b"[DONE]")


def understood(raw: bytes, dialect: Dialect, environment: Mapping[str, str]) -> tuple[Format, Asked]:
    """Read a request as the container does.

    Args:
        raw: Its body.
        dialect: What the container speaks.
        environment: The container's.

    Raises:
        BadInput: it asks for nothing that there is.
    """
    try:
        body = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadInput(f"the body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise BadInput("the body is not a JSON object")
    given = body.get("parameters")
    parameters: dict[str, Any] = given if isinstance(given, dict) else {}
    form = _form(body, parameters, dialect, environment)
    options = parameters if "inputs" in body else body
    names = ("max_new_tokens",) if "inputs" in body else ("max_completion_tokens", "max_tokens")
    most = next((value for name in names if isinstance(value := options.get(name), int)), DEFAULT_TOKENS[dialect])
    if most < 1:
        raise BadInput(f"{names[0]} must be strictly positive, not {most}")
    usage = isinstance(told := body.get("stream_options"), dict) and bool(told.get("include_usage"))
    return form, Asked(max(1, form.counted(body)), most, "length", body.get("stream") is True, usage)


def _form(body: Mapping[str, Any], parameters: Mapping[str, Any], dialect: Dialect, environment: Mapping[str, str]) -> Format:
    if "inputs" in body and dialect != "openai":
        if not isinstance(body["inputs"], str) or not body["inputs"]:
            raise BadInput("inputs must be a text that is not empty")
        lmi = dialect == "lmi"
        in_list = not lmi or environment.get("OPTION_TGI_COMPAT", "").lower() == "true"
        echo = body["inputs"] if parameters.get("return_full_text", not lmi) else ""
        return _Generated(lmi=lmi, in_list=in_list, details=bool(parameters.get("details")), echo=echo)
    chat = "messages" in body
    if not chat and "prompt" not in body:
        words = "messages, prompt" if dialect == "openai" else "inputs, messages, prompt"
        raise BadInput(f"the body has none of {words}")
    form: Format = CHAT if chat else COMPLETIONS
    return _Lines(form) if dialect == "lmi" else form
