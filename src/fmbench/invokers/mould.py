"""The events of one reply are alike but for their content: what stands around it is learnt once, and then only compared."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

__all__ = ["NO_MOULD", "Mould", "around"]

MARK = "\x00 fmbench \x00"
"""A text that no server sends."""
_QUOTED_MARK = orjson.dumps(MARK)


class Mould(NamedTuple):
    """The bytes around the content of an event, its quotation marks with them.

    An event that begins and ends with these bytes and holds one JSON string between them is, by JSON's grammar, the event
    that the mould was taken of with another string in the place of its content. So it need not be read as a whole.
    """

    before: bytes
    after: bytes
    kind: Any
    start: int
    """Where the string begins, its quotation mark with it."""
    stop: int
    """Where it ends, counted from the end of the event."""


NO_MOULD: Final = Mould(b"\x00", b"", "text", 0, 0)
"""Fits nothing: no event begins with a null."""


def around(event: bytes, text: str, kind: Any, contents: Any) -> Mould:
    """Learn what stands around a text in an event.

    Args:
        event: One event on one line, ``data: {…}`` and two line ends.
        text: The one content it brings.
        kind: Of which kind that is.
        contents: Takes a JSON document apart into its contents, ``[(kind, text), …]``.

    Returns:
        ``NO_MOULD`` where the text does not stand there as it is, such as with unusual escapes.
    """
    quoted = orjson.dumps(text)
    at = event.find(quoted)
    while at >= 0:
        before, after = event[: at + 1], event[at + len(quoted) - 1 :]
        marked = before[:-1] + _QUOTED_MARK + after[1:]
        if contents(orjson.loads(marked.partition(b"data: ")[2])) == [(kind, MARK)]:
            return Mould(before, after, kind, at, len(event) - at - len(quoted))
        at = event.find(quoted, at + 1)
    return NO_MOULD
