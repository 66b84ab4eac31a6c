"""Signals that would end the process end the run instead, so that everything is taken down."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["interruptible"]

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
NOTICE = "stopping: what was deployed is being taken down"


@contextmanager
def interruptible(say: Callable[[str], None]) -> Iterator[None]:
    """Turn the first SIGINT, SIGTERM or SIGHUP into ``KeyboardInterrupt``; later ones are heard, and hurry nothing.

    Raised again, it would leave the run before its teardown, which is what costs money.

    Only the command line does this; the library leaves its caller's handlers alone. A SIGHUP that is ignored, as under
    ``nohup``, stays ignored.

    Args:
        say: Told that a signal was heard; called within the handler, so it must not wait for anything.
    """
    heard = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal heard
        say(NOTICE)
        if not heard:
            heard = True
            raise KeyboardInterrupt

    before: dict[int, Any] = {}
    for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
        if number != getattr(signal, "SIGHUP", None) or signal.getsignal(number) is not signal.SIG_IGN:
            before[number] = signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
