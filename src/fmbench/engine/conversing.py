"""Keeping a load of conversations: a turn is sent when the one before it has its answer and the pause is over."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import heappop, heappush
from itertools import chain, groupby

from anyio import CancelScope, Event, create_task_group
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from fmbench.engine.flight import record_of_unsent
from fmbench.engine.outcome import Outcome
from fmbench.engine.pacing import Alarm
from fmbench.engine.sending import Engine
from fmbench.engine.talking import Talk
from fmbench.load import Planned

__all__ = ["ConversingEngine", "SharedAlarm"]

Turns = list[Planned]


class SharedAlarm:
    """One alarm for many tasks: it is always set to the earliest time that is waited for.

    Args:
        alarm: The one, which a single task may wait for at a time: the one that is in ``run``.
    """

    def __init__(self, alarm: Alarm) -> None:
        self._alarm = alarm
        self._waiting: list[tuple[int, int, Event]] = []
        self._count = 0
        self._news = Event()
        self._sleep = CancelScope()
        self._released = False

    async def sleep_close_to(self, at: int) -> None:
        """As an alarm's, for any number of tasks."""
        if self._released:
            await checkpoint()
            return
        rung = Event()
        self._count += 1
        heappush(self._waiting, (at, self._count, rung))
        if self._waiting[0][2] is rung:
            self._news.set()
            self._sleep.cancel()
        await rung.wait()

    async def wait_until(self, at: int) -> None:
        """As an alarm's."""
        await self._alarm.wait_until(at)

    async def run(self) -> None:
        """Wake the tasks, for ever."""
        while True:
            if not self._waiting:
                self._news = Event()
                await self._news.wait()
                continue
            at = self._waiting[0][0]
            with CancelScope() as self._sleep:
                await self._alarm.sleep_close_to(at)
            while not self._sleep.cancelled_caught and self._waiting and self._waiting[0][0] <= at:
                heappop(self._waiting)[2].set()

    def release(self) -> None:
        """Let nobody wait any more."""
        self._released = True
        for _, _, rung in self._waiting:
            rung.set()
        self._waiting.clear()


class ConversingEngine(Engine):
    """An engine whose load plans sessions (``load.Conversing``)."""

    async def run(self) -> Outcome:
        """Send, wait for the replies, and log all of it."""
        self._alarm = shared = SharedAlarm(self._alarm)

        async def release() -> None:
            await self._over.wait()
            shared.release()

        outcome = Outcome(None, 0, None)
        async with create_task_group() as pauses:
            pauses.start_soon(shared.run)
            pauses.start_soon(release)
            outcome = await super().run()
            pauses.cancel_scope.cancel()
        return outcome

    # Closed loads: a stream has one session at a time.

    async def _stream(self, plan: Iterator[Planned]) -> None:
        sessions = self._sessions(plan)
        upcoming = next(sessions, None)
        if upcoming is None:
            self._one_less(self._now())
        while upcoming is not None and not self._is_over(self._now()):
            turns, upcoming = upcoming, next(sessions, None)
            await self._converse(turns, self._now(), last=upcoming is None)
        if upcoming is not None:
            self._leave(upcoming, chain.from_iterable(sessions))
            self._one_less(self._now())

    # Open loads: a session's first turn is due when the plan says so; sending is over with the last session's last turn.

    async def _open(self) -> None:
        task = self._task
        sessions = self._sessions(task.load.plan(task.prompts, warmup=task.warmup))
        first = next(sessions, None)
        self._issuing = 1
        async with create_task_group() as talks:
            if first is None:
                self._finish_sending(self._now())
            else:
                await self._begin_sessions(first, sessions, talks)

    async def _begin_sessions(self, first: Turns, sessions: Iterator[Turns], talks: TaskGroup) -> None:
        task = self._task
        zero = due = (self._now() if self._begin is None else self._begin) - _nanoseconds(first)
        upcoming: Turns | None = first
        last = first
        while upcoming is not None:
            due = zero + _nanoseconds(upcoming)
            if task.owns(upcoming[0]):
                self._issuing += 1
                begun = Event()
                talks.start_soon(self._begin_session, upcoming, due, begun)
                await begun.wait()
                if self._over.is_set():
                    self._leave([], chain.from_iterable(sessions))
                    return
            self._mark_start(upcoming[0], due)
            last, upcoming = upcoming, next(sessions, None)
        whole = last[-1].number + 1 - task.warmup == task.load.total(task.prompts)
        if await self._until_due(due) and (self._start is None or task.load.seconds is None or whole):
            self._one_less(due)
        else:
            await self._over.wait()

    async def _begin_session(self, turns: Turns, due: int, begun: Event) -> None:
        await self._until_due(due)
        begun.set()
        await self._converse(turns, due, last=True)

    # One session.

    async def _converse(self, turns: Turns, due: int, *, last: bool) -> None:
        """Send its turns.

        Args:
            turns: All of them.
            due: When the first one is due.
            last: Whether nothing is issued by this stream after it.
        """
        task = self._task
        talk = Talk(turns, task.prompts, task.requests[turns[0].prompt])
        while await self._say(talk, due, last=last and len(talk.coming) == 1):
            talk.coming.popleft()
            if not talk.coming:
                return
            await talk.turn.heard.wait()
            if self._over.is_set():
                continue  # nothing is sent any more
            prompt = task.prompts[talk.coming[0].prompt]
            due = talk.turn.ended + round(prompt.pause_seconds * 1e9)
            reason = talk.go_on(self._session, task.parameters)
            if reason is not None:
                self._give_up(talk.coming, reason)
                break
        else:
            self._leave(list(talk.coming), iter(()))
        if last:
            self._one_less(self._now())

    async def _say(self, talk: Talk, due: int, *, last: bool) -> bool:
        """Send the next turn when it is due; whether it could be sent then."""
        planned = talk.coming[0]
        with CancelScope() as scope:
            flight = self._ready(planned, due, scope)
            flight.turn = talk.turn
            if not await self._until_due(due):
                return False
            self._scheduled += 1
            self._mark_start(planned, due)
            if last:
                self._one_less(due)
            await self._send(flight)
        return True

    async def _until_due(self, due: int) -> bool:
        """Wait until then, never less; whether sending is not over by then."""
        while self._now() < due and not self._over.is_set():
            await self._alarm.sleep_close_to(due)
            if not self._over.is_set():
                await self._alarm.wait_until(due)
        return not self._is_over(due)

    def _give_up(self, turns: Sequence[Planned], reason: str) -> None:
        self._scheduled += len(turns)
        for planned in turns:
            self._account(record_of_unsent(planned, self._task, f"not sent: {reason}"))

    def _sessions(self, plan: Iterator[Planned]) -> Iterator[Turns]:
        """The plan's sessions. What an earlier sitting left of one cannot be sent: the answers are another sitting's."""
        left = iter(lambda: self._next(plan), None)
        for _, group in groupby(left, key=lambda planned: planned.place and planned.place.session):
            turns = list(group)
            if turns[0].place is None or turns[0].place.turn == 1:
                yield turns
            elif self._task.load.streams or self._task.owns(turns[0]):
                self._give_up(turns, "its conversation was cut short by the end of an earlier sitting")


def _nanoseconds(session: Turns) -> int:
    return round((session[0].due_seconds or 0.0) * 1e9)
