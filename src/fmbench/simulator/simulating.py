"""A run's records straight from a model and a load, without a clock, a loop or an engine: for searches that need thousands."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from fmbench import ConfigError, Load, Parameters, Prompt, Record
from fmbench.simulator.in_process import output_tokens, prompt_tokens
from fmbench.simulator.models import ServiceModel
from fmbench.simulator.service import Job

__all__ = ["Simulated", "serve", "simulate"]

NEVER = 1 << 62


class Simulated(NamedTuple):
    """What a run would have left."""

    records: list[Record]
    """In the order in which they ended; times from the start of sending."""
    window: tuple[int, int] | None
    """In nanoseconds, as ``fmbench.engine.Outcome`` tells it."""
    stopped: str | None
    """Why sending ended early."""


def serve(model: ServiceModel, arrivals: Iterable[tuple[int, int, int]]) -> list[Job]:
    """What becomes of requests that come at given times.

    Args:
        model: How the server spends its time.
        arrivals: When each comes (nanoseconds, ascending), the tokens of its prompt, the tokens of its answer.

    Returns:
        A job for each, in their order, all of them over.
    """
    service = model.start()
    jobs = []
    for at, prompt, output in arrivals:
        while service.advance(at):
            pass
        jobs.append(service.submit(at, prompt_tokens=prompt, output_tokens=output))
    while service.advance(NEVER):
        pass
    return jobs


def simulate(
    model: ServiceModel,
    load: Load,
    prompts: Sequence[Prompt],
    *,
    parameters: Parameters | None = None,
    reply_tokens: int = 100,
    warmup: int | None = None,
    request_timeout_seconds: float = 120.0,
    drain_seconds: float = 30.0,
    stop_on_errors: int = 20,
    experiment: str = "simulated",
    id_prefix: str = "r",
) -> Simulated:
    """The records that an ideal client would make of a simulated server: sent when due, stamped when the token was there.

    The engine over ``InProcessInvoker`` makes the same ones, up to the texts and to the 1 ms for which its sweep may let a
    time-out wait.

    Args:
        model: How the server spends its time.
        load: When requests are due.
        prompts: What they ask, in turn.
        parameters: How much they ask for, among others.
        reply_tokens: How much the server answers where nobody asks for a length.
        warmup: How many requests go first; ``None`` for the load's own number.
        request_timeout_seconds: When a request is given up.
        drain_seconds: How long the last ones are awaited.
        stop_on_errors: After how many failures in a row from the beginning it stops.
        experiment: The records' experiment.
        id_prefix: What the records' ids begin with.
    """
    _refuse_conversations(prompts)
    parameters, prompts = parameters or Parameters(), load.arranged(prompts)
    asked = [(prompt_tokens(prompt), output_tokens(prompt, parameters, reply_tokens)) for prompt in prompts]
    client = _Client(model, load, prompts, asked=asked, warmup=load.warmup(warmup), experiment=experiment, id_prefix=id_prefix)
    client.timeout_ns, client.drain_ns = round(request_timeout_seconds * 1e9), round(drain_seconds * 1e9)
    client.stop_on_errors, client.max_new_tokens = stop_on_errors, parameters.max_new_tokens
    client.closed() if load.streams else client.open()
    return Simulated(client.records, client.window(), client.stopped)


def _refuse_conversations(prompts: Sequence[Prompt]) -> None:
    if any(prompt.after is not None for prompt in prompts):
        raise ConfigError("prompts: a simulation without replies knows no conversations (after=); measure a Simulator instead")


class _Sent(NamedTuple):
    planned: Any
    stream: int
    due: int
    sent: int
    in_flight: int


class _Client:
    """The engine's rules, in a time of its own. See ``engine.sending``, whose method names these are."""

    def __init__(
        self,
        model: ServiceModel,
        load: Load,
        prompts: Sequence[Prompt],
        *,
        asked: Sequence[tuple[int, int]],
        warmup: int,
        experiment: str,
        id_prefix: str,
    ) -> None:
        self._service = model.start()
        self._load = load
        self._prompts = prompts
        self._asked = asked
        self._warmup = warmup
        self._experiment = experiment
        self._id_prefix = id_prefix
        self._flights: dict[Job, _Sent] = {}
        self._waiting: deque[tuple[Any, int]] = deque()
        self._start: int | None = None
        self._end: int | None = None
        self._now = 0
        self._failed_first = 0
        self._succeeded = False
        self._drained = False
        self._free: list[int] = []
        """Streams whose request has ended at this moment."""
        self.records: list[Record] = []
        self.stopped: str | None = None
        self.timeout_ns = self.drain_ns = NEVER
        self.stop_on_errors = 20
        self.max_new_tokens: int | None = None

    def window(self) -> tuple[int, int] | None:
        return None if self._start is None or self._end is None else (self._start, self._end)

    # Closed loads.

    def closed(self) -> None:
        load = self._load
        plans = [load.plan(self._prompts, warmup=self._warmup, stream=stream) for stream in range(load.streams or 0)]
        upcoming = [next(plan, None) for plan in plans]
        issuing = len(plans)
        self._free = list(range(len(plans)))
        while self._free or self._flights:
            free, self._free = self._free, []
            for stream in sorted(free, key=lambda one: getattr(upcoming[one], "number", 0)):
                planned = upcoming[stream]
                if planned is None:
                    continue  # it has sent its last
                if self._is_over():
                    self._leave([planned], plans[stream])
                    upcoming[stream] = None
                    issuing -= 1
                else:
                    upcoming[stream] = next(plans[stream], None)
                    issuing -= upcoming[stream] is None
                    self._send(planned, self._now, stream)
                if not issuing:
                    self._finish_sending(self._now)
            if not self._free:
                self._happen(NEVER)

    # Open loads.

    def open(self) -> None:
        load = self._load
        plan = load.plan(self._prompts, warmup=self._warmup)
        last = None
        for planned in plan:
            due = round((planned.due_seconds or 0.0) * 1e9)
            while not self._is_over() and self._happen(due):
                pass
            if self._is_over():
                self._leave([planned], plan)
                break
            self._now = due
            self._hand_out(planned, due)
            last = planned
        whole = last is not None and last.number + 1 - self._warmup == load.total(self._prompts)
        if self._end is None and (load.seconds is None or whole):
            self._finish_sending(self._now)
        while self._happen(NEVER):
            pass
        self._finish_sending(self._deadline())
        for planned, due in self._waiting:
            reason = f"not sent: {self.stopped}" if self.stopped else "still waiting for a free place under max_concurrency"
            self.records.append(self._unsent(planned, reason, due))

    def _hand_out(self, planned: Any, due: int) -> None:
        most = getattr(self._load, "max_concurrency", None)
        if most is not None and len(self._flights) >= most:
            self._mark_start(planned, due)
            self._waiting.append((planned, due))
        else:
            self._send(planned, due, 0)

    # What happens.

    def _happen(self, until: int) -> bool:
        """Go on to the next thing that happens, or to ``until``; whether something did."""
        first = next(iter(self._flights.values()), None)
        times_out = NEVER if first is None else first.sent + self.timeout_ns
        drained = self._deadline() + self.drain_ns if first is not None else NEVER
        limit = min(until, times_out, drained)
        ended = self._service.advance(limit)
        for job in ended:
            self._now = job.ended_ns or 0
            self._land(job, "ok", None, None)
        if ended:
            return True
        if limit == until:
            return False
        self._now, self._drained = limit, limit == drained
        for job in [job for job, sent in self._flights.items() if limit == drained or sent.sent + self.timeout_ns <= limit]:
            self._service.cancel(job, limit)
            if limit == drained:
                self._land(job, "cancelled", "cancelled", "still in flight when the experiment ended")
            else:
                seconds = self.timeout_ns / 1e9
                self._land(job, "timeout", "timeout", f"no complete reply within {seconds:g} s")
        return True

    def _send(self, planned: Any, due: int, stream: int) -> None:
        self._mark_start(planned, due)
        prompt, output = self._asked[planned.prompt]
        job = self._service.submit(self._now, prompt_tokens=prompt, output_tokens=output)
        self._flights[job] = _Sent(planned, stream, due, self._now, len(self._flights) + 1)
        if job.refused is not None:
            self._land(job, "error", "validation", job.refused)

    def _land(self, job: Job, status: Any, kind: str | None, message: str | None) -> None:
        sent = self._flights.pop(job)
        self.records.append(self._record(job, sent, status, kind, message))
        self._free.append(sent.stream)
        if status == "ok":
            self._succeeded = True
        elif not self._succeeded and status != "cancelled":
            self._failed_first += 1
            if self._failed_first == self.stop_on_errors:
                self.stopped = f"the first {self._failed_first} requests all failed; the last one: {message}"
                self._finish_sending(self._now)
        if self._waiting and not self._drained and self.stopped is None:
            planned, due = self._waiting.popleft()
            self._send(planned, due, 0)

    def _mark_start(self, planned: Any, due: int) -> None:
        if self._start is None and planned.measured:
            self._start = due

    def _finish_sending(self, at: int) -> None:
        if self._end is None:
            self._end = min(at, self._deadline())

    def _deadline(self) -> int:
        """When sending ends, as far as is known."""
        if self._end is not None:
            return self._end
        if self._load.seconds is None or self._start is None:
            return NEVER
        return self._start + round(self._load.seconds * 1e9)

    def _is_over(self) -> bool:
        return self._end is not None or self._now >= self._deadline()

    def _leave(self, first: list[Any], rest: Iterator[Any]) -> None:
        if self.stopped is not None and self._load.total(self._prompts) is not None:
            self.records += [self._unsent(planned, f"not sent: {self.stopped}", None) for planned in (*first, *rest)]

    # Records.

    def _record(self, job: Job, sent: _Sent, status: Any, kind: str | None, message: str | None) -> Record:
        times = job.times_ns
        prompt = self._prompts[sent.planned.prompt]
        return _unknown._replace(
            id=f"{self._id_prefix}-{sent.planned.number:06d}",
            experiment=self._experiment,
            prompt_id=prompt.id,
            phase="warmup" if not sent.planned.measured else "drain" if status == "cancelled" else "measured",
            concurrency=self._load.streams,
            in_flight=sent.in_flight,
            status=status,
            error_kind=kind,
            error_message=message,
            http_status=400 if kind == "validation" else None,
            due_ns=sent.due,
            sent_ns=sent.sent,
            first_byte_ns=times[0] if times else None,
            first_token_ns=times[0] if times else None,
            last_token_ns=times[-1] if times else None,
            last_byte_ns=times[-1] if times else None,
            end_ns=self._now,
            arrivals_ns=times,
            arrival_tokens=[1] * len(times) if times else None,
            arrival_coalesced=[False] * len(times),
            client_delay_ns=0 if times else None,
            clock="kernel" if times else "user",
            sent_source="adapter",
            prompt_tokens=job.prompt_tokens,
            prompt_tokens_source="server" if times else "estimated" if prompt.tokens is None else "tokenizer",
            max_new_tokens=self._most(prompt),
            completion_tokens=len(times) or None,
            completion_tokens_source="server" if times else None,
            finish_reason="length" if status == "ok" else None,
            streamed=True if times else None,
        )

    def _most(self, prompt: Prompt) -> int | None:
        return self.max_new_tokens if prompt.max_new_tokens is None else prompt.max_new_tokens

    def _unsent(self, planned: Any, reason: str, due: int | None) -> Record:
        prompt = self._prompts[planned.prompt]
        return _unknown._replace(
            id=f"{self._id_prefix}-{planned.number:06d}",
            experiment=self._experiment,
            prompt_id=prompt.id,
            phase="measured" if planned.measured else "warmup",
            concurrency=self._load.streams,
            status="not_sent",
            error_kind="not_sent",
            error_message=reason,
            due_ns=due,
            arrivals_ns=None,
            max_new_tokens=self._most(prompt),
            prompt_tokens=prompt.tokens,
            prompt_tokens_source=None if prompt.tokens is None else "tokenizer",
        )


_row: dict[str, Any] = dict.fromkeys(Record._fields)
_row |= {"worker": 0, "coalesced": 0, "clock": "user", "sent_source": "entry", "arrivals_ns": array("q")}
_unknown = Record(**_row)
