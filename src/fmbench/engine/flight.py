"""One request, from its sending to its record."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from operator import eq
from typing import Any, Literal

import orjson
from anyio import CancelScope

from fmbench.engine.talking import Turn
from fmbench.errors import InvokeError
from fmbench.interfaces import Decoder, Exchange
from fmbench.load import Load, Planned
from fmbench.types import Completion, Delta, Parameters, Phase, Prompt, Record, Request, Status

__all__ = ["Assignment", "Flight", "record_of", "record_of_unsent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What one engine is to do: an experiment's load, its prompts and their encoded requests, and when to give up."""

    experiment: str
    id_prefix: str
    load: Load
    prompts: Sequence[Prompt]
    requests: Sequence[Request]
    """As many as prompts, in their order."""
    warmup: int
    origin_ns: int
    """The run's start; records count from it."""
    estimate: Callable[[str], int]
    """Tokens of a text, where neither server nor tokenizer tells."""
    done: Collection[int] = field(default_factory=frozenset)
    """The numbers of requests that an earlier sitting has recorded."""
    measured_ns: int = 0
    """How long earlier sittings have measured."""
    request_timeout_seconds: float = 120.0
    drain_seconds: float = 30.0
    stop_on_errors: int = 20
    keep_text: bool = True
    parameters: Parameters = field(default_factory=Parameters)
    """Needed for a conversation's later turns, which are encoded when the answer before them is known."""
    max_new_tokens: int | None = None
    """The length asked for where a prompt does not say its own."""
    worker: int = 0
    workers: int = 1
    """How many engines share the experiment: this one has the requests, or streams, whose number leaves ``worker``."""

    @property
    def max_concurrency(self) -> int | None:
        """This engine's share of an open load's ``max_concurrency``."""
        most: int | None = getattr(self.load, "max_concurrency", None)
        return None if most is None else len(range(self.worker, most, self.workers))

    @property
    def concurrency(self) -> int | None:
        """How many requests this engine has in flight at most; ``None`` where that is not known."""
        streams = self.load.streams
        return self.max_concurrency if streams is None else len(range(self.worker, streams, self.workers))

    def owns(self, planned: Planned) -> bool:
        """Whether an open load's request is this engine's."""
        number = planned.number if planned.place is None else planned.place.session
        return number % self.workers == self.worker

    def id_of(self, planned: Planned) -> str:
        """The request's id, which also goes out as ``X-Request-Id``."""
        return f"{self.id_prefix}-{planned.number:06d}"

    def max_new_tokens_of(self, prompt: Prompt) -> int | None:
        """The length asked for in answer to a prompt."""
        return self.max_new_tokens if prompt.max_new_tokens is None else prompt.max_new_tokens


class Flight:
    """One request in flight: what the engine knows beside the adapter's exchange."""

    __slots__ = (
        "decoder",
        "due",
        "ended",
        "entered",
        "exchange",
        "failure",
        "in_flight",
        "landed",
        "planned",
        "queued",
        "scope",
        "turn",
        "verdict",
    )

    def __init__(self, planned: Planned, exchange: Exchange, *, due: int, scope: CancelScope) -> None:
        self.planned: Planned = planned
        self.exchange: Exchange = exchange
        self.due: int = due
        self.entered: int = 0
        self.in_flight: int = 0
        self.scope: CancelScope = scope
        self.ended: int = 0
        self.landed: bool = False
        self.queued: bool = False
        self.decoder: Decoder | None = None
        self.failure: InvokeError | None = None
        self.verdict: Literal["timeout", "cancelled"] | None = None
        self.turn: Turn | None = None
        """``None`` where no prompt continues another."""

    def abort(self, verdict: Literal["timeout", "cancelled"]) -> None:
        """End the sending from outside."""
        self.verdict = verdict
        self.scope.cancel()


