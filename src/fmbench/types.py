"""The frozen values that travel between the rooms: what is asked, what is answered, what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, NamedTuple

from fmbench.errors import ConfigError

__all__ = [
    "AT_PROMPT_TOKEN_LENGTH",
    "Completion",
    "Delta",
    "Facts",
    "Found",
    "Head",
    "Parameters",
    "Prompt",
    "Record",
    "Request",
    "Usage",
]

AT_PROMPT_TOKEN_LENGTH = "at-prompt-token-length"  # noqa: S105 - a truncation policy, not a password

Facts = Mapping[str, Any]
"""What is known of an endpoint. Known keys: ``instance_type, instance_count, usd_per_hour,
usd_per_million_input_tokens, usd_per_million_output_tokens, region, image, model_source, environment,
start_limit_seconds, sagemaker``; others are free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One input to a model.

    Args:
        id: Unique within its prompt set.
        text: A plain prompt; exactly one of ``text`` and ``messages`` is given.
        messages: Chat messages, each ``{"role": …, "content": …}``.
        tokens: Its length in tokens, where it was counted.
        max_new_tokens: This prompt's own output length; wins over ``Parameters.max_new_tokens``.
        labels: Whatever the source wants to remember (data set, language, expected answer).
        at_seconds: When it is due under ``Replay``, from the start.
        after: The id of the prompt whose reply must have ended before this one is sent (a conversation).
        pause_seconds: Think time after that reply.
    """

    id: str
    text: str | None = None
    messages: Sequence[Mapping[str, Any]] | None = None
    tokens: int | None = None
    max_new_tokens: int | None = None
    labels: Mapping[str, Any] = field(default_factory=dict)
    at_seconds: float | None = None
    after: str | None = None
    pause_seconds: float = 0.0

    def __post_init__(self) -> None:
        if (self.text is None) == (self.messages is None):
            raise ConfigError(f"prompt {self.id!r}: give exactly one of text and messages")


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """How the model is to generate. ``None`` leaves a parameter out of the request.

    Args:
        max_new_tokens: The longest reply, in tokens.
        temperature: As the model's makers mean it.
        top_p: Sample from the most likely tokens that together have this probability.
        top_k: Sample from so many most likely tokens.
        do_sample: Whether to sample at all.
        stop: Texts that end a reply.
        seed: Of the sampling.
        truncate: The longest prompt, in tokens, or ``"at-prompt-token-length"``: each prompt's own length.
        force_length: Whether every reply is to have exactly ``max_new_tokens`` tokens, so that runs are comparable. The
            invoker's profile says how; where the server cannot, validity says so.
    """

    max_new_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    do_sample: bool | None = None
    stop: Sequence[str] | None = None
    seed: int | None = None
    truncate: int | str | None = None
    force_length: bool | None = None

    def __post_init__(self) -> None:
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be 1 or more, not {self.max_new_tokens}")
        if isinstance(self.truncate, str) and self.truncate != AT_PROMPT_TOKEN_LENGTH:
            raise ConfigError(f"truncate must be a number of tokens or {AT_PROMPT_TOKEN_LENGTH!r}, not {self.truncate!r}")

    def given(self) -> dict[str, Any]:
        """The parameters that were set, by name."""
        return {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}

    def truncation(self, prompt: Prompt) -> int | None:
        """The truncation length for one prompt, in tokens; ``None`` where none is asked for.

        Raises:
            ConfigError: it is the prompt's own length, and that was not counted.
        """
        if isinstance(self.truncate, str) and prompt.tokens is None:
            raise ConfigError(f"truncate={self.truncate!r}: the length of prompt {prompt.id!r} is not known; give tokenizer=")
        return prompt.tokens if isinstance(self.truncate, str) else self.truncate


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One encoded request: ``payload`` is what ``payload.jsonl`` holds, ``body`` is the adapter's own form of it."""

    payload: Any
    body: Any = None


class Head(NamedTuple):
    """A reply's status (``None`` where the protocol has none) and headers (names in lower case)."""

    status: int | None
    headers: Mapping[str, str]


class Delta(NamedTuple):
    """Some content of a reply: ``piece`` is the index of the piece that completed it."""

    piece: int
    kind: Literal["text", "reasoning", "tool"] = "text"
    text: str = ""
    tokens: int | None = None
    """How many tokens it carries; ``None`` unless the server tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Token counts as the server reports them."""

    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    cached_tokens: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A reply, decoded."""

    deltas: Sequence[Delta]
    streamed: bool
    finish_reason: str | None = None
    usage: Usage | None = None
    model: str | None = None
    timings: Mapping[str, Any] | None = None
    """The server's own timings, as it sent them."""

    @property
    def text(self) -> str:
        """The whole text, reasoning left out."""
        return "".join(delta.text for delta in self.deltas if delta.kind == "text")


Phase = Literal["warmup", "measured", "drain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A thing that a deployer made and found again by its tags.

    Args:
        handle: As ``run.creating`` had it; ``delete(handle)`` deletes it.
        tags: All its tags.
        usd_per_hour: What it costs, all its instances together, where known.
    """

    handle: Any
    tags: Mapping[str, str]
    usd_per_hour: float | None = None


Status = Literal["ok", "error", "timeout", "cancelled", "not_sent"]


class Record(NamedTuple):
    """What happened to one request. Times are nanoseconds from the run's start; ``None`` where a thing did not happen."""

    id: str
    experiment: str
    prompt_id: str
    session: str | None
    turn: int | None
    worker: int
    phase: Phase
    concurrency: int | None
    """The closed load's level; ``None`` under an open load."""
    in_flight: int | None
    """Requests in flight when this one was sent, itself included."""
    status: Status
    error_kind: str | None
    error_message: str | None
    http_status: int | None
    due_ns: int | None
    sent_ns: int | None
    connect_ns: int | None
    tls_ns: int | None
    sign_ns: int | None
    first_byte_ns: int | None
    first_token_ns: int | None
    last_token_ns: int | None
    """For an unstreamed reply with content: its last piece, the moment at which its tokens were there."""
    last_byte_ns: int | None
    end_ns: int | None
    arrivals_ns: Sequence[int] | None
    """The arrival of each piece of content that carries tokens."""
    arrival_tokens: Sequence[int] | None
    arrival_coalesced: Sequence[bool] | None
    """Which of those arrivals share a read with a later one, so that their time is not their own."""
    coalesced: int
    client_delay_ns: int | None
    clock: Literal["kernel", "user"]
    sent_source: Literal["adapter", "entry"]
    """Whether the adapter said when it sent, or the entry into ``send`` had to do."""
    prompt_tokens: int | None
    prompt_tokens_source: Literal["server", "tokenizer", "estimated"] | None
    cached_tokens: int | None
    max_new_tokens: int | None
    """The length asked for: the prompt's own, else the parameters'."""
    completion_tokens: int | None
    completion_tokens_source: Literal["server", "tokenizer", "estimated"] | None
    finish_reason: str | None
    model_returned: str | None
    server_timings: str | None
    """The server's own timings as JSON."""
    streamed: bool | None
    completion: str | None
