"""The same over TLS: the certificate verified, the kernel's times kept, a reply cut off told from one that ended."""

import asyncio
import os
import ssl
import sys
import time

import pytest

from fmbench import InvokeError
from fmbench.wire import connect
from fmbench.wire.tls import client_context

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture
def server_context(certificate):
    key, cert = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return context


@pytest.fixture
def trusting(certificate):
    context = client_context()
    context.load_verify_locations(certificate[1])
    return context


def always(*parts, then=None):
    async def act(reader, writer, head):
        for part in parts:
            writer.write(part)
            await writer.drain()
        return then

    return act


async def send(url, sink, **options):
    async with connect(url, connections=0, **options) as client:
        await asyncio.wait_for(client.send(client.prepare("POST", "/", body=b"{}"), sink), 5)


async def failing(url, sink, **options):
    with pytest.raises(InvokeError) as caught:
        await send(url, sink, **options)
    return caught.value


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_long_reply_with_its_times(run, serving, exchange, server_context, trusting, version):
    server_context.maximum_version = server_context.minimum_version = version
    server_context.set_alpn_protocols(["h2", "http/1.1"])
    body = os.urandom(300_000)
    agreed = []

    async def act(reader, writer, head):
        agreed.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        await always(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n", body)(reader, writer, head)

    async def main():
        async with serving(act, ssl=server_context) as (url, script):
            sinks = [exchange("1"), exchange("2")]
            async with connect(url, connections=0, ssl_context=trusting) as client:
                for sink in sinks:
                    await client.send(client.prepare("POST", "/", body=b"{}"), sink)
            return sinks, script.connections

    sinks, connections = run(main())
    assert connections == 1
    assert set(agreed) == {"http/1.1"}
    assert [b"".join(sink.pieces) for sink in sinks] == [body, body]
    assert sinks[0].tls_ns > 0
    assert sinks[1].tls_ns is None


def test_a_body_larger_than_the_sockets_buffers(run, serving, exchange, server_context, trusting):
    async def main():
        async with serving(always(OK), ssl=server_context) as (url, script):
            body = os.urandom(8_000_000)
            async with connect(url, connections=0, ssl_context=trusting) as client:
                await asyncio.wait_for(client.send(client.prepare("POST", "/", body=body), exchange()), 20)
            return script.requests[0].endswith(body)

    assert run(main())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux stamps arrivals")
def test_a_busy_loop_does_not_make_the_server_look_slow(run, serving, exchange, server_context, trusting):
    sent = []

    async def act(reader, writer, head):
        def late():
            sent.append(time.perf_counter_ns())
            writer.write(b"5\r\nhello\r\n0\r\n\r\n")
            time.sleep(0.2)  # in the loop's thread: nobody reads meanwhile

        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        asyncio.get_running_loop().call_later(0.05, late)
        await asyncio.sleep(0.4)

    async def main():
        async with serving(act, ssl=server_context) as (url, _):
            sink = exchange()
            async with connect(url, connections=1, ssl_context=trusting) as client:
                await client.send(client.prepare("POST", "/"), sink)
            return sink

    sink = run(main())
    assert sink.kernel
    assert sink.client_delay_ns > 150_000_000
    assert 0 <= sink.stamps[0] - sent[0] < 50_000_000


def test_a_certificate_that_is_not_trusted_or_names_another(run, serving, exchange, server_context, trusting):
    async def main():
        async with serving(always(OK), ssl=server_context) as (url, _):
            unknown = await failing(url, exchange())
            other = await failing(url.replace("localhost", "127.0.0.1"), exchange(), ssl_context=trusting)
            return unknown, other

    unknown, other = run(main())
    assert unknown.kind == other.kind == "connect"
    assert "self-signed certificate" in unknown.message
    assert "127.0.0.1" in other.message


def test_a_reply_that_ends_with_the_connection_must_be_ended_by_tls_itself(run, serving, exchange, server_context, trusting):
    reply = b"HTTP/1.1 200 OK\r\n\r\nuntil the end"

    async def cut_off(reader, writer, head):
        await always(reply)(reader, writer, head)
        await asyncio.sleep(0.05)
        writer.transport.abort()
        return "close"

    async def main():
        whole, cut = exchange("whole"), exchange("cut")
        async with serving(always(reply, then="close"), ssl=server_context) as (url, _):
            await send(url, whole, ssl_context=trusting)
        async with serving(cut_off, ssl=server_context) as (url, _):
            return whole, cut, await failing(url, cut, ssl_context=trusting)

    whole, cut, error = run(main())
    assert b"".join(whole.pieces) == b"".join(cut.pieces) == b"until the end"
    assert (error.kind, error.status) == ("reset", 200)


def test_a_server_that_hangs_up_while_keys_are_agreed_on(run, exchange, trusting):
    async def hang_up(reader, writer):
        await reader.read(100)
        writer.close()

    async def main():
        server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
        try:
            return await failing(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}", exchange(), ssl_context=trusting)
        finally:
            server.close()
            await server.wait_closed()

    error = run(main())
    assert error.kind == "connect"
    assert "TLS handshake" in error.message or "reset" in error.message.lower()


def test_the_wrong_scheme_is_told_either_way(run, serving, exchange, server_context, trusting):
    async def answer_anything(reader, writer):
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def alert(reader, writer):
        await reader.read(100)
        writer.write(b"\x15\x03\x01\x00\x02\x02\x16")
        await writer.drain()
        writer.close()

    async def told(serve, scheme, **options):
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            return await failing(f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}", exchange(), **options)
        finally:
            server.close()
            await server.wait_closed()

    async def main():
        return await told(answer_anything, "https", ssl_context=trusting), await told(alert, "http")

    tls_to_plain, plain_to_tls = run(main())
    assert tls_to_plain.kind == "connect"
    assert "use http://" in tls_to_plain.message
    assert plain_to_tls.kind == "protocol"
    assert "use https://" in plain_to_tls.message


def test_certificates_are_verified_and_keys_logged_for_nobody(monkeypatch, tmp_path):
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = client_context()
    assert context.keylog_filename is None
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname
