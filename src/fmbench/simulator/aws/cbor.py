"""As much of CBOR (RFC 8949) as the Tagging API's protocol, Smithy's RPC v2 CBOR, needs."""

from __future__ import annotations

import struct
from typing import Any

__all__ = ["decoded", "encoded"]

_WIDTHS = {24: ">B", 25: ">H", 26: ">I", 27: ">Q"}
_CONSTANTS = {20: False, 21: True, 22: None, 23: None}
INDEFINITE = 31
BREAK = object()


def encoded(value: Any) -> bytes:
    """A value of JSON's kinds, without fractions."""
    if value is None or isinstance(value, bool):
        return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
    if isinstance(value, int):
        return _head(0, value) if value >= 0 else _head(1, -1 - value)
    if isinstance(value, str):
        raw = value.encode()
        return _head(3, len(raw)) + raw
    if isinstance(value, list | tuple):
        return _head(4, len(value)) + b"".join(map(encoded, value))
    if isinstance(value, dict):
        return _head(5, len(value)) + b"".join(encoded(key) + encoded(item) for key, item in value.items())
    raise TypeError(f"{type(value).__name__} is not written here")


def _head(major: int, count: int) -> bytes:
    if count < 24:
        return bytes([major << 5 | count])
    info, width = next((info, width) for info, width in _WIDTHS.items() if count < 1 << 8 * struct.calcsize(width))
    return bytes([major << 5 | info]) + struct.pack(width, count)


def decoded(raw: bytes) -> Any:
    """The value.

    Raises:
        ValueError: it is none, or of a kind that is not read here.
    """
    try:
        value, end = _value(raw, 0)
    except (IndexError, struct.error):
        raise ValueError("it ends too early") from None
    if end != len(raw):
        raise ValueError("something stands behind its end")
    return value


def _value(raw: bytes, place: int) -> tuple[Any, int]:
    major, info, place = raw[place] >> 5, raw[place] & 31, place + 1
    if major == 7:
        if info == INDEFINITE:
            return BREAK, place
        if info not in _CONSTANTS:
            raise ValueError("fractions are not read here")
        return _CONSTANTS[info], place
    count: int | None = info
    if info in _WIDTHS:
        (count,), place = struct.unpack_from(_WIDTHS[info], raw, place), place + struct.calcsize(_WIDTHS[info])
    elif info == INDEFINITE:
        count = None
    if major in {4, 5}:
        return _items(raw, place, count, pairs=major == 5)
    if count is None or major not in {0, 1, 2, 3}:
        raise ValueError("tags and texts in parts are not read here")
    if major < 2:
        return (count if major == 0 else -1 - count), place
    data = raw[place : place + count]
    if len(data) < count:
        raise IndexError
    return (data if major == 2 else data.decode()), place + count


def _items(raw: bytes, place: int, count: int | None, *, pairs: bool) -> tuple[Any, int]:
    found: list[Any] = []
    most = None if count is None else count * (1 + pairs)
    while most is None or len(found) < most:
        value, place = _value(raw, place)
        if value is BREAK:
            break
        found.append(value)
    return (dict(zip(found[::2], found[1::2], strict=True)) if pairs else found), place
