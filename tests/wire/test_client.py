"""The client against a server that behaves, and against one that does not."""

import asyncio
import contextlib
import os
import socket
import sys
import time

import pytest

from fmbench import ConfigError, InvokeError
from fmbench.wire import connect

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


async def answer(writer, *parts, pause=0.0):
    for part in parts:
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(pause)


def always(*parts, pause=0.0, then=None):
    async def act(reader, writer, head):
        await answer(writer, *parts, pause=pause)
        return then

    return act


async def send(url, sink, *, method="POST", body=b"{}", **options):
    async with connect(url, **options) as client:
        await client.send(client.prepare(method, "/v1/x", body=body), sink)


def test_a_request_goes_out_whole_with_its_id(run, serving, exchange):
    async def main():
        async with serving(always(OK)) as (url, script):
            sink = exchange("abc-1")
            async with connect(url + "/base/", headers={"X-Team": "a"}) as client:
                await client.send(client.prepare("POST", "/v1/x", headers={"Accept": "x/y"}, body=b"12345"), sink)
            return sink, script.requests[0], url

    sink, request, url = run(main())
    head, body = request.split(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /base/v1/x HTTP/1.1"
    assert {b"X-Request-Id: abc-1", b"X-Team: a", b"Accept: x/y", b"Content-Length: 5"} < set(lines)
    assert b"Host: " + url.removeprefix("http://").encode() in lines
    assert body == b"12345"
    assert sink.status == 200
    assert b"".join(sink.pieces) == b"hello"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux stamps arrivals")
def test_a_busy_loop_does_not_make_the_server_look_slow(run, serving, exchange):
    """The loop sleeps through the arrivals; the kernel's stamps are those of the sending all the same."""
    sent = []

    async def act(reader, writer, head):
        loop = asyncio.get_running_loop()
        await answer(writer, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        sock = writer.get_extra_info("socket")

        def late():
            sent.append(time.perf_counter_ns())
            os.write(sock.fileno(), b"5\r\nhello\r\n0\r\n\r\n")
            time.sleep(0.2)  # in the loop's thread: nobody reads meanwhile

        loop.call_later(0.05, late)
        await asyncio.sleep(0.5)

    async def main():
        async with serving(act) as (url, _):
            sink = exchange()
            await send(url, sink)
            return sink

    sink = run(main())
    assert sink.kernel
    assert sink.client_delay_ns > 150_000_000
    assert 0 <= sink.stamps[0] - sent[0] < 50_000_000


def test_pieces_that_share_a_read_share_their_time(run, serving, exchange):
    async def main():
        parts = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n1\r\nb\r\n", b"1\r\nc\r\n0\r\n\r\n"]
        async with serving(always(*parts, pause=0.02)) as (url, _):
            sink = exchange()
            await send(url, sink)
            return sink

    sink = run(main())
    assert sink.pieces == [b"a", b"b", b"c"]
    assert sink.stamps[0] == sink.stamps[1] < sink.stamps[2]
    assert sink.sent_at < sink.head_at <= sink.stamps[0]


@pytest.mark.parametrize(
    ("reply", "then", "body"),
    [
        (OK, None, b"hello"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, None, b"hello"),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", "close", b"until the end"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end", "close", b"until the end"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None, b""),
        (b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n", None, b""),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 3\r\n\r\nbad", None, b"bad"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nTrailer: t\r\n\r\n", None, b"abc"),
    ],
)
def test_every_way_to_end_a_reply(run, serving, exchange, reply, then, body):
    async def main():
        async with serving(always(reply, then=then)) as (url, _):
            sink = exchange()
            await asyncio.wait_for(send(url, sink), 5)
            return sink

    assert b"".join(run(main()).pieces) == body


@pytest.mark.parametrize(
    ("reply", "kind", "match", "pieces"),
    [
        (b"", "reset", "before the reply", []),
        (b"HTTP/1.1 200 OK\r\nContent-", "reset", "lost", []),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "reset", "in the middle of the reply", [b"hello"]),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "reset", "in the middle", [b"hello"]),
        (b"SSH-2.0-OpenSSH\r\n\r\n", "protocol", "not valid HTTP", []),
        (b"HTTP/1.1 020 OK\r\n\r\nhello", "protocol", "020 is no status", []),
        (b"HTTP/1.1 199 OK\r\nContent-Length: 5\r\n\r\nhello", "protocol", "a body with status 199", []),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n", "protocol", "not valid HTTP", []),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n", "protocol", "not valid HTTP", [b"he"]),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz", "protocol", "compressed", []),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * 200_000 + b"\r\n\r\n", "protocol", "headers are longer|not valid HTTP", []),
    ],
)
def test_every_way_to_spoil_a_reply_is_told_by_kind_with_what_came(run, serving, exchange, reply, kind, match, pieces):
    async def main():
        async with serving(always(reply, then="close")) as (url, _):
            sink = exchange()
            with pytest.raises(InvokeError, match=match) as caught:
                await asyncio.wait_for(send(url, sink), 5)
            return sink, caught.value

    sink, error = run(main())
    assert error.kind == kind
    assert sink.pieces == pieces


