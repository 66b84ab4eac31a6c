"""Replies that are one document: gathered piece by piece, read at their end."""

from __future__ import annotations

from fmbench import Delta
from fmbench.invokers.failures import NO_FAILURES, Failures

__all__ = ["WholeReply"]


class WholeReply:
    """What decoders of whole replies share; ``close`` is theirs.

    Args:
        failures: Makes its errors.
    """

    __slots__ = ("_failures", "_pieces", "deltas")

    def __init__(self, failures: Failures = NO_FAILURES) -> None:
        self.deltas: list[Delta] = []
        self._failures = failures
        self._pieces: list[bytes] = []

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        self._pieces.append(piece)

    def _body(self) -> bytes:
        return b"".join(self._pieces)
