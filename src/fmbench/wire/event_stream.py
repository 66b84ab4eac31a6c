"""``application/vnd.amazon.eventstream``: AWS's framing of streamed replies, out of pieces of any size.

A message is its length and its headers' length (four bytes each, big-endian), the CRC-32 of these eight bytes, headers,
payload, and the CRC-32 of all before. Source: "Event stream encoding" in AWS's Transcribe Developer Guide, and Smithy's
"Amazon Event Stream" specification.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple
from zlib import crc32

from fmbench.errors import InvokeError

__all__ = ["EventStreamReader", "Message"]

MOST_BYTES = 25_000_000
"""Of one message; AWS's own limit is 24 MiB. A length that is not one must not fill the memory."""
LEAST_BYTES = 16
PRELUDE = 12
KEPT = 16
"""Different sets of headers that are remembered; a stream has two or three."""
_prelude = struct.Struct(">III").unpack_from
_number = struct.Struct(">I").unpack_from
_FIXED = {2: ">b", 3: ">h", 4: ">i", 5: ">q", 8: ">q"}
"""Numbers, and a time in milliseconds since the epoch."""


class Message(NamedTuple):
    """One message."""

    headers: Mapping[str, Any]
    payload: bytes


class EventStreamReader:
    """Takes messages out of a stream; both checksums of each are checked.

    What is damaged ends the stream: nothing behind it can be trusted. The messages before it are handed over all the same.
    """

    __slots__ = ("_failure", "_held", "_known", "_needed")

    def __init__(self) -> None:
        self._held = bytearray()
        self._needed = PRELUDE
        self._failure: InvokeError | None = None
        self._known: dict[bytes, Mapping[str, Any]] = {}

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete; ``close`` says whether what came was sound."""
        messages: list[Message] = []
        if self._failure is not None:
            return messages
        self._held += data
        if len(self._held) < self._needed:
            return messages
        place, held = 0, bytes(self._held)
        try:
            while len(held) - place >= PRELUDE:
                self._needed = self._length(held, place)
                if len(held) - place < self._needed:
                    break
                messages.append(self._message(held[place : place + self._needed]))
                place += self._needed
                self._needed = PRELUDE
        except InvokeError as error:
            self._failure = error
        del self._held[:place]
        return messages

    def close(self) -> None:
        """The stream has ended.

        Raises:
            InvokeError: ``protocol``: what came is damaged; ``incomplete``: it ended within a message.
        """
        if self._failure is not None:
            raise self._failure
        if self._held:
            raise InvokeError("incomplete", f"the event stream ended within a message, after {len(self._held)} bytes of it")

    @staticmethod
    def _length(held: bytes, place: int) -> int:
        total, headers, checksum = _prelude(held, place)
        if crc32(held[place : place + 8]) != checksum:
            raise InvokeError("protocol", "a message of the event stream is damaged: the checksum of its lengths is wrong")
        if not LEAST_BYTES + headers <= total <= MOST_BYTES:
            raise InvokeError("protocol", f"a message of the event stream cannot have {total} bytes, {headers} of headers")
        return int(total)

    def _message(self, whole: bytes) -> Message:
        _, headers_length, _ = _prelude(whole)
        if crc32(whole[:-4]) != _number(whole, len(whole) - 4)[0]:
            raise InvokeError("protocol", "a message of the event stream is damaged: its checksum is wrong")
        raw = whole[12 : 12 + headers_length]
        headers = self._known.get(raw)
        if headers is None:
            headers = MappingProxyType(_headers(raw))
            if len(self._known) < KEPT:
                self._known[raw] = headers
        return Message(headers, whole[12 + headers_length : -4])


def _headers(raw: bytes) -> dict[str, Any]:
    headers: dict[str, Any] = {}
    place = 0
    try:
        while place < len(raw):
            end = place + 1 + raw[place]
            name = raw[place + 1 : end].decode()
            headers[name], place = _value(raw, end)
    except (IndexError, ValueError, struct.error):
        place = -1
    if place != len(raw):
        raise InvokeError("protocol", "a message of the event stream has headers that cannot be read")
    return headers


def _value(raw: bytes, place: int) -> tuple[Any, int]:
    """A header's value, and the place behind it."""
    kind, place = raw[place], place + 1
    if kind in {0, 1}:
        return kind == 0, place
    if kind in _FIXED:
        return struct.unpack_from(_FIXED[kind], raw, place)[0], place + struct.calcsize(_FIXED[kind])
    if kind in {6, 7}:
        end = place + 2 + int(struct.unpack_from(">H", raw, place)[0])
        data = raw[place + 2 : end]
        return data if kind == 6 else data.decode(), end
    if kind == 9:
        return uuid.UUID(bytes=raw[place : place + 16]), place + 16
    raise ValueError(f"unknown type {kind}")
