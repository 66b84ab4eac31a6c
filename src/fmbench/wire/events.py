"""Server-sent events out of pieces of any size."""

from __future__ import annotations

__all__ = ["EventReader"]


class EventReader:
    """Reads an event stream as WHATWG's HTML standard defines it.

    Line ends may be CRLF, LF or CR, ``data:`` may have no space behind it, comments and other fields are passed over; a
    piece may hold several events, and an event may lie across pieces.
    """

    __slots__ = ("_after_cr", "_data", "_rest", "_started")

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []
        self._after_cr = False
        self._started = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that these bytes complete."""
        if not data:
            return []
        if b"\r" in data or self._after_cr:
            data = self._without_returns(data)
        if self._rest:
            data = self._rest + data
        lines = data.split(b"\n")
        self._rest = lines.pop()
        events = []
        for line in lines:
            if line[:5] == b"data:":
                self._data.append(line[6:] if line[5:6] == b" " else line[5:])
            elif not line:
                if self._data:
                    events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                    self._data.clear()
            elif not self._started and line[:3] == b"\xef\xbb\xbf":
                self._field(line[3:])
            self._started = True
        return events

    def close(self) -> list[bytes]:
        """The data of a last event whose end never came."""
        if self._rest:
            self._field(self._rest)
            self._rest = b""
        data, self._data = self._data, []
        return [b"\n".join(data)] if data else []

    def _field(self, line: bytes) -> None:
        if line[:5] == b"data:":
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])

    def _without_returns(self, data: bytes) -> bytes:
        """Line ends as LF alone; a CR ends its line at once, and an LF that comes with the next piece belongs to it."""
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
