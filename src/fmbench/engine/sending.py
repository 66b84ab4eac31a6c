"""Keeping the load: closed loads as streams, open loads by absolute due times; time-outs by one sweep."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from anyio import CancelScope, Event, create_task_group, get_cancelled_exc_class, sleep
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from fmbench.engine.decoding import Decoding
from fmbench.engine.flight import Assignment, Flight, record_of, record_of_unsent
from fmbench.engine.outcome import Log, Outcome
from fmbench.engine.pacing import Alarm, CoarseAlarm
from fmbench.errors import InvokeError
from fmbench.interfaces import Exchange, Session
from fmbench.load import Planned
from fmbench.types import Completion, Delta, Record

__all__ = ["Engine"]

FLUSH_SECONDS = 0.5
"""How long a finished request may wait for the log: a kill loses at most the last second."""
LATE_NS = 100_000_000
"""How long a batch is written in steps: at a client's limit the turns between them are so long that records would pile up."""
NOTICE_NS = 500_000_000
"""How long it may take to notice that sending is over."""


def _nanoseconds(planned: Planned) -> int:
    return round((planned.due_seconds or 0.0) * 1e9)


class _Turn:
    """An open load's request on its way to being sent: the next one gets ready when this one's turn is over."""

    __slots__ = ("due", "over", "planned", "taken")

    def __init__(self, planned: Planned, due: int) -> None:
        self.planned = planned
        self.due = due
        self.taken = False
        self.over = Event()


