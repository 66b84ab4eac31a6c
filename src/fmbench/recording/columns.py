"""Arrow columns out of Python values.

``pyarrow.array`` does the same, but imports pandas when it is first called: half a second on the measuring loop, and 40 MB.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["column"]


def column(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
    """A column of text, int32, int64, bool, or of lists of the last three; ``None`` is null."""
    import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

    count, nulls = len(values), values.count(None)
    if nulls == count:
        return pa.nulls(count, kind)
    validity = _bits(bytes([value is not None for value in values])) if nulls else None
    if pa.types.is_list(kind):
        held = [value or () for value in values] if nulls else values
        lengths = [len(value) for value in held]
        items = pa.Array.from_buffers(kind.value_type, sum(lengths), [None, _flat(kind.value_type, held)])
        return pa.Array.from_buffers(kind, count, [validity, _offsets(lengths)], children=[items])
    if pa.types.is_string(kind):
        texts = [value or "" for value in values] if nulls else values
        return pa.Array.from_buffers(kind, count, [validity, *_encoded(texts)])
    return pa.Array.from_buffers(kind, count, [validity, _flat(kind, [[value or 0 for value in values] if nulls else values])])


def _encoded(texts: Sequence[str]) -> tuple[pa.Buffer, pa.Buffer]:
    """Where each text begins, and all of them as UTF-8, end to end; what is no Unicode becomes a question mark."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    joined = "".join(texts)
    data = joined.encode("utf-8", "replace")
    ascii_only = len(data) == len(joined)
    return _offsets(map(len, texts if ascii_only else [text.encode("utf-8", "replace") for text in texts])), pa.py_buffer(data)


def _flat(kind: pa.DataType, parts: Sequence[Sequence[Any]]) -> pa.Buffer:
    """The values of all parts, end to end; an ``array`` is copied without making a Python object of each number."""
    import pyarrow as pa  # noqa: PLC0415 - as above

    if pa.types.is_boolean(kind):
        return _bits(b"".join(map(bytes, parts)))
    flat = array("q" if kind.bit_width == 64 else "i")
    for part in parts:
        flat.extend(part)
    return pa.py_buffer(flat)


def _bits(truths: bytes) -> pa.Buffer:
    import numpy as np  # noqa: PLC0415 - as above
    import pyarrow as pa  # noqa: PLC0415 - as above

    return pa.py_buffer(np.packbits(np.frombuffer(truths, np.uint8), bitorder="little"))


def _offsets(lengths: Iterable[int]) -> pa.Buffer:
    import pyarrow as pa  # noqa: PLC0415 - as above

    return pa.py_buffer(array("i", accumulate(lengths, initial=0)))