def record_of(flight: Flight, completion: Completion | None, deltas: Sequence[Delta], assignment: Assignment) -> Record:
    """The record of a request that was sent.

    Args:
        flight: What happened to it; its stamps are nanoseconds of the engine's clock.
        completion: The reply, where it was whole.
        deltas: What content there was, also of a reply that was not.
        assignment: What it was part of.
    """
    exchange, planned = flight.exchange, flight.planned
    prompt = assignment.prompts[planned.prompt] if flight.turn is None else flight.turn.prompt
    place = planned.place
    origin = assignment.origin_ns
    streamed = None if completion is None else completion.streamed
    stamps = exchange.stamps
    arrivals, tokens, coalesced = _arrivals(deltas, stamps, origin, streamed=streamed is not False)
    text = "".join([delta.text for delta in deltas if delta.kind == "text"]) if assignment.keep_text else ""
    usage = None if completion is None else completion.usage
    prompt_tokens, prompt_source = _prompt_tokens(prompt, None if usage is None else usage.prompt_tokens, assignment.estimate)
    completion_tokens, completion_source = _completion_tokens(
        None if usage is None else usage.completion_tokens, tokens, deltas, assignment.estimate
    )
    sent = flight.entered if exchange.sent_at is None else exchange.sent_at
    first_byte = exchange.head_at if exchange.head_at is not None else (stamps[0] if stamps else None)
    status, kind, message = _verdict(flight, assignment)
    timings = None if completion is None or completion.timings is None else orjson.dumps(completion.timings).decode()
    # In the order of its fields: naming them all takes three times as long.
    return Record._make(
        (
            exchange.id,  # id
            assignment.experiment,  # experiment
            prompt.id,  # prompt_id
            None if place is None else place.name,  # session
            None if place is None else place.turn,  # turn
            assignment.worker,  # worker
            _phase(planned, flight.verdict),  # phase
            assignment.load.streams,  # concurrency
            flight.in_flight,  # in_flight
            status,  # status
            kind,  # error_kind
            message,  # error_message
            exchange.status if exchange.status is not None or flight.failure is None else flight.failure.status,  # http_status
            flight.due - origin,  # due_ns
            sent - origin,  # sent_ns
            exchange.connect_ns,  # connect_ns
            exchange.tls_ns,  # tls_ns
            exchange.sign_ns,  # sign_ns
            None if first_byte is None else first_byte - origin,  # first_byte_ns
            arrivals[0] if arrivals and streamed is not False and not coalesced[0] else None,  # first_token_ns
            arrivals[-1] if arrivals else None,  # last_token_ns
            stamps[-1] - origin if stamps else None,  # last_byte_ns
            flight.ended - origin,  # end_ns
            arrivals,  # arrivals_ns
            tokens,  # arrival_tokens
            coalesced,  # arrival_coalesced
            sum(coalesced),  # coalesced
            exchange.client_delay_ns,  # client_delay_ns
            "kernel" if exchange.kernel and first_byte is not None else "user",  # clock
            "entry" if exchange.sent_at is None else "adapter",  # sent_source
            prompt_tokens,  # prompt_tokens
            prompt_source,  # prompt_tokens_source
            None if usage is None else usage.cached_tokens,  # cached_tokens
            assignment.max_new_tokens_of(prompt),  # max_new_tokens
            completion_tokens,  # completion_tokens
            completion_source,  # completion_tokens_source
            None if completion is None else completion.finish_reason,  # finish_reason
            None if completion is None else completion.model,  # model_returned
            timings,  # server_timings
            streamed,  # streamed
            text if text or (status == "ok" and assignment.keep_text) else None,  # completion
        )
    )


def record_of_unsent(planned: Planned, assignment: Assignment, reason: str, *, due: int | None = None) -> Record:
    """The record of a request that was scheduled and never sent."""
    prompt = assignment.prompts[planned.prompt]
    tokens = prompt.tokens if prompt.after is None else None
    row: dict[str, Any] = dict.fromkeys(Record._fields)
    row |= {
        "id": assignment.id_of(planned),
        "experiment": assignment.experiment,
        "prompt_id": prompt.id,
        "session": None if planned.place is None else planned.place.name,
        "turn": None if planned.place is None else planned.place.turn,
        "worker": assignment.worker,
        "phase": _phase(planned, None),
        "concurrency": assignment.load.streams,
        "status": "not_sent",
        "error_kind": "not_sent",
        "error_message": reason,
        "due_ns": None if due is None else due - assignment.origin_ns,
        "coalesced": 0,
        "clock": "user",
        "sent_source": "entry",
        "prompt_tokens": tokens,
        "prompt_tokens_source": None if tokens is None else "tokenizer",
        "max_new_tokens": assignment.max_new_tokens_of(prompt),
    }
    return Record(**row)


def _phase(planned: Planned, verdict: str | None) -> Phase:
    if not planned.measured:
        return "warmup"
    return "drain" if verdict == "cancelled" else "measured"


def _verdict(flight: Flight, assignment: Assignment) -> tuple[Status, str | None, str | None]:
    if flight.verdict == "timeout":
        return "timeout", "timeout", f"no complete reply within {assignment.request_timeout_seconds:g} s"
    if flight.verdict == "cancelled":
        return "cancelled", "cancelled", "still in flight when the experiment ended"
    if flight.failure is not None:
        return "error", flight.failure.kind, flight.failure.message
    return "ok", None, None


def _arrivals(
    deltas: Sequence[Delta], stamps: array[int], origin: int, *, streamed: bool
) -> tuple[array[int], list[int] | None, list[bool]]:
    """When content came: times, tokens where the server told, and which times are not their own.

    The kernel merges what queues up before a read and keeps the last stamp: of several arrivals with one time, only the
    last one's is true.
    """
    content = [delta for delta in deltas if delta.text or delta.tokens]
    if not content:
        return array("q"), None, []
    known = None if content[0].tokens is None else [count for _, _, _, count in content if count is not None]
    if known is not None and len(known) < len(content):
        known = None
    if not streamed:
        return array("q", (stamps[-1] - origin,)), None if known is None else [sum(known)], [False]
    times = array("q", [stamps[delta.piece] - origin for delta in content])
    return times, known, [*map(eq, times, times[1:]), False]


def _prompt_tokens(
    prompt: Prompt, told: int | None, estimate: Callable[[str], int]
) -> tuple[int, Literal["server", "tokenizer", "estimated"]]:
    if told is not None:
        return told, "server"
    if prompt.tokens is not None:
        return prompt.tokens, "tokenizer"
    text = (
        prompt.text
        if prompt.text is not None
        else "\n".join(str(message.get("content", "")) for message in prompt.messages or ())
    )
    return estimate(text), "estimated"


def _completion_tokens(
    told: int | None, tokens: list[int] | None, deltas: Sequence[Delta], estimate: Callable[[str], int]
) -> tuple[int | None, Literal["server", "estimated"] | None]:
    if told is not None:
        return told, "server"
    if tokens is not None:
        return sum(tokens), "server"
    text = "".join(delta.text for delta in deltas)
    return (estimate(text), "estimated") if text else (None, None)