class Engine:
    """One engine. Several may share an experiment: each then drives its share (``Assignment.worker``) of the one plan.

    Args:
        session, assignment, log, now, alarm, on_records: As for ``starting.measure``.
        begin: When to begin, on the clock; several that share an experiment begin together.
        on_start: Told once, when the first measured request of this engine is due.
    """

    def __init__(
        self,
        session: Session,
        assignment: Assignment,
        log: Log,
        *,
        now: Callable[[], int],
        alarm: Alarm | None = None,
        on_records: Callable[[Sequence[Record]], None] = lambda _: None,
        begin: int | None = None,
        on_start: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._session = session
        self._task = assignment
        self._log = log
        self._now = now
        self._alarm: Alarm = alarm or CoarseAlarm(now)
        self._on_records = on_records
        self._begin = begin
        self._on_start = on_start
        self._cancelled = get_cancelled_exc_class()
        self._decoding = Decoding(session, self._landed)
        self._flights: dict[Flight, None] = {}
        self._finished: list[Record] = []
        self._waiting: deque[tuple[Planned, int]] = deque()
        self._running = 0
        self._issuing = 0
        self._scheduled = 0
        self._accounted = 0
        self._failed_first = 0
        self._succeeded = False
        self._start: int | None = None
        self._end: int | None = None
        self._started = Event()
        self._over = Event()
        self._drained = False
        self._stopped: str | None = None

    async def run(self) -> Outcome:
        """Send, wait for the replies, and log all of it."""
        try:
            async with create_task_group() as background:
                for task in (self._decoding.run, self._sweep, self._flush, self._close_window, self._drain):
                    background.start_soon(task)
                await (self._closed() if self._task.load.streams else self._open())
                background.cancel_scope.cancel()
        finally:
            self._decoding.finish()
            self._write_rest()
        if self._scheduled != self._accounted:
            raise AssertionError(f"{self._scheduled} requests were scheduled, and {self._accounted} have a record")
        origin, window = self._task.origin_ns, None
        if self._start is not None and self._end is not None:
            window = (self._start - origin, self._end - origin)
        return Outcome(window, self._scheduled, self._stopped)

    def stop(self, reason: str) -> None:
        """Send nothing more, and account for what the plan still holds."""
        if self._stopped is None and not self._over.is_set():
            self._stopped = reason
            self._finish_sending(self._now())

    def started_elsewhere(self, at: int) -> None:
        """Another engine of the same experiment had its first measured request due: the window begins with the earliest."""
        self._start = at if self._start is None else min(at, self._start)
        self._started.set()

    # Closed loads: a stream sends its next request when its last one has ended.

    async def _closed(self) -> None:
        load, task = self._task.load, self._task
        if self._begin is not None:
            await self._alarm.sleep_close_to(self._begin)
            await self._alarm.wait_until(self._begin)
        mine = range(task.worker, load.streams or 0, task.workers)
        self._issuing = len(mine)
        async with create_task_group() as streams:
            for stream in mine:
                streams.start_soon(self._stream, load.plan(task.prompts, warmup=task.warmup, stream=stream))

    async def _stream(self, plan: Iterator[Planned]) -> None:
        upcoming = self._next(plan)
        if upcoming is None:
            self._one_less(self._now())
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
                    self._mark_start(planned, due)
                    await self._send(self._ready(planned, due, scope))
        if upcoming is not None:
            self._leave([upcoming], plan)
            self._one_less(self._now())

    def _is_over(self, at: int) -> bool:
        if self._over.is_set():
            return True
        deadline = self._deadline()
        return deadline is not None and at >= deadline

    def _deadline(self) -> int | None:
        """When the load's seconds are over; ``None`` as long as that is not known."""
        seconds = self._task.load.seconds
        if seconds is None or self._start is None:
            return None
        return self._start + max(0, round(seconds * 1e9) - self._task.measured_ns)

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
        """Send each request of this engine's share when it is due; the others tell when the window begins and ends."""
        task = self._task
        zero = due = (self._now() if self._begin is None else self._begin) - _nanoseconds(first)
        upcoming: Planned | None = first
        last = first
        while upcoming is not None:
            due = zero + _nanoseconds(upcoming)
            if task.owns(upcoming):
                turn = _Turn(upcoming, due)
                requests.start_soon(self._request, turn)
                await turn.over.wait()
                if not turn.taken:
                    self._leave([upcoming], plan)
                    return
            self._mark_start(upcoming, due)
            last, upcoming = upcoming, self._next(plan)
        if not await self._until(due):
            return
        if self._start is None or task.load.seconds is None or last.number + 1 - task.warmup == task.load.total(task.prompts):
            self._finish_sending(due)
        else:
            await self._over.wait()

    async def _request(self, turn: _Turn) -> None:
        """Send one when it is due, and in its place, one by one, those that waited for one, until all is drained.

        This task is there, and ready, before the request is due: then there is only the sending left to do.
        """
        planned, due = turn.planned, turn.due
        while True:
            with CancelScope() as scope:
                flight = self._ready(planned, due, scope)
                if not turn.taken and not await self._take(turn):
                    return
                await self._send(flight)
            if not self._waiting or self._drained or self._stopped is not None:
                self._running -= 1
                return
            planned, due = self._waiting.popleft()

    async def _take(self, turn: _Turn) -> bool:
        """Wait until it is due; whether it can be sent then."""
        turn.taken = await self._until(turn.due)
        turn.over.set()
        if not turn.taken:
            return False
        self._scheduled += 1
        self._mark_start(turn.planned, turn.due)
        most = self._task.max_concurrency
        if most is not None and self._running >= most:
            self._waiting.append((turn.planned, turn.due))
            return False
        self._running += 1
        return True

    async def _until(self, due: int) -> bool:
        """Sleep until ``due``, never less, and no longer than it takes to notice that sending is over."""
        while self._now() < due and not self._over.is_set():
            soon = min(due, self._now() + NOTICE_NS)
            await self._alarm.sleep_close_to(soon)
            await self._alarm.wait_until(soon)
        return not self._over.is_set()

    # One request.

    def _ready(self, planned: Planned, due: int, scope: CancelScope) -> Flight:
        exchange = Exchange(self._task.id_of(planned), self._now)
        flight = Flight(planned, exchange, due=due, scope=scope)
        exchange.on_piece = self._decoding.watch(flight)
        return flight

    async def _send(self, flight: Flight) -> None:
        exchange, turn = flight.exchange, flight.turn
        request = self._task.requests[flight.planned.prompt] if turn is None else turn.request
        self._flights[flight] = None
        flight.in_flight = len(self._flights)
        flight.entered = self._now()
        try:
            await self._session.send(request, exchange)
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
        self._account(record)
        if flight.turn is not None:
            flight.turn.hear(record, completion, flight.ended)
        if record.status == "ok":
            self._succeeded = True
        elif not self._succeeded and record.status != "cancelled":
            self._failed_first += 1
            if self._failed_first == self._task.stop_on_errors:
                self.stop(f"the first {self._failed_first} requests all failed; the last one: {record.error_message}")

    def _account(self, record: Record) -> None:
        self._finished.append(record)
        self._accounted += 1

    # The window, and who watches over it.

    def _mark_start(self, planned: Planned, due: int) -> None:
        if self._start is None and planned.measured:
            self.started_elsewhere(due)
            self._on_start(due)

    def _finish_sending(self, at: int) -> None:
        if self._end is None:
            self._end = at
            self._over.set()

    async def _close_window(self) -> None:
        """End sending after the load's seconds."""
        if self._task.load.seconds is None:
            return
        await self._started.wait()
        # In steps: timers may fire early, and another engine's start may come to be known.
        while (left := (self._deadline() or 0) - self._now()) > 0:  # noqa: ASYNC110 - there is no event but time
            await sleep(min(left / 1e9, FLUSH_SECONDS))
        self._finish_sending(self._deadline() or 0)

    async def _drain(self) -> None:
        """After the end of sending, wait for what is in flight, then cancel it."""
        await self._over.wait()
        await sleep(self._task.drain_seconds)
        self._drained = True
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
                late = self._now() + LATE_NS
                for _ in self._log.appending(batch):
                    if self._now() < late:
                        await checkpoint()
            self._on_records(batch)

    def _write_rest(self) -> None:
        if not self._drained and self._stopped is None:
            self._scheduled -= len(self._waiting)  # interrupted: whoever resumes the run sends them
            self._waiting.clear()
        for planned, due in self._waiting:
            reason = f"not sent: {self._stopped}" if self._stopped else "still waiting for a free place under max_concurrency"
            self._account(record_of_unsent(planned, self._task, reason, due=due))
        batch, self._finished = self._finished, []
        for _ in self._log.appending(batch):
            pass
        self._on_records(batch)

    def _leave(self, first: list[Planned], rest: Iterator[Planned]) -> None:
        """Write down what an early stop left unsent, where the plan says how much that is."""
        if self._stopped is None or self._task.load.total(self._task.prompts) is None:
            return
        for planned in (*first, *iter(lambda: self._next(rest), None)):
            if self._task.load.streams or self._task.owns(planned):
                self._scheduled += 1
                self._account(record_of_unsent(planned, self._task, f"not sent: {self._stopped}"))

    def _next(self, plan: Iterator[Planned]) -> Planned | None:
        done = self._task.done
        if not done:
            return next(plan, None)
        return next((planned for planned in plan if planned.number not in done), None)