def test_nobody_there(run, exchange):
    async def main():
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = sock.getsockname()[1]
        with pytest.raises(InvokeError, match="cannot connect") as caught:
            await send(f"http://127.0.0.1:{port}", exchange())
        assert caught.value.kind == "connect"
        with pytest.raises(InvokeError) as caught:
            await send("http://no-such-host.invalid", exchange())
        assert caught.value.kind == "connect"

    run(main())


def test_connections_are_opened_before_and_kept(run, serving, exchange):
    async def main():
        async with serving(always(OK)) as (url, script), connect(url, connections=4) as client:
            await asyncio.sleep(0.05)
            before = script.connections
            sinks = [exchange(str(number)) for number in range(40)]
            prepared = client.prepare("POST", "/", body=b"x")
            for start in range(0, 40, 4):
                await asyncio.gather(*(client.send(prepared, sink) for sink in sinks[start : start + 4]))
            assert script.connections == before
            assert all(sink.connect_ns is None for sink in sinks)

    run(main())


def test_a_server_that_closes_idle_connections_is_noticed_and_no_request_is_repeated(run, serving, exchange):
    async def act(reader, writer, head):
        await answer(writer, OK)
        return "close"

    async def main():
        async with serving(act) as (url, script), connect(url) as client:
            for number in range(10):
                await client.send(client.prepare("POST", "/", body=b"x"), exchange(str(number)))
                await asyncio.sleep(0.02)
            ids = [line for request in script.requests for line in request.split(b"\r\n") if line.startswith(b"X-Request-Id")]
            assert len(ids) == len(set(ids)) == 10

    run(main())


def test_without_keep_alive_each_request_has_a_fresh_connection_that_was_open_before(run, serving, exchange):
    async def main():
        async with serving(always(OK, then="close")) as (url, script), connect(url, connections=2, keep_alive=False) as client:
            sinks = [exchange(str(number)) for number in range(10)]
            for sink in sinks:
                await client.send(client.prepare("POST", "/", body=b"x"), sink)
                await asyncio.sleep(0.02)
            assert script.connections >= 10
            assert all(sink.connect_ns is None for sink in sinks)
            assert all(b"Connection: close" in request for request in script.requests)

    run(main())


def test_a_connection_opened_in_a_request_is_told_apart_from_the_servers_time(run, serving, exchange):
    async def main():
        async with serving(always(OK)) as (url, _), connect(url, connections=0) as client:
            sink = exchange()
            await client.send(client.prepare("POST", "/", body=b"x"), sink)
            return sink

    assert run(main()).connect_ns > 0


def test_cancelling_a_request_closes_its_connection_and_spoils_no_other(run, serving, exchange):
    async def act(reader, writer, head):
        if b"slow" in head:
            await answer(writer, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            with contextlib.suppress(asyncio.IncompleteReadError):
                await reader.readexactly(1)
            return "close"
        await answer(writer, OK)
        return None

    async def main():
        async with serving(act) as (url, script), connect(url) as client:
            task = asyncio.create_task(client.send(client.prepare("POST", "/", body=b"slow"), exchange("a")))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            sink = exchange("b")
            await client.send(client.prepare("POST", "/", body=b"fast"), sink)
            assert b"".join(sink.pieces) == b"hello"
        await asyncio.sleep(0.1)
        assert script.open == 0

    run(main())


def test_a_body_larger_than_the_sockets_buffers_goes_out_whole(run, serving, exchange):
    async def main():
        async with serving(always(OK)) as (url, script):
            await send(url, exchange(), body=b"x" * 20_000_000)
            return len(script.requests[0])

    assert run(main()) > 20_000_000


def test_many_at_once_do_not_mix(run, serving, exchange):
    async def act(reader, writer, head):
        body = head.split(b"\r\n\r\n")[1]
        await asyncio.sleep(0.001 * (int(body) % 7))
        await answer(writer, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def main():
        async with serving(act) as (url, _), connect(url, connections=20) as client:
            sinks = [exchange(str(number)) for number in range(200)]
            prepared = [client.prepare("POST", "/", body=str(number).encode()) for number in range(200)]
            for start in range(0, 200, 40):
                await asyncio.gather(*map(client.send, prepared[start : start + 40], sinks[start : start + 40]))
            assert [b"".join(sink.pieces) for sink in sinks] == [str(number).encode() for number in range(200)]

    run(main())


def test_fetching_whole_and_in_time(run, serving):
    async def main():
        async with serving(always(OK, pause=0.0)) as (url, _), connect(url, connections=0) as client:
            head, body = await client.fetch("GET", "/health")
            assert (head.status, body) == (200, b"hello")
        async with serving(always(b"", pause=5)) as (url, _), connect(url, connections=0) as client:
            with pytest.raises(InvokeError) as caught:
                await client.fetch("GET", "/health", timeout_seconds=0.1)
            assert caught.value.kind == "timeout"

    run(main())


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://x/", "http://me:word@x/", "http://"])
def test_an_url_that_cannot_be_used_is_refused(url):
    async def main():
        async with connect(url):
            pass

    with pytest.raises(ConfigError, match="url"):
        asyncio.run(main())


def test_line_breaks_do_not_get_into_a_head(serving):
    async def main():
        async with serving(always(OK)) as (url, _):
            with pytest.raises(ConfigError, match="line break"):
                async with connect(url, headers={"X": "a\r\nY: b"}):
                    pass

    asyncio.run(main())
