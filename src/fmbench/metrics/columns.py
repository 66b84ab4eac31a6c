"""Arrow columns as numpy arrays.

pyarrow's own conversions do the same, but import pandas when they are first called: a third of a second and 35 MB, which a
run that shows no ``DataFrame`` has no use for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Booleans", "Numbers", "codes", "list_lengths", "list_values", "truths", "with_nan"]

Numbers = NDArray[np.float64]
"""One number a record (or an arrival), NaN where the record holds null."""

Booleans = NDArray[np.bool_]
SHORT = 2000
"""In a column shorter than this Python looks quicker than pyarrow's functions can be imported, which takes 40 ms."""


def _bits(buffer: pa.Buffer, start: int, count: int) -> Booleans:
    """So many bits of a bitmap."""
    first = start // 8
    octets = np.frombuffer(buffer, np.uint8, (start + count + 7) // 8 - first, first)
    return np.unpackbits(octets, bitorder="little")[start - first * 8 :][:count].view(np.bool_)


def _known(array: pa.Array) -> Booleans:
    """Which values are not null."""
    validity = array.buffers()[0]
    return np.ones(len(array), np.bool_) if validity is None else _bits(validity, array.offset, len(array))


def _plain(array: pa.Array) -> NDArray[Any]:
    """The values of a column of integers or booleans; what stands for null is any value."""
    data = array.buffers()[1]
    kind = str(array.type)
    if data is None:
        return np.zeros(len(array), np.bool_ if kind == "bool" else kind)
    if kind == "bool":
        return _bits(data, array.offset, len(array))
    dtype = np.dtype(kind)
    return np.frombuffer(data, dtype, len(array), array.offset * dtype.itemsize)


def with_nan(array: pa.Array) -> Numbers:
    """The values of a column of integers, NaN for null."""
    values = _plain(array).astype(np.float64)
    if array.null_count:
        values[~_known(array)] = np.nan
    return values


def truths(array: pa.Array) -> Booleans:
    """The values of a column of booleans, false for null."""
    values: Booleans = _plain(array)
    return values & _known(array) if array.null_count else values


def codes(array: pa.Array, places: dict[Any, int]) -> NDArray[np.int32]:
    """A column of words or truths as places in the list of its different values, -1 for null.

    Args:
        array: The column.
        places: The place of each value met so far; new ones are added.
    """
    if len(array) < SHORT:
        return np.array([-1 if word is None else places.setdefault(word, len(places)) for word in array.to_pylist()], np.int32)
    encoded = array.dictionary_encode()
    mine = [places.setdefault(word, len(places)) for word in encoded.dictionary.to_pylist()]
    indices = _plain(encoded.indices)
    if array.null_count:
        indices = np.where(_known(encoded.indices), indices, len(mine))
    found: NDArray[np.int32] = np.array([*mine, -1], np.int32)[indices]
    return found


def list_lengths(array: pa.ListArray) -> NDArray[np.int64]:
    """How many values each list has; none for null."""
    offsets = array.buffers()[1]
    if offsets is None or not len(array):
        return np.zeros(len(array), np.int64)
    lengths = np.diff(np.frombuffer(offsets, np.int32, len(array) + 1, array.offset * 4)).astype(np.int64)
    return np.where(_known(array), lengths, 0) if array.null_count else lengths


def list_values(array: pa.ListArray) -> NDArray[Any]:
    """The values of all lists, end to end; one that is null holds none, as ``recording`` writes it."""
    offsets = array.buffers()[1]
    if offsets is None or not len(array):
        return _plain(array.values)[:0]
    first, last = np.frombuffer(offsets, np.int32, len(array) + 1, array.offset * 4)[[0, -1]].tolist()
    return _plain(array.values)[first:last]
