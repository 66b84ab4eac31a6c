"""Cancels a coroutine at one await after another: each place where it waits, in one attempt each."""

from __future__ import annotations

import gc
import sysconfig
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

import anyio

__all__ = ["CancelEverywhere"]

TIMES = 3
"""How often a place is tried: the first times that a coroutine comes by. What polls would never come to an end otherwise."""

Place = tuple[tuple[str, int, int], ...]


class CancelEverywhere:
    """Remembers at which awaits a coroutine has been cancelled, so that each attempt finds another.

    An await is told from others by all the lines of the coroutines that lead to it, and by how often it has come by.
    """

    def __init__(self) -> None:
        self._tried: set[tuple[Place, int]] = set()

    async def attempt(self, coroutine: Coroutine[Any, Any, None], before: Callable[[], None]) -> str | None:
        """Drive the coroutine, and cancel it at the first await at which it never was.

        Args:
            coroutine: What to drive.
            before: Called just before it is cancelled.

        Returns:
            Where it was cancelled; ``None`` when it came through with no await left to try.
        """
        scope = anyio.CancelScope()
        driven = _Driven(coroutine, scope, self._tried, before)
        with scope:
            await driven
        return driven.cancelled_at


class _Driven(Awaitable[None]):
    """A coroutine that is driven by hand."""

    def __init__(
        self,
        coroutine: Coroutine[Any, Any, None],
        scope: anyio.CancelScope,
        tried: set[tuple[Place, int]],
        before: Callable[[], None],
    ) -> None:
        self._coroutine = coroutine
        self._scope = scope
        self._tried = tried
        self._before = before
        self._seen: Counter[Place] = Counter()
        self.cancelled_at: str | None = None

    def __await__(self) -> Generator[Any, Any, None]:
        error, value = None, None
        while True:
            try:
                waited = self._coroutine.throw(error) if error is not None else self._coroutine.send(value)
            except StopIteration:
                return
            if self.cancelled_at is None:
                self._consider(_place(self._coroutine))
            error = value = None
            try:
                value = yield waited
            except BaseException as thrown:  # noqa: BLE001 - thrown into the coroutine, where it belongs
                error = thrown

    def _consider(self, place: Place) -> None:
        self._seen[place] += 1
        key = place, self._seen[place]
        if self._seen[place] > TIMES or key in self._tried:
            return
        self._tried.add(key)
        self.cancelled_at = _told(place)
        self._before()
        self._scope.cancel()


def _place(waiting: Any) -> Place:
    """The chain of frames that wait for each other, from the outermost to the one that waits for the loop."""
    lines: list[tuple[str, int, int]] = []
    passed: set[int] = set()
    while waiting is not None and id(waiting) not in passed:
        passed.add(id(waiting))
        frame = _attribute(waiting, "cr_frame", "ag_frame", "gi_frame")
        if frame is not None:
            lines.append((frame.f_code.co_filename, frame.f_lineno or 0, frame.f_lasti))
        waiting = _attribute(waiting, "cr_await", "ag_await", "gi_yieldfrom") if frame is not None else _inside(waiting)
    return tuple(lines)


def _told(place: Place) -> str:
    """The innermost line that an adapter's author may have written; libraries' are deeper."""
    libraries = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))
    own = [(file, line) for file, line, _ in place if not file.startswith(libraries)]
    file, line = own[-1] if own else place[-1][:2]
    return f"line {line} of {file}"


def _inside(opaque: Any) -> Any:
    """What an asynchronous generator's ``__anext__()`` or a coroutine's ``__await__()`` drives; they name it nowhere else."""
    kinds = (AsyncGeneratorType, CoroutineType, GeneratorType)
    return next((found for found in gc.get_referents(opaque) if isinstance(found, kinds)), None)


def _attribute(thing: Any, *names: str) -> Any:
    return next((value for name in names if (value := getattr(thing, name, None)) is not None), None)
