"""Over real sockets: what goes out, and what is made of servers' answers."""

import asyncio
import json
import pickle
import time
from contextlib import asynccontextmanager

import pytest

from fmbench import ConfigError, Endpoint, Exchange, Head, InvokeError, Parameters, Prompt
from fmbench.invokers import OpenAI

HELLO = Prompt(id="p", text="hi")
CHAT = {"choices": [{"index": 0, "delta": {"content": "hello"}}]}
END = {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


class Server:
    """Answers each request with the same bytes, written in the given pieces, and keeps what came."""

    def __init__(self, *pieces):
        self.pieces = pieces
        self.requests = []

    @asynccontextmanager
    async def up(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        finally:
            server.close()
            await server.wait_closed()

    async def serve(self, reader, writer):
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            length = int(head.lower().partition("content-length:")[2].split("\r\n")[0])
            self.requests.append((head, json.loads(await reader.readexactly(length))))
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.005)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a connection to spare, or a client that has gone
        finally:
            writer.close()


def events(*chunks):
    return [f"data: {json.dumps(one)}\n\n".encode() for one in chunks]


def streamed(*pieces):
    return [b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n", *pieces]


def whole(status, kind, body):
    return [f"HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body]


def answered(pieces, *, prompt=HELLO, parameters=None, path="", model="m", **options):
    """One request to a server that answers so: its reply, its exchange, and what the server got."""

    async def main():
        server = Server(*pieces)
        async with server.up() as url:
            endpoint = Endpoint(name="e", url=url + path, model=model)
            async with OpenAI(**options).connect(endpoint, concurrency=1) as session:
                request = session.encode(prompt, parameters or Parameters())
                exchange = Exchange("the-id", time.perf_counter_ns)
                await session.send(request, exchange)
                head = Head(exchange.status, exchange.headers)
                return session.decode(exchange.pieces, head), exchange, request, server.requests[0]

    return asyncio.run(main())


def test_a_stream_is_told_piece_by_piece():
    reply, exchange, request, (head, body) = answered(streamed(*events(CHAT, CHAT, END)))
    assert (reply.text, reply.streamed, reply.usage.completion_tokens) == ("hellohello", True, 1)
    assert [delta.piece for delta in reply.deltas] == [0, 1]
    assert exchange.sent_at < exchange.stamps[0] < exchange.stamps[1]
    assert exchange.stamps[1] - exchange.stamps[0] > 4_000_000
    assert head.startswith("POST /v1/chat/completions HTTP/1.1\r\n")
    assert "X-Request-Id: the-id\r\n" in head
    assert "Content-Type: application/json\r\n" in head
    assert body == request.payload


def test_a_decoder_tells_the_same_while_the_reply_arrives():
    async def main():
        server = Server(*streamed(*events(CHAT, CHAT, END)))
        async with server.up() as url, OpenAI().connect(Endpoint(name="e", url=url), concurrency=1) as session:
            decoder = session.decoder()
            exchange = Exchange("x", time.perf_counter_ns)
            await session.send(session.encode(HELLO, Parameters()), exchange)
            for number, piece in enumerate(exchange.pieces):
                decoder.feed(piece)
                assert len(decoder.deltas) == min(number + 1, 2)
            head = Head(exchange.status, exchange.headers)
            assert decoder.close(head) == session.decode(exchange.pieces, head)

    asyncio.run(main())


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("pieces", "kind", "status", "match"),
    [
        (whole(401, "application/json", b'{"error": {"message": "no key"}}'), "unauthorized", 401, "HTTP 401: no key"),
        (whole(404, "application/json", b'{"detail": "no such model"}'), "not_found", 404, "no such model"),
        (whole(429, "application/json", b'{"error": "slow down"}'), "throttled", 429, "slow down"),
        (whole(500, "text/plain", b"it\nbroke"), "server", 500, "it broke"),
        (whole(503, "application/json", b'{"error": {"message": "loading"}}'), "not_ready", 503, "loading"),
        (whole(418, "text/plain", b""), "http", 418, "no message"),
        (whole(200, "text/html", b"<html>It works!</html>"), "decode", 200, "HTML came instead of JSON: is the URL"),
        (whole(200, "application/json", b'{"id": 3}'), "decode", 200, "not a completion|a whole JSON document came"),
        (whole(200, "text/plain", b""), "incomplete|decode", 200, "after 0 chunks|not a completion"),
    ],
)
def test_a_server_that_does_not_complete(stream, pieces, kind, status, match):
    with pytest.raises(InvokeError, match=match) as caught:
        answered(pieces, stream=stream)
    assert caught.value.kind in kind.split("|")
    assert caught.value.status == status
    assert "\n" not in caught.value.message


def test_a_stream_that_ends_early_is_incomplete():
    with pytest.raises(InvokeError, match="without a finish reason, after 1 chunks") as caught:
        answered(streamed(*events(CHAT)))
    assert caught.value.kind == "incomplete"


def test_an_error_in_mid_stream_is_the_models():
    with pytest.raises(InvokeError, match="CUDA died") as caught:
        answered(streamed(*events(CHAT, {"error": {"message": "CUDA died"}}, END)))
    assert caught.value.kind == "model_error"


def test_a_connection_lost_in_a_body_of_told_length_is_a_reset():
    [reply] = whole(200, "application/json", b'{"choices": []}')
    with pytest.raises(InvokeError) as caught:
        answered([reply[:-4]], stream=False)
    assert caught.value.kind == "reset"


def test_a_key_goes_out_is_not_shown_and_is_blotted_out_of_what_a_server_echoes(monkeypatch):
    monkeypatch.setenv("FMBENCH_TEST_KEY", "sk-0123456789")
    assert "hush" not in repr(OpenAI(api_key_env="FMBENCH_TEST_KEY", headers={"X-Secret": "hush"}))
    _, _, request, (head, _) = answered(streamed(*events(CHAT, END)), api_key_env="FMBENCH_TEST_KEY", headers={"X-Tenant": "t"})
    assert "Authorization: Bearer sk-0123456789\r\n" in head
    assert "X-Tenant: t\r\n" in head
    assert "sk-0123456789" not in repr(request.payload)
    echoing = whole(401, "application/json", b'{"error": {"message": "Incorrect API key provided: sk-0123456789."}}')
    with pytest.raises(InvokeError, match=r"provided: \*\*\*\.$"):
        answered(echoing, api_key_env="FMBENCH_TEST_KEY")


def test_a_key_that_is_not_there_is_told_when_connecting(monkeypatch):
    monkeypatch.delenv("FMBENCH_TEST_KEY", raising=False)
    with pytest.raises(ConfigError, match="api_key_env: the environment variable FMBENCH_TEST_KEY is not set"):
        answered([], api_key_env="FMBENCH_TEST_KEY")


def test_parameters_go_out_under_the_protocols_names():
    parameters = Parameters(
        max_new_tokens=9,
        temperature=0.5,
        top_p=0.9,
        top_k=5,
        do_sample=False,
        stop=["x"],
        seed=3,
        truncate="at-prompt-token-length",
    )
    prompt = Prompt(id="p", text="hi", tokens=7, max_new_tokens=4)
    _, _, _, (head, body) = answered(
        streamed(*events(CHAT, END)), prompt=prompt, parameters=parameters, path="/v1", extra={"min_p": 0.1, "top_p": 0.8}
    )
    assert head.startswith("POST /v1/chat/completions ")
    assert body == {
        "model": "m",
        "messages": [{"role": "user", "content": "hi"}],
        "max_tokens": 4,
        "temperature": 0,
        "top_p": 0.8,
        "top_k": 5,
        "stop": ["x"],
        "seed": 3,
        "truncate_prompt_tokens": 7,
        "stream": True,
        "stream_options": {"include_usage": True},
        "min_p": 0.1,
    }


def test_what_is_not_asked_for_does_not_go_out():
    reply = {"choices": [{"text": "x", "finish_reason": "stop"}]}
    pieces = whole(200, "application/json", json.dumps(reply).encode())
    parameters = Parameters(do_sample=True)
    _, _, _, (head, body) = answered(pieces, parameters=parameters, model=None, api="completions", stream=False)
    assert head.startswith("POST /v1/completions ")
    assert body == {"prompt": "hi"}


def test_messages_go_out_as_they_are_and_need_the_chat_protocol():
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}]
    prompt = Prompt(id="p", messages=messages)
    _, _, _, (_, body) = answered(streamed(*events(CHAT, END)), prompt=prompt)
    assert body["messages"] == messages
    with pytest.raises(ConfigError, match=r"prompt 'p' holds chat messages, .*: use api=\"chat\""):
        answered([], prompt=prompt, api="completions")


def test_a_prompt_that_is_no_json_is_told():
    with pytest.raises(ConfigError, match="prompt 'p' with its parameters and extra cannot be written as JSON"):
        answered([], prompt=Prompt(id="p", text="\ud800"))


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"api": "speech"}, "'chat', 'completions' or 'embeddings'"),
        ({"extra": {"n": 2}}, "n must be 1, not 2"),
        ({"extra": {"stream": False}}, "stream is an option of its own"),
        ({"stop": "x"}, "OpenAI has no option 'stop'"),
    ],
)
def test_options_that_cannot_work_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        OpenAI(**options)


def test_an_invoker_is_pickled_whole():
    invoker = OpenAI(api="completions", extra={"ignore_eos": True}, headers={"X-Tenant": "t"})
    assert pickle.loads(pickle.dumps(invoker)) == invoker
