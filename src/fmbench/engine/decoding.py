"""Replies are decoded in short slices between the sockets' reads: never a whole long reply in one go, never in a thread.

Either of those costs 100 ms at 512 streams, since first tokens then wait unread behind the decoding of old replies.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from threading import get_ident

from anyio import Event

from fmbench.engine.flight import Flight
from fmbench.engine.turning import turn_of_this_loop
from fmbench.errors import InvokeError
from fmbench.interfaces import Decoder, Session
from fmbench.types import Completion, Delta, Head

__all__ = ["Decoding"]

SLICE = 32
"""Pieces decoded between two reads: about 0.1 ms."""
REPLY = 8
"""What ending a reply costs, in pieces."""
BACKLOG = 64
"""Replies that may wait; from there on slices grow with the queue."""
MOST = 32_768
"""About how many pieces wait at most: what is more is decoded at once, or a client at its limit would fill its memory."""

Landed = Callable[[Flight, Completion | None, Sequence[Delta]], None]


class Decoding:
    """The queue of flights with something to decode.

    Args:
        session: Whose replies they are; one with a ``decoder`` has long replies decoded while they arrive.
        landed: Called with each ended flight, its reply where it was whole, and the content there was.
    """

    def __init__(self, session: Session, landed: Landed) -> None:
        self._session = session
        self._make: Callable[[], Decoder] | None = getattr(session, "decoder", None)
        self._landed = landed
        self._queue: deque[Flight] = deque()
        self._wake = Event()
        self._thread = get_ident()

    def watch(self, flight: Flight) -> Callable[[], None] | None:
        """What the exchange calls for each piece, or ``None`` where only whole replies can be decoded."""
        if self._make is None:
            return None
        flight.decoder = self._make()
        exchange = flight.exchange

        def arrived() -> None:
            if len(exchange.pieces) >= SLICE and not flight.queued:
                flight.queued = True
                self._enqueue(flight)

        return arrived

    def land(self, flight: Flight) -> None:
        """The flight has ended: decode what is left of it, in turn."""
        flight.landed = True
        if not flight.queued:
            flight.queued = True
            self._enqueue(flight)

    def wake(self) -> None:
        """Look at the queue again; pieces that came from another thread do not wake the loop themselves."""
        if self._queue:
            self._wake.set()

    async def run(self) -> None:
        """Decode for ever, a slice a turn of the loop."""
        turn = turn_of_this_loop()
        while True:
            if not self._queue:
                self._wake = Event()
                await self._wake.wait()
            self.slice()
            await turn()

    def finish(self) -> None:
        """Decode all that is left, at once: the measuring is over."""
        while self._queue:
            self.slice()

    def slice(self) -> None:
        """Decode about ``SLICE`` pieces, and more where the queue is long."""
        budget = SLICE * (1 + len(self._queue) // BACKLOG)
        if len(self._queue) > 4 * BACKLOG:
            budget = max(budget, sum(len(flight.exchange.pieces) for flight in self._queue) - MOST)
        while budget > 0 and self._queue:
            flight = self._queue.popleft()
            pieces = flight.exchange.pieces
            if flight.decoder is not None:
                budget -= self._feed(flight, flight.decoder, budget)
                if pieces and (flight.landed or len(pieces) >= SLICE):
                    self._queue.append(flight)
                    continue
            flight.queued = False
            if flight.landed:
                self._end(flight)
                budget -= REPLY

    def _enqueue(self, flight: Flight) -> None:
        self._queue.append(flight)
        if get_ident() == self._thread:
            self._wake.set()

    def _feed(self, flight: Flight, decoder: Decoder, most: int) -> int:
        pieces = flight.exchange.pieces
        part = pieces[:most]
        del pieces[: len(part)]  # more may have come meanwhile, from another thread
        feed = decoder.feed
        try:
            for piece in part:
                feed(piece)
        except Exception as error:  # noqa: BLE001 - a stranger's bug is a value in the record
            flight.failure = flight.failure or _bug(error)
        return len(part)

    def _end(self, flight: Flight) -> None:
        completion: Completion | None = None
        exchange = flight.exchange
        head = Head(exchange.status, exchange.headers)
        try:
            if flight.decoder is not None:
                completion = flight.decoder.close(head)
            else:
                completion = self._session.decode(exchange.pieces, head)
        except InvokeError as error:
            flight.failure = flight.failure or error
        except Exception as error:  # noqa: BLE001 - a stranger's bug is a value in the record
            flight.failure = flight.failure or _bug(error)
        deltas = completion.deltas if completion is not None else () if flight.decoder is None else flight.decoder.deltas
        if not _are_pieces([piece for piece, _, _, _ in deltas], len(exchange.stamps)):
            flight.failure = flight.failure or InvokeError("bug", "decode named a piece that was never handed over")
            deltas = ()
        self._landed(flight, completion, deltas)


def _are_pieces(named: list[int], count: int) -> bool:
    return not named or (min(named) >= 0 and max(named) < count)


def _bug(error: Exception) -> InvokeError:
    return InvokeError("bug", f"decode: {type(error).__name__}: {error}")
