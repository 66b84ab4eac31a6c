"""Servers, sinks and callers that do what they should not: each is told, and nothing is left behind."""

import asyncio
import contextlib
import gc
import socket
import struct
import warnings

import pytest

from fmbench import InvokeError
from fmbench.wire import connect

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def says(*parts, then=None):
    async def act(reader, writer, head):
        for part in parts:
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(0.01)
        return then

    return act


def resets(*parts):
    """Says its parts, then resets the connection: no orderly end."""

    async def act(reader, writer, head):
        await says(*parts)(reader, writer, head)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return "close"

    return act


async def failing(url, sink, **options):
    async with connect(url, **options) as client:
        with pytest.raises(InvokeError) as caught:
            await asyncio.wait_for(client.send(client.prepare("POST", "/", body=b"x"), sink), 5)
    return caught.value


@pytest.mark.parametrize(
    ("parts", "where", "status"),
    [
        ([], "before the reply", None),
        ([b"HTTP/1.1 200 OK\r\nContent-"], "in the reply's headers", None),
        ([CHUNKED + b"5\r\nhello\r\n"], "in the middle of the reply", 200),
    ],
)
def test_a_reset_connection_is_told_by_where_it_was(run, serving, exchange, parts, where, status):
    async def main():
        async with serving(resets(*parts)) as (url, _):
            sink = exchange()
            return sink, await failing(url, sink)

    sink, error = run(main())
    assert (error.kind, error.status) == ("reset", status)
    assert where in error.message
    assert sink.status == status


def test_a_failure_does_not_bear_the_status_of_the_reply_before_it(run, serving, exchange):
    replies = iter([says(OK), resets()])

    async def act(reader, writer, head):
        return await next(replies)(reader, writer, head)

    async def main():
        async with serving(act) as (url, _), connect(url, connections=0) as client:
            prepared = client.prepare("POST", "/")
            await client.send(prepared, exchange("1"))
            with pytest.raises(InvokeError) as caught:
                await client.send(prepared, exchange("2"))
            return caught.value

    assert run(main()).status is None


@pytest.mark.parametrize(
    ("head", "match"),
    [
        (b"HTTP/1.1 200 OK\r\nX: ", "headers are longer"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000, "headers are longer"),
        (CHUNKED + b"5;x=", "framing between its pieces is longer"),
        (CHUNKED + b"1\r\na\r\n0\r\nTrailer: ", "framing between its pieces is longer"),
    ],
    ids=["a header", "headers", "a chunk's extension", "a trailer"],
)
def test_what_never_ends_is_refused_before_it_fills_the_memory(run, serving, exchange, head, match):
    taken = 0

    async def act(reader, writer, _):
        nonlocal taken
        writer.write(head)
        with contextlib.suppress(ConnectionError):
            while taken < 50_000_000:
                writer.write(b"x" * 10_000)
                await writer.drain()
                taken += 10_000
        return "close"

    async def main():
        async with serving(act) as (url, _):
            return await failing(url, exchange())

    error = run(main())
    assert error.kind == "protocol"
    assert match in error.message
    assert taken < 20_000_000  # the kernel's own buffers are a few megabytes


