"""Keeping the load: closed loads as streams, open loads by absolute due times; time-outs by one sweep."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from anyio import CancelScope, Event, create_task_group, get_cancelled_exc_class, sleep
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from fmbench.engine.decoding import Decoding
from fmbench.engine.flight import Assignment, Flight, record_of, record_of_unsent
from fmbench.errors import InvokeError
from fmbench.interfaces import Exchange, Session
from fmbench.load import Planned
from fmbench.types import Completion, Delta, Record

__all__ = ["Log", "Outcome", "measure"]

FLUSH_SECONDS = 0.5
"""How long a finished request may wait for the log: a kill loses at most the last second."""


class Log(Protocol):
    """Where records go; ``recording.RecordLog`` is one."""

    def appending(self, records: Sequence[Record]) -> Iterator[None]:
        """Append a batch in short steps."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an experiment went.

    ``window`` is in nanoseconds from the run's start, ``None`` where no measured request was due; ``scheduled`` counts
    the requests that were taken up, sent or not; ``stopped`` is the reason of an early end.
    """

    window: tuple[int, int] | None
    scheduled: int
    stopped: str | None


async def measure(
    session: Session,
    assignment: Assignment,
    log: Log,
    *,
    now: Callable[[], int],
    on_records: Callable[[Sequence[Record]], None] = lambda _: None,
) -> Outcome:
    """Drive one session with one load and log every request.

    Args:
        session: Where to send.
        assignment: What to send, and when.
        log: Where records go, at most half a second after they are made.
        now: The clock, in nanoseconds; sleeping goes by anyio, so that both may be virtual.
        on_records: Told of each batch that was logged.
    """
    return await _Engine(session, assignment, log, now, on_records).run()


def _nanoseconds(planned: Planned) -> int:
    return round((planned.due_seconds or 0.0) * 1e9)


class _Engine:
    def __init__(
        self,
        session: Session,
        assignment: Assignment,
        log: Log,
        now: Callable[[], int],
        on_records: Callable[[Sequence[Record]], None],
    ) -> None:
        self._session = session
        self._task = assignment
        self._log = log
        self._now = now
        self._on_records = on_records
        self._cancelled = get_cancelled_exc_class()
        self._decoding = Decoding(session, self._landed)
        self._flights: dict[Flight, None] = {}
        self._finished: list[Record] = []
        self._waiting: deque[tuple[Planned, int]] = deque()
        self._running = 0
        self._issuing = 0
        self._scheduled = 0
        self._failed_first = 0
        self._succeeded = False
        self._start: int | None = None
        self._end: int | None = None
        self._deadline: int | None = None
        self._started = Event()
        self._over = Event()
        self._stopped: str | None = None

    async def run(self) -> Outcome:
        try:
            async with create_task_group() as background:
                for task in (self._decoding.run, self._sweep, self._flush, self._close_window, self._drain):
                    background.start_soon(task)
                await (self._closed() if self._task.load.streams else self._open())
                background.cancel_scope.cancel()
        finally:
            self._decoding.finish()
            self._write_rest()
        window = (
            None
            if self._start is None or self._end is None
            else (self._start - self._task.origin_ns, self._end - self._task.origin_ns)
        )
        return Outcome(window, self._scheduled, self._stopped)

    # Closed loads: a stream sends its next request when its last one has ended.

    async def _closed(self) -> None:
        load, task = self._task.load, self._task
        self._issuing = load.streams or 0
        async with create_task_group() as streams:
            for stream in range(self._issuing):
                streams.start_soon(self._stream, load.plan(task.prompts, warmup=task.warmup, stream=stream))

    async def _stream(self, plan: Iterator[Planned]) -> None:
        upcoming = self._next(plan)
        while upcoming is not None and not self._is_over(self._now()):
            # One scope serves until a time-out has cancelled it: a scope for each request would cost 3.5 µs.
            with CancelScope() as scope:
                while upcoming is not None and not scope.cancel_called:
                    planned, due = upcoming, self._now()
                    if self._is_over(due):
                        break
                    upcoming = self._next(plan)
                    if upcoming is None:
                        self._one_less(due)
                    self._scheduled += 1
                    await self._send(planned, due, scope)
        if upcoming is not None:
            self._leave([upcoming], plan)
            self._one_less(self._now())

    def _is_over(self, at: int) -> bool:
        return self._over.is_set() or (self._deadline is not None and at >= self._deadline)

    def _one_less(self, at: int) -> None:
        self._issuing -= 1
        if not self._issuing:
            self._finish_sending(at)

    # Open loads: a request is due when the plan says so, whatever became of the earlier ones.

    async def _open(self) -> None:
        task = self._task
        plan = task.load.plan(task.prompts, warmup=task.warmup)
        first = self._next(plan)
        async with create_task_group() as requests:
            if first is not None:
                await self._issue(first, plan, requests)
            self._finish_sending(self._now())

    async def _issue(self, first: Planned, plan: Iterator[Planned], requests: TaskGroup) -> None:
        zero = due = self._now() - _nanoseconds(first)
        upcoming: Planned | None = first
        last = first
        while upcoming is not None:
            due = zero + _nanoseconds(upcoming)
            if not await self._until(due):
                self._leave([upcoming], plan)
                return
            self._scheduled += 1
            self._mark_start(upcoming, due)
            self._hand_out(upcoming, due, requests)
            last, upcoming = upcoming, self._next(plan)
        load, task = self._task.load, self._task
        if load.seconds is None or last.number + 1 - task.warmup == load.total(task.prompts):
            self._finish_sending(due)
        else:
            await self._over.wait()

    def _hand_out(self, planned: Planned, due: int, requests: TaskGroup) -> None:
        most = getattr(self._task.load, "max_concurrency", None)
        if most is not None and self._running >= most:
            self._waiting.append((planned, due))
            return
        self._running += 1
        requests.start_soon(self._request, planned, due)

    async def _request(self, planned: Planned, due: int) -> None:
        while True:
            with CancelScope() as scope:
                await self._send(planned, due, scope)
            if not self._waiting or self._over.is_set():
                self._running -= 1
                return
            planned, due = self._waiting.popleft()

    async def _until(self, due: int) -> bool:
        """Sleep until ``due``, never less, and no longer than it takes to notice that sending is over."""
        spin = round(self._task.spin_seconds * 1e9)
        while (left := due - self._now()) > 0:
            if self._over.is_set():
                return False
            await sleep(min(max(0, left - spin) / 1e9, FLUSH_SECONDS))
        return not self._over.is_set()

    # One request.

    async def _send(self, planned: Planned, due: int, scope: CancelScope) -> None:
        self._mark_start(planned, due)
        exchange = Exchange(self._task.id_of(planned), self._now)
        flight = Flight(planned, exchange, due=due, entered=self._now(), in_flight=len(self._flights) + 1, scope=scope)
        exchange.on_piece = self._decoding.watch(flight)
        self._flights[flight] = None
        try:
            await self._session.send(self._task.requests[planned.prompt], exchange)
        except InvokeError as error:
            flight.failure = error
        except self._cancelled:
            flight.verdict = flight.verdict or "cancelled"
            raise
        except Exception as error:  # noqa: BLE001 - a stranger's bug is a value in the record
            flight.failure = InvokeError("bug", f"{type(error).__name__}: {error}")
        finally:
            exchange.close()
            flight.ended = self._now()
            del self._flights[flight]
            self._decoding.land(flight)

    def _landed(self, flight: Flight, completion: Completion | None, deltas: Sequence[Delta]) -> None:
        record = record_of(flight, completion, deltas, self._task)
        self._finished.append(record)
        if record.status == "ok":
            self._succeeded = True
        elif not self._succeeded and record.status != "cancelled":
            self._failed_first += 1
            if self._failed_first == self._task.stop_on_errors:
                self._stopped = f"the first {self._failed_first} requests all failed; the last one: {record.error_message}"
                self._finish_sending(self._now())

    # The window, and who watches over it.

    def _mark_start(self, planned: Planned, due: int) -> None:
        if self._start is None and planned.measured:
            self._start = due
            self._started.set()

    def _finish_sending(self, at: int) -> None:
        if self._end is None:
            self._end = at
            self._over.set()

    async def _close_window(self) -> None:
        """End sending after the load's seconds."""
        if self._task.load.seconds is None:
            return
        await self._started.wait()
        end = (self._start or 0) + max(0, round(self._task.load.seconds * 1e9) - self._task.measured_ns)
        self._deadline = end
        while (left := end - self._now()) > 0:  # noqa: ASYNC110 - timers may fire early, and there is no event but time
            await sleep(left / 1e9)
        self._finish_sending(end)

    async def _drain(self) -> None:
        """After the end of sending, wait for what is in flight, then cancel it."""
        await self._over.wait()
        await sleep(self._task.drain_seconds)
        for flight in list(self._flights):
            flight.abort("cancelled")

    async def _sweep(self) -> None:
        """One sweep for all time-outs: flights stand in the order of their sending, so the oldest is the first to expire."""
        timeout = round(self._task.request_timeout_seconds * 1e9)
        while True:
            now = self._now()
            left = timeout
            for flight in self._flights:
                left = flight.entered + timeout - now
                if left > 0:
                    break
                if flight.verdict is None:
                    flight.abort("timeout")
            await sleep(max(left, 1_000_000) / 1e9)

    # Records.

    async def _flush(self) -> None:
        while True:
            await sleep(FLUSH_SECONDS)
            self._decoding.wake()
            batch, self._finished = self._finished, []
            with CancelScope(shield=True):  # a batch half written would be lost
                for _ in self._log.appending(batch):
                    await checkpoint()
            self._on_records(batch)

    def _write_rest(self) -> None:
        for planned, due in self._waiting:
            reason = "still waiting for a free place under max_concurrency when sending ended"
            self._finished.append(record_of_unsent(planned, self._task, reason, due=due))
        batch, self._finished = self._finished, []
        for _ in self._log.appending(batch):
            pass
        self._on_records(batch)

    def _leave(self, first: list[Planned], rest: Iterator[Planned]) -> None:
        """Write down what an early stop left unsent, where the plan says how much that is."""
        if self._stopped is None or self._task.load.total(self._task.prompts) is None:
            return
        for planned in (*first, *iter(lambda: self._next(rest), None)):
            self._scheduled += 1
            self._finished.append(record_of_unsent(planned, self._task, f"not sent: {self._stopped}"))

    def _next(self, plan: Iterator[Planned]) -> Planned | None:
        done = self._task.done
        if not done:
            return next(plan, None)
        return next((planned for planned in plan if planned.number not in done), None)
