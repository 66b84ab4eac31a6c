"""TGI's own protocol over real sockets: what goes out, and what is made of what comes."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest

from fmbench import ConfigError, Endpoint, Exchange, Head, InvokeError, Parameters, Prompt, Usage
from fmbench.invokers import TGI

GIVEN = Parameters(max_new_tokens=9, stop=["x"])
HELLO = Prompt(id="p", text="hi", tokens=7)


def event(text, **more):
    return (
        b"data:"
        + json.dumps({"token": {"id": 1, "text": text, "special": False}, "generated_text": None} | more).encode()
        + b"\n\n"
    )


LAST = {"token": {"id": 3, "text": "</s>", "special": True}, "generated_text": " a \u00e9"}
LAST |= {"details": {"finish_reason": "eos_token", "generated_tokens": 3, "input_length": 7}}
EVENTS = [event(" a"), event(" \u00e9"), event("", **LAST)]


def streamed(*chunks):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head, *(b"%x\r\n%s\r\n" % (len(one), one) for one in chunks), b"0\r\n\r\n"]


def whole(status, body):
    text = json.dumps(body).encode()
    return [b"HTTP/1.1 %d Said\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (status, len(text), text)]


@asynccontextmanager
async def server(pieces, requests):
    async def serve(reader, writer):
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            requests.append((first, headers, json.loads(await reader.readexactly(int(headers["content-length"])))))
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.002)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # a connection to spare
        finally:
            writer.close()

    up = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{up.sockets[0].getsockname()[1]}"
    finally:
        up.close()
        await up.wait_closed()


def answered(pieces, *, prompt=HELLO, parameters=None, **options):
    async def main():
        requests = []
        async with (
            server(pieces, requests) as url,
            TGI(**options).connect(Endpoint(name="e", url=url), concurrency=1) as session,
        ):
            exchange = Exchange("the-id", time.perf_counter_ns)
            await session.send(session.encode(prompt, parameters or Parameters()), exchange)
            decoder = session.decoder()
            for piece in exchange.pieces:
                decoder.feed(piece)
            try:
                outcome = decoder.close(Head(exchange.status, exchange.headers))
            except InvokeError as error:
                outcome = error
        return outcome, decoder.deltas, exchange, requests[0]

    return asyncio.run(main())


def test_a_stream_is_asked_for_and_its_tokens_are_told_one_by_one():
    reply, _, exchange, (first, headers, body) = answered(
        streamed(*EVENTS), parameters=Parameters(max_new_tokens=9, stop=["x"])
    )
    assert first == "POST /generate_stream HTTP/1.1"
    assert headers["x-request-id"] == "the-id"
    asked = {"max_new_tokens": 9, "stop": ["x"], "return_full_text": False, "details": True}
    assert body == {"inputs": "hi", "parameters": asked}
    assert (reply.text, reply.finish_reason, reply.streamed) == (" a é", "eos_token", True)
    assert reply.usage == Usage(prompt_tokens=7, completion_tokens=3)
    assert [(delta.piece, delta.tokens) for delta in reply.deltas] == [(0, 1), (1, 1), (2, 1)]
    assert list(exchange.stamps) == sorted(exchange.stamps)


@pytest.mark.parametrize("step", [1, 5, 7, 60])
def test_events_may_be_cut_anywhere(step):
    text = b"".join(EVENTS)
    reply, _, _, _ = answered(streamed(*(text[at : at + step] for at in range(0, len(text), step))))
    assert (reply.text, reply.usage.completion_tokens) == (" a é", 3)


def test_a_whole_reply_has_no_times_of_tokens():
    told = {"generated_text": " a b", "details": {"finish_reason": "length", "generated_tokens": 2, "input_length": 7}}
    reply, _, _, (first, _, body) = answered(whole(200, told), stream=False)
    assert first == "POST /generate HTTP/1.1"
    assert "stream" not in body
    assert (reply.text, reply.streamed, reply.usage.completion_tokens) == (" a b", False, 2)


@pytest.mark.parametrize(
    ("pieces", "kind", "status", "match", "text"),
    [
        (whole(422, {"error": "inputs too long", "error_type": "validation"}), "validation", 422, "inputs too long", ""),
        (whole(429, {"error": "Model is overloaded", "error_type": "overloaded"}), "throttled", 429, "overloaded", ""),
        (whole(424, {"error": "CUDA died", "error_type": "generation"}), "model_error", 424, "CUDA died", ""),
        (whole(503, {"error": "loading"}), "not_ready", 503, "loading", ""),
        (
            streamed(EVENTS[0], b'data:{"error":"out of memory","error_type":"generation"}\n\n'),
            "model_error",
            None,
            "memory",
            " a",
        ),
        (streamed(*EVENTS[:2]), "incomplete", 200, "ended early, after 2 tokens", " a é"),
        (streamed(EVENTS[0], b"data:{oops\n\n"), "decode", None, "not JSON", " a"),
    ],
)
def test_failures_have_their_kind_and_what_came_before(pieces, kind, status, match, text):
    error, deltas, exchange, _ = answered(pieces)
    assert isinstance(error, InvokeError)
    assert (error.kind, error.status) == (kind, status)
    assert match in error.message
    assert "".join(delta.text for delta in deltas) == text
    assert exchange.stamps


def test_chat_messages_cannot_be_sent():
    with pytest.raises(ConfigError, match="holds chat messages"):
        answered(streamed(*EVENTS), prompt=Prompt(id="c", messages=[{"role": "user", "content": "x"}]))
