"""What every simulated server is: jobs in, token times out. It has no clock: the caller says what time it is."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

__all__ = ["Dealt", "Job", "Service"]


class Job:
    """One request at a simulated server. Times are nanoseconds of the caller's clock."""

    __slots__ = (
        "_times", "at_ns", "cancelled_ns", "ended_ns", "number", "output_tokens", "prompt_tokens", "ready_ns", "refused",
        "started_ns",
    )  # fmt: skip

    def __init__(self, number: int, at_ns: int, ready_ns: int, prompt_tokens: int, output_tokens: int) -> None:
        self.number: int = number
        """Counted in the order of their coming."""
        self.at_ns: int = at_ns
        """When it came."""
        self.ready_ns: int = ready_ns
        """When its turn in the queue began: not before that of those who came first."""
        self.prompt_tokens: int = prompt_tokens
        self.output_tokens: int = output_tokens
        self.started_ns: int | None = None
        """When it left the queue."""
        self.ended_ns: int | None = None
        """When it had its last token."""
        self.cancelled_ns: int | None = None
        """When its client went away."""
        self.refused: str | None = None
        """Why it was never taken in."""
        self._times: Callable[[], array[int]] | None = None

    @property
    def times_ns(self) -> array[int]:
        """When it got each token; of a job that has not ended, what is known by now."""
        times = array("q") if self._times is None else self._times()
        return times if self.cancelled_ns is None else array("q", [at for at in times if at <= self.cancelled_ns])

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.ended_ns is not None or self.cancelled_ns is not None or self.refused is not None

    def cancel(self, at_ns: int) -> None:
        """The service's: its client has gone, and what it got stays as it is."""
        self.cancelled_ns = at_ns
        told = self.times_ns
        self._times = lambda: told

    def told_by(self, times: Callable[[], array[int]]) -> None:
        """The service's: where its times are found."""
        if self.cancelled_ns is None:
            self._times = times


class Dealt(NamedTuple):
    """At one moment, a token for each of some jobs."""

    at_ns: int
    jobs: Sequence[Job]


class Service(Protocol):
    """A server at work. Time goes forward only; what is submitted at the end of a step takes part in the next one.

    A step is settled by ``step`` or ``advance``, once it has ended, and not before: so a caller who looks at ``next_ns``,
    waits, and learns meanwhile of a request that came before the step began, gets what a server would have done.
    """

    def submit(self, at_ns: int, *, prompt_tokens: int, output_tokens: int) -> Job:
        """Take a request in, or refuse it (``Job.refused``). Jobs queue in the order of these calls."""
        ...

    def cancel(self, job: Job, at_ns: int) -> None:
        """Its client has gone: it gets no more tokens, and its place is free from the end of the present step."""
        ...

    def next_ns(self) -> int | None:
        """When the next tokens come, if nobody else does before; ``None`` where nothing is left to do."""
        ...

    def next_end_ns(self) -> int | None:
        """No job ends before this, if nobody else comes; ``None`` where nothing is left to do."""
        ...

    def step(self, until_ns: int) -> Dealt | None:
        """The next tokens, where they come by ``until_ns``, else ``None``."""
        ...

    def advance(self, until_ns: int) -> Sequence[Job]:
        """Go on to the next moment at which a job ends, and say which do; or to ``until_ns``, where none does. Quick."""
        ...
