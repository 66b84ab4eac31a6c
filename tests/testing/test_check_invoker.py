"""``check_invoker`` catches sessions that mix up replies, and decoders that disagree with ``decode``."""

import pytest

from fmbench import Completion, Delta, Endpoint
from fmbench.testing import Echo, check_invoker

HERE = Endpoint(name="here", url="in-process://")


def repeats(prompt, completion):
    return completion.text.split() == prompt.text.split()


def test_replies_that_are_mixed_up_are_seen():
    last = []

    class Mixing(Echo):
        """Answers with what was asked last, by whomever."""

        async def send(self, request, exchange):
            last[:] = [request]
            await super().send(request, Late(exchange, last))

    class Late:
        def __init__(self, exchange, last):
            self._exchange, self._last, self._count = exchange, last, 0

        def sent(self):
            self._exchange.sent()

        def piece(self, data):
            self._exchange.piece(self._last[0].payload["inputs"].split()[self._count] + " ")
            self._count += 1

    check_invoker(Mixing(), HERE)  # nothing tells, where nobody knows what a reply should be
    with pytest.raises(AssertionError, match=r"'Say the number 0\.' was answered by 'Say the number 3\. '"):
        check_invoker(Mixing(), HERE, answers=repeats)
    check_invoker(Echo(), HERE, answers=repeats)


class Decoder:
    def __init__(self, lose):
        self.lose = lose
        self.deltas = []

    def feed(self, piece):
        self.deltas.append(Delta(len(self.deltas), text=piece))

    def close(self, head):
        return Completion(deltas=self.deltas[self.lose :], streamed=True, finish_reason="stop")


@pytest.mark.parametrize("lose", [0, 1])
def test_a_decoder_that_decodes_something_else_is_seen(lose):
    class Online(Echo):
        def decoder(self):
            return Decoder(lose)

    if lose:
        with pytest.raises(AssertionError, match="piece by piece"):
            check_invoker(Online(usage=False), HERE)
    else:
        check_invoker(Online(usage=False), HERE)


def test_what_is_no_decoder_is_seen():
    class Wrong(Echo):
        def decoder(self):
            return object()

    with pytest.raises(AssertionError, match="lacks feed or close"):
        check_invoker(Wrong(), HERE)
