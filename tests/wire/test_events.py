"""Server-sent events, in pieces of any size."""

import json
import re

from hypothesis import given
from hypothesis import strategies as st

from fmbench.wire import EventReader

ends = st.sampled_from(["\n", "\r\n", "\r"])
texts = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20)


def read(data, cuts):
    reader, events, start = EventReader(), [], 0
    for cut in [*sorted(cuts), len(data)]:
        events += reader.feed(data[start:cut])
        start = max(start, cut)
    return events + reader.close()


@given(st.data(), st.lists(texts, min_size=1, max_size=6), ends, st.sampled_from(["", " "]), st.booleans())
def test_however_a_stream_is_cut_its_events_are_the_same(data, events, end, space, comments):
    # A payload must not begin with the space that may follow the colon.
    payloads = [json.dumps(event, ensure_ascii=False) for event in events]
    stream = "".join(
        (f": ping{end}event: x{end}" if comments else "") + f"data:{space}{payload}{end}{end}" for payload in payloads
    )
    encoded = stream.encode()
    cuts = data.draw(st.lists(st.integers(0, len(encoded)), max_size=20))
    assert [event.decode() for event in read(encoded, cuts)] == payloads


def test_an_event_is_known_as_soon_as_its_end_is_there():
    reader = EventReader()
    assert reader.feed(b"data: a\n") == []
    assert reader.feed(b"\n") == [b"a"]
    assert reader.feed(b"data: b\r\r") == [b"b"]
    assert reader.feed(b"\ndata: c\n\ndata: d\n\nda") == [b"c", b"d"]
    assert reader.feed(b"ta: e\n\n") == [b"e"]


def test_lines_of_one_event_are_joined_and_other_fields_passed_over():
    assert read(b"id: 1\ndata: a\ndata:b\nretry: 5\n\n:c\n\ndatax: d\n\n", []) == [b"a\nb"]


def test_a_byte_order_mark_and_a_missing_last_end():
    assert read(b"\xef\xbb\xbfdata: a\n\ndata: b", [1, 2, 9]) == [b"a", b"b"]


def test_a_character_split_between_pieces_is_whole():
    encoded = "data: ✓é\n\n".encode()
    for cut in range(len(encoded)):
        assert read(encoded, [cut])[0].decode() == "✓é"


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


@given(
    st.data(),
    st.lists(st.sampled_from([b"data", b":", b" ", b"\n", b"\r", b"x", b"data: y", b"\n\n", b"\xef\xbb\xbf"]), max_size=25),
)
def test_anything_at_all_is_read_as_the_standard_says(data, parts):
    stream = b"".join(parts)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=20))
    assert read(stream, cuts) == as_the_standard_says(stream)


def test_a_long_event_in_many_pieces_is_joined_once():
    """Joined at each piece, this would copy 10 GB."""
    reader = EventReader()
    pieces = [b"data: ", *[b"x" * 1000] * 5000, b"\n", b"\n"]
    events = [event for piece in pieces for event in reader.feed(piece)]
    assert [len(event) for event in events] == [5_000_000]
    assert reader.close() == []
