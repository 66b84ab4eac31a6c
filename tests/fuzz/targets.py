"""What must hold of the readers for any bytes and any cuts: each target takes bytes, and fails where it does not hold.

The first bytes say where the rest is cut. Whatever the cuts, the outcome must be that of the rest in one piece.
"""

import asyncio
import functools
import json
import re
import shutil
import socket
import ssl
import struct
import subprocess
import tempfile
from pathlib import Path
from zlib import crc32

from fmbench import ConfigError, Head, InvokeError
from fmbench.invokers.completions import EventDecoder, WholeDecoder
from fmbench.wire import EventReader, EventStreamReader
from fmbench.wire.clock import KernelClock
from fmbench.wire.connection import Connection
from fmbench.wire.origin import origin_of
from fmbench.wire.reply import Reply
from fmbench.wire.request import prepared_request
from fmbench.wire.tls import Tls, client_context

MOST_CUTS = 8
STREAM = Head(200, {"content-type": "text/event-stream"})


def cut(data):
    """The bytes behind the instructions: whole, and in pieces."""
    count = data[0] % MOST_CUTS if data else 0
    places, whole = data[1 : 1 + 2 * count], data[1 + 2 * count :]
    cuts = sorted(int.from_bytes(places[at : at + 2]) % (len(whole) + 1) for at in range(0, len(places), 2))
    return whole, [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def with_cuts(data, *places):
    """Instructions for these cuts, and the bytes."""
    return bytes([len(places)]) + b"".join(place.to_bytes(2) for place in places) + data


# Server-sent events.


def events_read(pieces):
    reader = EventReader()
    return [event for piece in pieces for event in reader.feed(piece)] + reader.close()


def as_the_standard_says(stream):
    """The standard's algorithm, line by line, over the whole stream; at its end, what is there is told."""
    lines = re.split(b"\r\n|\n|\r", stream.removeprefix(b"\xef\xbb\xbf"))
    if lines[-1] == b"":
        lines.pop()
    events, data = [], None
    for line in [*lines, b""]:
        name, _, value = line.partition(b":")
        if not line:
            events += [] if data is None else [data[:-1]]
            data = None
        elif name == b"data":
            data = (data or b"") + value.removeprefix(b" ") + b"\n"
    return events


def events(data):
    whole, pieces = cut(data)
    assert events_read(pieces) == as_the_standard_says(whole)


# Completions.


def completed(decoder, pieces):
    """All that a decoder tells, but for which piece brought it."""
    for piece in pieces:
        decoder.feed(piece)
    try:
        reply = decoder.close(STREAM)
    except InvokeError as error:
        assert "\n" not in error.message  # noqa: PT017 - a property, not an expectation
        outcome = error.kind
    else:
        outcome = reply._replace(deltas=()) if hasattr(reply, "_replace") else (reply.finish_reason, reply.usage, reply.model)
    assert all(0 <= delta.piece < len(pieces) for delta in decoder.deltas)
    assert [delta.piece for delta in decoder.deltas] == sorted(delta.piece for delta in decoder.deltas)
    assert all(type(delta.text) is str for delta in decoder.deltas)
    return outcome, [delta[1:] for delta in decoder.deltas]


def completion_events(data):
    whole, pieces = cut(data)
    assert completed(EventDecoder(), pieces) == completed(EventDecoder(), [whole])


def completion_whole(data):
    whole, pieces = cut(data)
    assert completed(WholeDecoder(), pieces) == completed(WholeDecoder(), [whole])


# AWS's event streams.


def messages_read(pieces):
    reader = EventStreamReader()
    found = [(dict(one.headers), one.payload) for piece in pieces for one in reader.feed(piece)]
    try:
        reader.close()
    except InvokeError as error:
        return found, error.kind
    return found, None


def framed(payload):
    """A message with one header; its checksums are right, which no fuzzer would guess."""
    raw = b"\x05:kind\x07\x00\x04Part"
    start = struct.pack(">II", 16 + len(raw) + len(payload), len(raw))
    whole = start + struct.pack(">I", crc32(start)) + raw + payload
    return whole + struct.pack(">I", crc32(whole))


def event_stream(data):
    """Anything is read the same however it is cut; what is framed comes out as it went in; a flipped bit is noticed."""
    whole, pieces = cut(data)
    assert messages_read(pieces) == messages_read([whole])
    stream = b"".join(map(framed, pieces))
    sent = [({":kind": "Part"}, piece) for piece in pieces]
    step = 1 + sum(data) % 40
    assert messages_read([stream[at : at + step] for at in range(0, len(stream), step)]) == (sent, None)
    spoilt = bytearray(stream)
    spoilt[int.from_bytes(whole[:2]) % len(stream)] ^= 1 << len(whole) % 8
    found, kind = messages_read([bytes(spoilt)])
    assert kind in {"protocol", "incomplete"}
    assert found == sent[: len(found)]


def event_stream_headers(data):
    """Headers of any kind, in a message that is sound: they are read, or refused as a whole."""
    raw = data[:65_000]
    start = struct.pack(">II", 16 + len(raw), len(raw))
    message = start + struct.pack(">I", crc32(start)) + raw
    found, kind = messages_read([message + struct.pack(">I", crc32(message))])
    assert (len(found), kind) in {(1, None), (0, "protocol")}


# HTTP.


class Told:
    """A sink that keeps what it was told, and minds the order."""

    def __init__(self):
        self.id, self.kernel = "id", True
        self.heads, self.body = [], b""

    def sent(self, at=None):
        pass

    def spent(self, **_):
        pass

    def head(self, status, headers, at=None):
        assert 200 <= status < 1000
        assert all(name == name.lower() for name in headers)
        self.heads.append((status, dict(headers)))

    def piece(self, data, at=None):
        assert len(self.heads) == 1, "a body without a head"
        assert data, "an empty piece"
        self.body += data


def reply_read(pieces, *, head_only=False):
    told = Told()
    reply = Reply(told, head_only=head_only)
    try:
        for piece in pieces:
            if piece and not reply.complete:
                reply.feed(piece, 1)
    except InvokeError as error:
        assert error.kind == "protocol"  # noqa: PT017
        assert error.status in {reply.status, *range(200)}  # noqa: PT017
        return error.kind, told.heads, told.body
    assert len(told.heads) == reply.has_head
    assert reply.has_head or not reply.complete
    # What comes behind a whole reply is looked at only where it came with its end.
    return reply.complete, reply.until_close, told.heads, told.body


def http(data):
    whole, pieces = cut(data)
    assert reply_read(pieces) == reply_read([whole])
    assert reply_read(pieces, head_only=True) == reply_read([whole], head_only=True)


# A connection: a reply and its end, over a real socket.


class Loop:
    """As much of a loop as a connection needs; its reader is called by hand."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()  # only to make futures
        self.create_future = self.loop.create_future
        self.readable = None

    def add_reader(self, _, callback):
        self.readable = callback

    def remove_reader(self, _):
        self.readable = None


@functools.cache
def fixed():
    return Loop(), KernelClock()


def connection(data):
    """Every request ends when its connection does, and whatever a server says is the request's matter, not the loop's."""
    whole, pieces = cut(data)
    loop, clock = fixed()
    ours, theirs = socket.socketpair()
    gone = []
    with theirs:
        ours.setblocking(False)
        made = Connection(loop, ours, clock, gone.append)
        told = Told()
        done = made.exchange(b"GET / HTTP/1.1\r\n\r\n", told)
        for piece in pieces:
            if piece and not made.closed:
                theirs.sendall(piece)
                loop.readable()
        theirs.shutdown(socket.SHUT_WR)
        if not made.closed:
            loop.readable()
    assert made.closed
    assert gone == [made]
    assert loop.readable is None
    assert done.done()
    failure = done.exception()
    assert failure is None or (isinstance(failure, InvokeError) and failure.kind in {"reset", "protocol"})
    assert failure is not None or told.heads
    assert told.body in whole or b"chunked" in whole.lower()


# TLS.


@functools.cache
def contexts():
    openssl = shutil.which("openssl")
    assert openssl, "openssl is needed, to make a certificate"
    with tempfile.TemporaryDirectory() as folder:
        key, cert = Path(folder, "key.pem"), Path(folder, "cert.pem")
        subprocess.run(
            [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
             "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", cert],
            check=True, capture_output=True,
        )  # fmt: skip
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), client_context()
        server.load_cert_chain(cert, key)
        client.load_verify_locations(cert)
    return server, client


def shaken():
    """A client's and a server's end that have agreed on keys."""
    server_context, client = contexts()
    tls = Tls(client, "localhost")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = server_context.wrap_bio(incoming, outgoing, server_side=True)
    ends = {"client": tls._object, "server": server}
    while ends:
        for name, end in list(ends.items()):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                pass
            else:
                del ends[name]
            incoming.write(tls.outgoing())
            if name == "server":
                tls._incoming.write(outgoing.read())
    return tls, server, outgoing


def tls_records(data):
    """Text in records of any size, cut anywhere, comes out as it went in; a bit that flipped is noticed."""
    whole, pieces = cut(data)
    tls, server, outgoing = shaken()
    records = b""
    for piece in pieces:
        if piece:
            server.write(piece)
    records += outgoing.read()
    places = [int.from_bytes(data[at : at + 2]) % (len(records) + 1) for at in range(1, min(len(data), 9), 2)]
    ends = [*sorted(places), len(records)]
    parts = [records[start:end] for start, end in zip([0, *ends[:-1]], ends, strict=True)]
    assert b"".join(tls.decrypt(part) for part in parts) == whole
    assert not tls.ended
    if whole:
        server.write(whole)
        spoilt = bytearray(outgoing.read())
        spoilt[5 + sum(data) % (len(spoilt) - 5)] ^= 1 << len(whole) % 8
        try:
            plain = tls.decrypt(bytes(spoilt))
        except ssl.SSLError:
            return
        raise AssertionError(f"a flipped bit went unnoticed: {plain!r}")


# What goes out.


def request(data):
    """Whatever an URL, a path and a header hold, the head is what was asked for, line by line, or it is refused."""
    parts = data.decode("utf-8", "surrogateescape").split("\x1f")
    url, path, name, value = [*parts, "", "", "", ""][:4]
    try:
        origin = origin_of(f"http://{url}")
        prepared = prepared_request(origin, "POST", f"/{path}", {f"X-{name}": value}, b"body", once=False)
    except ConfigError as error:
        assert "\n" not in str(error)  # noqa: PT017
        return
    head, _, body = prepared.with_id("id").partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    assert re.fullmatch(rb"POST /[!-~]* HTTP/1\.1", first)
    assert len(lines) == 7
    assert all(re.fullmatch(rb"[!-9;-~]+: [\t -~\x80-\xff]*", line) for line in lines)
    assert body == b"body"
    assert 0 <= origin.port <= 65535


TARGETS = {
    target.__name__: target
    for target in (
        events, completion_events, completion_whole, event_stream, event_stream_headers, http, connection, tls_records, request,
    )
}  # fmt: skip


def _stream(*chunks):
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in chunks) + b"data: [DONE]\n\n"


_USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}
_STREAM = _stream(
    {"model": "m", "choices": [{"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}]},
    {"choices": [{"delta": {"content": "na\u00efve"}, "token_ids": [1, 2]}], "usage": {"completion_tokens": 2}},
    {"choices": [{"text": "x"}], "timings": {"predicted_n": 3}},
    {"choices": [{"delta": {"reasoning_content": "hm", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}}]},
    {"choices": [{"delta": {}, "finish_reason": "stop"}]},
    {"choices": [], "usage": _USAGE},
)
_WHOLE = {"choices": [{"message": {"content": "hi"}, "finish_reason": "stop"}], "usage": _USAGE, "timings": {"predicted_n": 1}}
_HTTP = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: t\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.0 200 OK\r\n\r\nuntil the end",
    b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
]
SEEDS = {
    "events": [
        with_cuts(b"data: a\r\ndata:b\n\n", 8),
        with_cuts(b"\xef\xbb\xbfdata: a\r\ndata:b\r\rdata\n\n: c\nid: 1\nevent: x\ndata: d", 3, 9, 14),
        with_cuts(_STREAM, 20),
    ],
    "completion_events": [
        with_cuts(_STREAM, 5, 80, 200, 300),
        *(with_cuts(line + b"\n\n", 9) for line in _STREAM.split(b"\n\n")),
        with_cuts(b'data: {"error": {"message": "x"}}\n\ndata: {"object": "error"}\n\n', 33),
    ],
    "completion_whole": [with_cuts(json.dumps(_WHOLE).encode(), 7), with_cuts(b'{"error": "x"}')],
    "event_stream": [with_cuts(b"one two three", 3, 7), with_cuts(framed(b"hello") + framed(b""), 20)],
    "event_stream_headers": [b"\x02ab" + bytes([kind]) + b"\x00\x02" * 9 for kind in range(10)],
    "http": [with_cuts(one, 10, 40) for one in _HTTP],
    "connection": [with_cuts(one, 10, 40) for one in _HTTP],
    "tls_records": [with_cuts(b"hello" * 9, 1, 2, 30), with_cuts(b"x" * 40_000, 20_000)],
    "request": [
        "\x1f".join(one).encode() for one in (("h:80/base", "v1/x?a=b", "Team", "a b"), ("[::1]:8", "", "Y", "\u00e9\t"))
    ],
}
"""What a run begins with."""
