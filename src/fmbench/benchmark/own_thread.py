"""A run has a thread and a loop of its own, so that it works in a script, in a thread and inside a running loop alike."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Generic, TypeVar

import anyio
from anyio import CancelScope, from_thread, get_cancelled_exc_class
from anyio.lowlevel import current_token

__all__ = ["OwnThread"]

T = TypeVar("T")


class OwnThread(Generic[T]):
    """Runs ``conduct`` on a loop in a thread, then ``conclude`` in the same thread.

    Args:
        conduct: The asynchronous part; cancelled from outside at any moment.
        conclude: What follows when it ended by itself, or was cancelled (then it is told so).
        loop: ``uvloop`` or ``asyncio``.
    """

    def __init__(self, conduct: Callable[[], Awaitable[None]], conclude: Callable[[bool], T], *, loop: str) -> None:
        self._conduct = conduct
        self._conclude = conclude
        self._loop = loop
        self._outcome: T
        self._error: BaseException | None = None
        self._cancelled = False
        self._begun = False
        self._abandoned = False
        self._scope: CancelScope | None = None
        self._asyncio: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._notify: Callable[[], None] = lambda: None
        self._thread = threading.Thread(target=self._main, name="fmbench")

    def run(self) -> T:
        """Wait for it in this thread; an interrupt cancels it, and is raised again when it has taken everything down."""
        try:
            self._thread.start()
        except BaseException as error:
            if self._abandon():
                raise
            self._wait(error)
            raise
        interrupt = self._wait(None)
        if interrupt is not None:
            raise interrupt
        return self._result()

    async def run_async(self) -> T:
        """Wait for it as a task of the caller's loop; cancelling the task cancels the run and waits for its teardown."""
        ended, token = anyio.Event(), current_token()
        self._notify = lambda: from_thread.run_sync(ended.set, token=token)
        self._thread.start()
        try:
            await ended.wait()
        except get_cancelled_exc_class():
            self.cancel()
            with CancelScope(shield=True):
                await ended.wait()
            raise
        finally:
            self._thread.join()
        return self._result()

    def _abandon(self) -> bool:
        """Keep the thread from beginning; whether it had not yet, so that there is nothing to wait for."""
        with self._lock:
            self._abandoned = not self._begun
            return self._abandoned

    def _wait(self, interrupt: BaseException | None) -> BaseException | None:
        """Wait for the thread's end, whatever interrupts it, how often it may; the last one."""
        while True:
            try:
                if interrupt is not None:
                    self.cancel()
                # Not Thread.join: an interrupt in there takes the thread for dead. Not for ever: a signal that another
                # thread took would not end the wait.
                while not self._ended.wait(0.2):
                    pass
                self._thread.join()
            except BaseException as error:  # noqa: BLE001 - whatever a signal handler raises is raised again by `run`
                interrupt = error
            else:
                return interrupt

    def cancel(self) -> None:
        """End the run early, from any thread; returns at once."""
        with self._lock:
            self._cancelled = True
            if self._scope is not None and self._asyncio is not None:
                with suppress(RuntimeError):  # the loop is closed: the run has just ended by itself
                    self._asyncio.call_soon_threadsafe(self._scope.cancel)

    def _result(self) -> T:
        if self._error is not None:
            raise self._error
        return self._outcome

    def _main(self) -> None:
        with self._lock:
            if self._abandoned:
                return
            self._begun = True
        try:
            anyio.run(self._loop_main, backend="asyncio", backend_options={"use_uvloop": self._loop == "uvloop"})
            self._outcome = self._conclude(self._cancelled)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._error = error
        finally:
            self._ended.set()
            with suppress(RuntimeError):  # the caller's loop is gone, and nobody waits
                self._notify()

    async def _loop_main(self) -> None:
        with CancelScope() as scope:
            with self._lock:
                self._scope, self._asyncio = scope, asyncio.get_running_loop()
                if self._cancelled:
                    scope.cancel()
            await self._conduct()
