"""AWS's event streams, as botocore reads them, in pieces of any size."""

import struct
import uuid
from zlib import crc32

import pytest
from botocore.eventstream import ChecksumMismatch, EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from fmbench import InvokeError
from fmbench.wire import EventStreamReader

EVENT = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}


def header(name, kind, value):
    return bytes([len(name)]) + name.encode() + bytes([kind]) + value


def text(name, value):
    return header(name, 7, struct.pack(">H", len(value.encode())) + value.encode())


def message(payload, headers=None, *, raw=None):
    raw = b"".join(text(*item) for item in (EVENT if headers is None else headers).items()) if raw is None else raw
    start = struct.pack(">II", 16 + len(raw) + len(payload), len(raw))
    whole = start + struct.pack(">I", crc32(start)) + raw + payload
    return whole + struct.pack(">I", crc32(whole))


def read(data, cuts=()):
    reader, found, start = EventStreamReader(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        found += reader.feed(data[start:cut])
        start = max(start, cut)
    return found, reader


@given(st.data(), st.lists(st.binary(max_size=40), max_size=6))
def test_however_a_stream_is_cut_it_is_what_botocore_reads(data, payloads):
    stream = b"".join(map(message, payloads))
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    found, reader = read(stream, cuts)
    buffer = EventStreamBuffer()
    buffer.add_data(stream)
    assert [(dict(one.headers), one.payload) for one in found] == [(one.headers, one.payload) for one in buffer]
    assert [one.payload for one in found] == payloads
    reader.close()


def test_a_message_is_known_with_its_last_byte():
    whole = message(b"hello")
    reader = EventStreamReader()
    assert [reader.feed(whole[at : at + 1]) for at in range(len(whole) - 1)] == [[]] * (len(whole) - 1)
    [found] = reader.feed(whole[-1:])
    assert found.payload == b"hello"
    assert found.headers == EVENT


def test_every_kind_of_header():
    raw = b"".join(
        [
            header("true", 0, b""),
            header("false", 1, b""),
            header("byte", 2, b"\xff"),
            header("short", 3, b"\xff\xfe"),
            header("int", 4, struct.pack(">i", -3)),
            header("long", 5, struct.pack(">q", -4)),
            header("bytes", 6, b"\0\2ab"),
            text("text", "é"),
            header("time", 8, struct.pack(">q", 1_700_000_000_000)),
            header("uuid", 9, bytes(range(16))),
        ]
    )
    [found], _ = read(message(b"", raw=raw))
    assert found.headers == {
        "true": True, "false": False, "byte": -1, "short": -2, "int": -3, "long": -4, "bytes": b"ab", "text": "é",
        "time": 1_700_000_000_000, "uuid": uuid.UUID(bytes=bytes(range(16))),
    }  # fmt: skip


@given(st.data())
def test_a_flipped_bit_is_noticed_wherever_it_is_and_what_came_before_is_kept(data):
    first, second = message(b"one"), message(b"two")
    spoilt = bytearray(first + second)
    place = data.draw(st.integers(len(first) * 8, len(spoilt) * 8 - 1))
    spoilt[place // 8] ^= 1 << place % 8
    cuts = data.draw(st.lists(st.integers(0, len(spoilt)), max_size=5))
    found, reader = read(bytes(spoilt), cuts)
    assert [one.payload for one in found] == [b"one"]
    with pytest.raises(InvokeError, match="damaged") as caught:
        reader.close()
    assert caught.value.kind == "protocol"
    held = len(reader._held)
    assert reader.feed(message(b"three")) == []
    assert len(reader._held) == held
    buffer = EventStreamBuffer()
    buffer.add_data(bytes(spoilt))
    with pytest.raises(ChecksumMismatch):
        list(buffer)


def test_a_stream_that_ends_within_a_message():
    whole = message(b"hello")
    for end in range(1, len(whole)):
        found, reader = read(whole[:end])
        assert found == []
        with pytest.raises(InvokeError, match=f"within a message, after {end} bytes") as caught:
            reader.close()
        assert caught.value.kind == "incomplete"


@pytest.mark.parametrize("lengths", [(15, 0), (16, 1), (30_000_000, 0), (0, 0), (40, 4_000_000_000)])
def test_lengths_that_cannot_be_are_refused_at_once(lengths):
    start = struct.pack(">II", *lengths)
    _, reader = read(start + struct.pack(">I", crc32(start)))
    with pytest.raises(InvokeError, match="cannot have"):
        reader.close()


@pytest.mark.parametrize(
    "raw",
    [
        b"\x05ab",
        b"\x02ab",
        b"\x02ab\x07",
        b"\x02ab\x07\0\x09x",
        b"\x02ab\x0a",
        b"\x02ab\x09\1\2",
        b"\x01\xff\x00",
        b"\x02ab\x05\0",
    ],
)
def test_headers_that_cannot_be_read(raw):
    found, reader = read(message(b"", raw=raw))
    assert found == []
    with pytest.raises(InvokeError, match="headers that cannot be read"):
        reader.close()


def test_headers_are_read_anew_where_they_differ_and_nobody_can_change_them():
    stream = b"".join(message(b"", {":event-type": f"Part{number}"}) for number in range(40)) * 2
    found, _ = read(stream)
    assert [one.headers[":event-type"] for one in found] == [f"Part{number}" for number in range(40)] * 2
    with pytest.raises(TypeError):
        found[0].headers["a"] = "b"
