"""A client at its limit: what has arrived and is not decoded yet stays bounded."""

from types import SimpleNamespace

import anyio

from fmbench import Completion
from fmbench.engine.decoding import MOST, Decoding


class Decoder:
    deltas = ()

    def feed(self, piece):
        pass

    def close(self, head):
        return Completion(deltas=(), streamed=True, finish_reason="stop")


def landed_flight(pieces):
    exchange = SimpleNamespace(pieces=[b""] * pieces, stamps=[0] * pieces, status=200, headers={}, on_piece=None)
    return SimpleNamespace(exchange=exchange, decoder=Decoder(), queued=False, landed=False, failure=None)


def test_more_pieces_than_may_wait_are_decoded_in_one_slice():
    async def run():
        flights = [landed_flight(128) for _ in range(1000)]
        ended = []
        decoding = Decoding(SimpleNamespace(), lambda flight, *_: ended.append(flight))
        for flight in flights:
            decoding.land(flight)
        decoding.slice()
        return sum(len(flight.exchange.pieces) for flight in flights), len(ended)

    waiting, ended = anyio.run(run)
    assert waiting <= 1.25 * MOST  # ending replies counts as work, too
    assert 0 < ended < 1000  # and no more than that: sockets want to be read


def test_few_replies_are_decoded_in_short_slices():
    async def run():
        flights = [landed_flight(20) for _ in range(512)]
        decoding = Decoding(SimpleNamespace(), lambda *_: None)
        for flight in flights:
            decoding.land(flight)
        decoding.slice()
        return sum(len(flight.exchange.pieces) for flight in flights)

    assert anyio.run(run) > 512 * 20 * 0.9
