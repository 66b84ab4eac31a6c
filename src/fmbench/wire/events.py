"""Server-sent events out of pieces of any size."""

from __future__ import annotations

__all__ = ["EventReader"]

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class EventReader:
    """Reads an event stream as WHATWG's HTML standard defines it.

    Line ends may be CRLF, LF or CR, ``data:`` may have no space behind it, comments and other fields are passed over; a
    piece may hold several events, and an event may lie across pieces.
    """

    __slots__ = ("_after_cr", "_data", "_held", "_started")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._data: list[bytes] = []
        self._after_cr = False
        self._started = False

    def feed(self, data: bytes) -> list[bytes]:
        """The data of each event that these bytes complete."""
        if b"\r" in data or self._after_cr:
            data = self._without_returns(data)
        end = data.find(b"\n")
        if end < 0:
            if data:
                self._held.append(data)  # joined once: a long line may come in many pieces
            return []
        if self._held:
            data = b"".join((*self._held, data))
            self._held.clear()
        elif end == len(data) - 2 and data[:6] == b"data: " and data[end:] == b"\n\n" and not self._data:
            self._started = True
            return [data[6:end]]  # one whole event, which is what a token mostly is
        lines = data.split(b"\n")
        if rest := lines.pop():
            self._held.append(rest)
        return self._events(lines)

    def close(self) -> list[bytes]:
        """The data of a last event whose end never came."""
        rest = b"".join(self._held)
        self._held.clear()
        return self._events([rest, b""])

    def _events(self, lines: list[bytes]) -> list[bytes]:
        if not self._started:
            self._started = True
            lines[0] = lines[0].removeprefix(BYTE_ORDER_MARK)
        events = []
        for line in lines:
            if line:
                self._field(line)
            elif self._data:
                events.append(self._data[0] if len(self._data) == 1 else b"\n".join(self._data))
                self._data.clear()
        return events

    def _field(self, line: bytes) -> None:
        if line[:5] == b"data:":
            self._data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._data.append(b"")

    def _without_returns(self, data: bytes) -> bytes:
        """Line ends as LF alone; a CR ends its line at once, and an LF that comes with the next piece belongs to it."""
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
        if data:
            self._after_cr = data[-1:] == b"\r"
        return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
