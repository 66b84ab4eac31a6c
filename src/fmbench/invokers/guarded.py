"""Replies whose status says first whether they are replies at all."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fmbench import Completion, Decoder, Delta, Head

__all__ = ["MOST_START", "GuardedDecoder"]

MOST_START = 4096
"""Bytes kept from a body's start, to quote from when the status is an error."""


class GuardedDecoder:
    """Decodes one reply, unless its status says that it is none.

    Args:
        inner: Decodes the model's reply.
        refuse: Given the head and the body's start, raises ``InvokeError`` for a status that is no success.
    """

    __slots__ = ("_inner", "_refuse", "_start")

    def __init__(self, inner: Decoder, refuse: Callable[[Head, bytes], None]) -> None:
        self._inner = inner
        self._refuse = refuse
        self._start = b""

    @property
    def deltas(self) -> Sequence[Delta]:
        """What came."""
        return self._inner.deltas

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        if len(self._start) < MOST_START:
            self._start += piece
        self._inner.feed(piece)

    def close(self, head: Head) -> Completion:
        """The body has ended.

        Raises:
            InvokeError: the server or the model said that it failed, or the reply is not whole.
        """
        self._refuse(head, self._start)
        return self._inner.close(head)
