"""Arrow columns become the numbers that pyarrow itself makes of them."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmbench.metrics.columns import codes, list_lengths, list_values, truths, with_nan


@st.composite
def sliced(draw, items, kind):
    """A column, and a part of it that begins anywhere."""
    values = draw(st.lists(st.none() | items, max_size=40))
    start = draw(st.integers(0, len(values)))
    count = draw(st.integers(0, len(values) - start))
    return values[start : start + count], pa.array(values, kind).slice(start, count)


@given(sliced(st.integers(-(2**31), 2**31 - 1), pa.int32()) | sliced(st.integers(-(2**53), 2**53), pa.int64()))
def test_numbers(column):
    values, array = column
    assert with_nan(array).tolist() == pytest.approx([float("nan") if each is None else each for each in values], nan_ok=True)


@given(sliced(st.booleans(), pa.bool_()))
def test_truths(column):
    values, array = column
    assert truths(array).tolist() == [each is True for each in values]


@given(st.lists(sliced(st.text(max_size=2), pa.string()) | sliced(st.booleans(), pa.bool_()), max_size=4))
def test_words_are_places_in_a_list_that_grows(columns):
    places = {}
    found = [codes(array, places) for _, array in columns]
    words = [*places, None]
    for (values, _), mine in zip(columns, found, strict=True):
        assert [words[place] for place in mine] == values


@given(sliced(st.lists(st.integers(-9, 9), max_size=5), pa.list_(pa.int64())))
def test_lists_of_numbers(column):
    values, array = column
    assert list_lengths(array).tolist() == [len(each or ()) for each in values]
    assert list_values(array).tolist() == [number for each in values for number in each or ()]


@given(sliced(st.lists(st.booleans(), max_size=12), pa.list_(pa.bool_())))
def test_lists_of_truths(column):
    values, array = column
    assert list_values(array).tolist() == [truth for each in values for truth in each or ()]


def test_columns_without_any_value():
    assert with_nan(pa.nulls(3, pa.int64())).tolist() == pytest.approx([np.nan] * 3, nan_ok=True)
    assert codes(pa.nulls(2, pa.string()), {}).tolist() == [-1, -1]
    assert list_lengths(pa.nulls(2, pa.list_(pa.int64()))).tolist() == [0, 0]
    assert list_values(pa.nulls(2, pa.list_(pa.int64()))).tolist() == []