@pytest.mark.parametrize("upgrade", [b"", b"Connection: upgrade\r\nUpgrade: websocket\r\n"])
def test_a_server_that_switches_protocols(run, serving, exchange, upgrade):
    async def main():
        async with serving(says(b"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + b"\r\n")) as (url, _):
            return await failing(url, exchange())

    error = run(main())
    assert error.kind == "protocol"
    assert "another protocol" in error.message


def test_a_transfer_encoding_that_nobody_asked_for(run, serving, exchange):
    async def main():
        async with serving(says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")) as (url, _):
            return await failing(url, exchange())

    error = run(main())
    assert (error.kind, error.status) == ("protocol", 200)
    assert "gzip, chunked" in error.message


def test_a_bug_in_the_sink_is_the_bug_itself_and_no_fault_of_the_server(run, serving, exchange):
    async def main():
        sink = exchange()
        sink.on_piece = lambda: {}["missing"]
        async with serving(says(OK)) as (url, _), connect(url) as client:
            with pytest.raises(KeyError, match="missing"):
                await asyncio.wait_for(client.send(client.prepare("POST", "/"), sink), 5)
            again = exchange("again")
            await client.send(client.prepare("POST", "/"), again)
            return again

    assert run(main()).pieces == [b"hello"]


def test_the_answer_of_a_server_that_does_not_want_the_rest_of_the_request(run, exchange):
    """It answers 413 and resets, while most of the body is not sent yet."""

    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        loop = asyncio.get_running_loop()

        async def refuse():
            for _ in range(2):
                sock, _ = await loop.sock_accept(listener)
                with sock:
                    await loop.sock_recv(sock, 1000)
                    await loop.sock_sendall(sock, b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
                    await asyncio.sleep(0.1)  # closing with the rest unread resets the connection

        server = loop.create_task(refuse())
        sinks = []
        try:
            async with connect(f"http://127.0.0.1:{listener.getsockname()[1]}", connections=0) as client:
                for number in range(2):
                    sinks.append(exchange(str(number)))
                    prepared = client.prepare("POST", "/", body=b"x" * 50_000_000)
                    await asyncio.wait_for(client.send(prepared, sinks[-1]), 5)
        finally:
            server.cancel()
            await asyncio.gather(server, return_exceptions=True)
            listener.close()
        return sinks

    for sink in run(main()):
        assert (sink.status, sink.pieces) == (413, [b"big"])


def test_an_answer_that_came_before_the_request_could_be_written_is_read(run, exchange):
    """The server is gone when the request is written, but what it said lies in the kernel."""

    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        sink = exchange()
        try:
            async with connect(f"http://127.0.0.1:{listener.getsockname()[1]}", connections=0) as client:
                connection = await client._connect()
                sock, _ = await loop.sock_accept(listener)
                done = connection.exchange(b"GET / HTTP/1.1\r\n", sink)
                sock.recv(1000)
                sock.send(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
                sock.close()
                for _ in range(100):  # the first brings a reset, one of the next meets it
                    if connection._sent(b"x") is None:
                        break
                await asyncio.wait_for(asyncio.wait([done]), 5)
                failure = done.exception()
        finally:
            listener.close()
        return sink, failure

    sink, failure = run(main())
    assert sink.status == 503
    assert failure is None


def test_a_head_request_has_no_body_whatever_its_head_says(run, serving, exchange):
    async def main():
        heads = iter(
            [b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Content-Encoding: gzip\r\nContent-Length: 9", b"A: b"]
        )

        async def act(reader, writer, head):
            await says(b"HTTP/1.1 200 OK\r\n" + next(heads) + b"\r\n\r\n")(reader, writer, head)

        async with serving(act) as (url, script), connect(url, connections=0) as client:
            for number in range(4):
                sink = exchange(str(number))
                await asyncio.wait_for(client.send(client.prepare("HEAD", "/"), sink), 5)
                assert sink.status == 200
                assert sink.pieces == []
            return script.connections

    assert run(main()) <= 2


def test_a_second_reply_that_nobody_asked_for_is_not_taken_for_the_next_ones(run, serving, exchange):
    async def act(reader, writer, head):
        await says(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")(reader, writer, head)

    async def main():
        async with serving(act) as (url, script), connect(url, connections=0) as client:
            sinks = [exchange(str(number)) for number in range(3)]
            for sink in sinks:
                await client.send(client.prepare("POST", "/"), sink)
            return sinks, script.connections

    sinks, connections = run(main())
    assert [sink.pieces for sink in sinks] == [[b"hello"]] * 3
    assert connections == 3


def test_a_server_that_talks_out_of_turn_loses_its_connection(run, serving, exchange):
    async def act(reader, writer, head):
        await says(OK, b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nlate")(reader, writer, head)

    async def main():
        async with serving(act) as (url, script), connect(url, connections=0) as client:
            for number in range(3):
                sink = exchange(str(number))
                await client.send(client.prepare("POST", "/"), sink)
                assert sink.status == 200
                await asyncio.sleep(0.05)
            return script.connections

    assert run(main()) == 3


def test_a_connection_that_was_closed_while_the_loop_was_busy_is_not_used(run, exchange):
    """The server's end lies in the kernel, the reader has not run: the look before sending finds it."""

    async def main():
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        served = 0
        try:
            async with connect(f"http://127.0.0.1:{listener.getsockname()[1]}", connections=0) as client:
                for number in range(2):
                    sending = loop.create_task(client.send(client.prepare("POST", "/"), exchange(str(number))))
                    sock, _ = await asyncio.wait_for(loop.sock_accept(listener), 5)
                    with sock:
                        assert await loop.sock_recv(sock, 1000)
                        await loop.sock_sendall(sock, OK)
                        await asyncio.wait_for(sending, 5)
                    served += 1  # closed here; nothing is awaited before the next request
        finally:
            listener.close()
        return served

    assert run(main()) == 2


def test_a_server_that_drops_every_connection_is_not_called_without_end(run, exchange):
    accepted = 0

    async def hang_up(reader, writer):
        nonlocal accepted
        accepted += 1
        writer.close()

    async def main():
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        try:
            async with connect(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections=4) as client:
                await asyncio.sleep(0.3)
                with pytest.raises(InvokeError) as caught:
                    await asyncio.wait_for(client.send(client.prepare("POST", "/"), exchange()), 5)
                return caught.value
        finally:
            server.close()
            await server.wait_closed()

    assert run(main()).kind == "reset"
    assert accepted < 20


def test_an_idle_limit_of_the_server_is_no_broken_word(run, serving, exchange, monkeypatch):
    """Connections that were idle for long are opened anew and kept again; those dropped at once are not kept any more."""

    async def act(reader, writer, head):
        await says(OK)(reader, writer, head)
        await asyncio.sleep(0.15)
        return "close"

    async def main(breach_ns):
        monkeypatch.setattr("fmbench.wire.connection.BREACH_NS", breach_ns)
        async with serving(act) as (url, _), connect(url) as client:
            await client.send(client.prepare("POST", "/"), exchange())
            await asyncio.sleep(0.3)
            return client._keep

    assert run(main(100_000_000))
    assert not run(main(10_000_000_000))


def test_closing_the_client_ends_the_requests_under_way(run, serving, exchange):
    async def act(reader, writer, head):
        with contextlib.suppress(asyncio.IncompleteReadError):
            await reader.readexactly(1)
        return "close"

    async def main():
        async with serving(act) as (url, script):
            async with connect(url, connections=2) as client:
                prepared = client.prepare("POST", "/")
                under_way = [asyncio.create_task(client.send(prepared, exchange(str(number)))) for number in range(3)]
                await asyncio.sleep(0.05)
            outcomes = await asyncio.wait_for(asyncio.gather(*under_way, return_exceptions=True), 5)
            with pytest.raises(RuntimeError, match="closed"):
                await client.send(prepared, exchange())
            await asyncio.sleep(0.05)
            return outcomes, script.open

    outcomes, still_open = run(main())
    assert [outcome.kind for outcome in outcomes] == ["reset"] * 3
    assert still_open == 0


def test_a_client_closed_while_it_connects_keeps_no_socket(run, exchange):
    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with connect(f"http://127.0.0.1:{listener.getsockname()[1]}", connections=0) as client:
                sending = asyncio.create_task(client.send(client.prepare("POST", "/"), exchange()))
                await asyncio.sleep(0)
            with pytest.raises(InvokeError):
                await asyncio.wait_for(sending, 5)

    run(main())


def test_a_connection_that_is_not_accepted_is_given_up_in_time(run, exchange):
    """A queue that is full swallows the request to connect."""

    async def main():
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
            for _ in range(4):
                filler = stack.enter_context(socket.socket())
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            return await failing(f"http://127.0.0.1:{listener.getsockname()[1]}", exchange(), connect_timeout_seconds=0.2)

    error = run(main())
    assert error.kind == "connect"
    assert "no connection within 0.2 s" in error.message


def test_several_clients_at_once_and_no_socket_is_forgotten(run, serving, exchange):
    async def one(url, name):
        async with connect(url, connections=3) as client:
            sinks = [exchange(f"{name}-{number}") for number in range(9)]
            await asyncio.gather(*(client.send(client.prepare("POST", "/"), sink) for sink in sinks))
            return [sink.pieces for sink in sinks]

    async def main():
        async with serving(says(OK)) as (url, script):
            found = await asyncio.gather(*(one(url, name) for name in "abc"))
            await asyncio.sleep(0.05)
            return found, script.open

    with warnings.catch_warnings():
        warnings.simplefilter("error", ResourceWarning)
        found, still_open = run(main())
        gc.collect()
    assert found == [[[b"hello"]] * 9] * 3
    assert still_open == 0


def test_requests_leave_nothing_for_the_collector(run, serving, exchange):
    """Its passes would stop the loop while it measures."""

    async def main():
        async with serving(says(OK)) as (url, _), connect(url) as client:
            prepared = client.prepare("POST", "/")
            await client.send(prepared, exchange("warm"))
            await asyncio.sleep(0.05)
            gc.collect()
            gc.disable()
            try:
                for number in range(10):
                    await client.send(prepared, exchange(str(number)))
                gc.set_debug(gc.DEBUG_SAVEALL)
                gc.collect()
                return [found for found in gc.garbage if type(found).__module__.startswith(("fmbench", "httptools"))]
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
                gc.enable()

    assert run(main()) == []


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6(run, exchange):
    heads = []

    async def serve(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        await writer.drain()
        writer.close()

    async def main():
        try:
            server = await asyncio.start_server(serve, "::1", 0)
        except OSError:
            pytest.skip("no IPv6 here")
        port = server.sockets[0].getsockname()[1]
        try:
            sink = exchange()
            async with connect(f"http://[::1]:{port}", connections=0) as client:
                await client.send(client.prepare("GET", "/"), sink)
            return sink, port
        finally:
            server.close()
            await server.wait_closed()

    sink, port = run(main())
    assert sink.pieces == [b"hello"]
    assert f"Host: [::1]:{port}\r\n".encode() in heads[0]


def test_a_name_is_looked_up_once_and_the_address_that_answers_is_kept(run, serving, exchange):
    looked_up, tried = [], []

    async def main():
        async with serving(says(OK)) as (url, script):
            port = int(url.rpartition(":")[2])
            async with connect(f"http://model.example:{port}", connections=0) as client:
                reach_one = client._dialler._reach_one

                async def look_up():
                    looked_up.append(client._origin.host)
                    await asyncio.sleep(0.01)
                    return [(socket.AF_INET, (host, port)) for host in ("127.0.0.9", "127.0.0.1")]  # nobody is at the first

                def reach(address):
                    tried.append(address[1][0])
                    return reach_one(address)

                client._dialler._asked, client._dialler._reach_one = look_up, reach
                await client.open(3)
                await client.send(client.prepare("POST", "/"), exchange())
                await client.open(8)
            return script.requests

    [request] = run(main())
    assert looked_up == ["model.example"]
    assert tried[-3:] == ["127.0.0.1"] * 3
    assert b"Host: model.example" in request
