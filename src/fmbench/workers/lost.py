"""What share of a plan a worker has, and what becomes of it when the worker dies."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet

from fmbench.engine import Assignment
from fmbench.engine.flight import record_of_unsent
from fmbench.load import Planned
from fmbench.types import Record

__all__ = ["dealt", "records_of_lost"]


def dealt(assignment: Assignment) -> AbstractSet[int] | None:
    """The prompts that a worker's share sends; ``None``: any of them, since only time ends the load."""
    if assignment.load.total(assignment.prompts) is None and assignment.load.streams is not None:
        return None
    return {planned.prompt for plan in _plans(assignment) for planned in plan}


def records_of_lost(assignment: Assignment, recorded: AbstractSet[int], *, begin: int, died: int, how: str) -> list[Record]:
    """Records of what a worker that died left of its share.

    A request that was due by then may have been sent: what became of it is not known, and it counts as an error. In a closed
    load that is the next one of each stream.

    Args:
        assignment: The worker's.
        recorded: The numbers of the requests that have a record.
        begin: When the engines began, in nanoseconds of ``time.perf_counter_ns``.
        died: When the worker died.
        how: What is known of its end.
    """
    ended = assignment.load.total(assignment.prompts) is not None or assignment.load.streams is None
    lost: list[Record] = []
    first_due = None
    for plan in _plans(assignment):
        missing = [planned for planned in plan if planned.number not in recorded] if ended else _first(plan, recorded)
        for place, planned in enumerate(missing):
            due = None
            if planned.due_seconds is not None:
                first_due = _first_due(assignment) if first_due is None else first_due
                due = begin + round((planned.due_seconds - first_due) * 1e9)
            if due is not None:
                begun = due <= died
            else:  # a stream's next one, or the next turn of a conversation
                begun = place == 0 if assignment.load.streams is not None else planned.number - 1 in recorded
            lost.append(_record(planned, assignment, due, how, begun=begun))
    return lost


def _record(planned: Planned, assignment: Assignment, due: int | None, how: str, *, begun: bool) -> Record:
    reason = f"worker {assignment.worker} {how} before this request had a record"
    record = record_of_unsent(planned, assignment, reason, due=due)
    return record._replace(status="error", error_kind="worker") if begun else record


def _plans(assignment: Assignment) -> Iterator[Iterator[Planned]]:
    """The plan of each stream, or the one of an open load: this worker's requests that had no record before."""
    load = assignment.load
    streams = [0] if load.streams is None else range(assignment.worker, load.streams, assignment.workers)
    for stream in streams:
        plan = load.plan(assignment.prompts, warmup=assignment.warmup, stream=stream)
        yield (
            planned
            for planned in plan
            if planned.number not in assignment.done and (load.streams is not None or assignment.owns(planned))
        )


def _first(plan: Iterator[Planned], recorded: AbstractSet[int]) -> list[Planned]:
    return [next(planned for planned in plan if planned.number not in recorded)]


def _first_due(assignment: Assignment) -> float:
    """When the first request of all workers was due: that moment is the common beginning."""
    plan = assignment.load.plan(assignment.prompts, warmup=assignment.warmup)
    dues = (planned.due_seconds for planned in plan if planned.number not in assignment.done)
    return next(due for due in dues if due is not None)
