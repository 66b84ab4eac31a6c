"""Replies in pieces of any size, from servers of every habit."""

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmbench import Head, InvokeError, Usage
from fmbench.invokers.completions import EventDecoder, WholeDecoder
from fmbench.invokers.failures import Failures

OK = Head(200, {"content-type": "text/event-stream"})


def chunk(delta=None, finish=None, **more):
    choices = [] if delta is None and finish is None else [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    return {"model": "m", "choices": choices, **more}


def stream(*chunks, end="\n\n", done=True):
    events = [f"data: {json.dumps(one, ensure_ascii=False)}{end}" for one in chunks]
    return "".join([*events, *([f"data: [DONE]{end}"] if done else [])]).encode()


def decoded(*pieces, head=OK, decoder=EventDecoder):
    decoder = decoder()
    for piece in pieces:
        decoder.feed(piece)
    return decoder.close(head)


USUAL = [
    chunk({"role": "assistant", "content": None}),
    chunk({"content": "naïve"}),
    chunk({"content": " ✓"}),
    chunk({}, "stop"),
    chunk(usage={"prompt_tokens": 7, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 3}}),
]


@given(st.data())
def test_however_a_stream_is_cut_the_reply_is_the_same(data):
    whole = stream(*USUAL)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    pieces = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    reply = decoded(*pieces)
    assert reply.text == "naïve ✓"
    assert reply.finish_reason == "stop"
    assert reply.usage == Usage(prompt_tokens=7, completion_tokens=2, cached_tokens=3)
    ends = [whole.index(b"\n\n", whole.index(word.encode())) + 2 for word in ("naïve", "✓")]
    reached = [next(i for i, _ in enumerate(pieces) if sum(map(len, pieces[: i + 1])) >= end) for end in ends]
    assert [delta.piece for delta in reply.deltas] == reached


ODDITIES = [
    b"retry: 3\n\n",
    b": comment\n\n",
    b': data: {"choices": [{"text": "commented out"}]}\n\n',
    b"data: [DONE]\n\n",
    b"event: ping\ndata: {}\n\n",
    b'data: {"choices":\ndata: [{"delta": {"content": "two lines"}}]}\n\n',
    b'data: {"choices": [{"delta": {"content": "crlf"}}]}\r\n\r\n',
    b'data:{"choices": [{"text": "no space"}]}\n\n',
    b'data: {"choices": [{"text": "mixed ends"}]}\r\n\n',
    stream(chunk({"content": "x", "reasoning_content": "y"}), done=False),
    stream(chunk({"content": "t"}, token_ids=[1, 2]), done=False),
    stream(chunk({"content": "u"}, usage={"completion_tokens": 40}), chunk({"content": "v"}), done=False),
    stream(chunk({"content": "f"}, "length"), done=False),
    stream(chunk(usage={"prompt_tokens": 3, "completion_tokens": 50}, timings={"predicted_n": 50}), done=False),
]


@given(st.lists(st.sampled_from([*(stream(one, done=False) for one in USUAL), *ODDITIES]), max_size=12))
def test_events_that_come_whole_take_a_shorter_way_to_the_same_reply(events):
    events = [*events, stream(USUAL[3])]
    by_event, by_byte = EventDecoder(), EventDecoder()
    for event in events:
        by_event.feed(event)
        for number in event:
            by_byte.feed(bytes([number]))
    short, long = by_event.close(OK), by_byte.close(OK)
    assert [delta[1:] for delta in short.deltas] == [delta[1:] for delta in long.deltas]
    assert (short.finish_reason, short.usage, short.model, short.timings) == (
        long.finish_reason,
        long.usage,
        long.model,
        long.timings,
    )


@pytest.mark.parametrize("usual", [stream(*USUAL, end="\r\n\r\n"), stream(*USUAL, done=False), b": hi\n\n" + stream(*USUAL)])
def test_line_ends_a_missing_done_and_comments(usual):
    assert decoded(usual).text == "naïve ✓"


def test_the_role_alone_is_no_token():
    assert [delta.text for delta in decoded(stream(*USUAL)).deltas] == ["naïve", " ✓"]


def test_usage_may_ride_on_any_chunk():
    usage = {"prompt_tokens": 1, "completion_tokens": 5}
    assert decoded(stream(chunk({"content": "x"}), chunk({}, "length", usage=usage))).usage.completion_tokens == 5
    assert decoded(stream(chunk({"content": "x"}, usage=usage), chunk({}, "length"))).usage.completion_tokens == 5


@pytest.mark.parametrize(
    "told",
    [
        lambda n: {"timings": {"predicted_n": n}},
        lambda n: {"usage": {"completion_tokens": n}},
    ],
)
def test_running_counts_tell_each_chunks_tokens_and_what_came_without_text(told):
    reply = decoded(
        stream(chunk({"content": "a"}, **told(1)), chunk({"content": "bc"}, **told(3)), chunk({}, "length", **told(4)))
    )
    assert [(delta.text, delta.tokens) for delta in reply.deltas] == [("a", 1), ("bc", 2), ("", 1)]


def test_a_count_that_comes_only_at_the_end_tells_nothing_of_the_chunks_before():
    reply = decoded(stream(chunk({"content": "a"}), chunk({"content": "b"}), chunk({}, "stop", timings={"predicted_n": 9})))
    assert [delta.tokens for delta in reply.deltas] == [None, None]


def test_a_running_count_that_ends_on_the_usage_chunk_loses_no_token():
    def told(number):
        return {"usage": {"completion_tokens": number}}

    reply = decoded(stream(chunk({"content": "a"}, **told(1)), chunk({}, "stop", **told(1)), chunk(**told(2))))
    assert [(delta.text, delta.tokens) for delta in reply.deltas] == [("a", 1), ("", 1)]


def test_a_running_count_that_falls_is_none():
    told = [{"usage": {"completion_tokens": number}} for number in (5, 3)]
    reply = decoded(stream(chunk({"content": "a"}, **told[0]), chunk({"content": "b"}, **told[1]), chunk({}, "stop")))
    assert [delta.tokens for delta in reply.deltas] == [5, None]


def test_token_ids_count():
    choice = {"index": 0, "text": "ab", "token_ids": [4, 5], "finish_reason": "stop"}
    [delta] = decoded(stream({"choices": [choice]})).deltas
    assert (delta.text, delta.tokens) == ("ab", 2)


def test_reasoning_and_tools_are_told_apart_from_the_answer():
    calls = [{"function": {"name": "f", "arguments": "{}"}}]
    reply = decoded(
        stream(chunk({"reasoning_content": "hm"}), chunk({"content": "yes"}), chunk({"tool_calls": calls}), chunk({}, "stop"))
    )
    assert [delta.kind for delta in reply.deltas] == ["reasoning", "text", "tool"]
    assert reply.text == "yes"


def test_kinds_that_come_together_are_told_apart_and_their_tokens_counted_once():
    both = chunk({"reasoning_content": "hm", "content": "yes"}, timings={"predicted_n": 2})
    reply = decoded(stream(both, chunk({}, "stop", timings={"predicted_n": 2})))
    assert reply.deltas == [(0, "reasoning", "hm", 2), (0, "text", "yes", 0)]
    message = {"content": "yes", "reasoning": "hm", "tool_calls": [{"function": {"name": "f", "arguments": None}}]}
    body = json.dumps({"choices": [{"message": message, "finish_reason": "stop"}], "usage": {"completion_tokens": 3}})
    whole = decoded(body.encode(), decoder=WholeDecoder)
    assert whole.deltas == [(0, "reasoning", "hm", 3), (0, "text", "yes", 0), (0, "tool", "f", 0)]


@pytest.mark.parametrize(
    ("event", "deltas"),
    [
        (chunk({"content": "a", "reasoning": "b"}), [("reasoning", "b", None), ("text", "a", None)]),
        (chunk({"role": "assistant", "content": "a"}), [("text", "a", None)]),
        (chunk({"content": "a"}, timings={"predicted_n": 4}), [("text", "a", 4)]),
        (chunk({"content": "a"}, usage={"completion_tokens": 4}), [("text", "a", 4)]),
        ({"choices": [{"text": "ab", "token_ids": [7, 8]}]}, [("text", "ab", 2)]),
        ({"choices": [{"text": "ab", "finish_reason": "length"}]}, [("text", "ab", None)]),
        ({"choices": [{"delta": {"content": ""}}]}, []),
    ],
)
def test_later_events_may_bring_more_than_content(event, deltas):
    decoder = EventDecoder()
    for one in (USUAL[0], event):
        decoder.feed(stream(one, done=False))
    assert [delta[1:] for delta in decoder.deltas] == deltas
    if "length" in str(event):
        assert decoder.close(OK).finish_reason == "length"


def test_a_usage_chunk_alone_is_no_content():
    reply = decoded(stream(USUAL[0], chunk({}, "stop"), USUAL[4]))
    assert (reply.deltas, reply.usage.completion_tokens) == ([], 2)


def test_a_refusal_is_an_answer():
    assert decoded(stream(chunk({"content": None, "refusal": "No."}), chunk({}, "stop"))).text == "No."


@pytest.mark.parametrize("usage", [5, "7", [], {"prompt_tokens": -7, "completion_tokens": 2.5, "prompt_tokens_details": 1}])
def test_counts_that_are_no_counts_were_not_told(usage):
    reply = decoded(stream(chunk({"content": "a"}), chunk({}, "stop", usage=usage, timings=usage, model=3)))
    assert reply.usage in {None, Usage()}
    assert reply.model == "m"
    body = json.dumps({"model": 3, "choices": [{"text": "a", "finish_reason": "stop"}], "usage": usage, "timings": [1]})
    whole = decoded(body.encode(), decoder=WholeDecoder)
    assert whole.usage in {None, Usage()}
    assert (whole.model, whole.timings, whole.deltas) == (None, None, [(0, "text", "a", None)])


def test_what_must_stay_secret_is_blotted_out_of_what_a_server_says():
    for make, body in (
        (EventDecoder, b'data: {"error": "bad key sk-very-secret!"}\n\n'),
        (WholeDecoder, b'{"error": "bad key sk-very-secret!"}'),
    ):
        for status in (200, 401):
            decoder = make(Failures(["Bearer sk-very-secret"]))
            decoder.feed(body)
            with pytest.raises(InvokeError, match=r"bad key \*\*\*!") as caught:
                decoder.close(Head(status, {}))
            assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "head", "kind", "match"),
    [
        (stream(chunk({"content": [{"type": "text"}]}), chunk({}, "stop")), OK, "decode", "not a completion"),
        (stream(chunk({"content": "a"}), chunk({"content": 5}), chunk({}, "stop")), OK, "decode", "not a completion"),
        (stream({"choices": [{"index": 1, "text": "b"}]}), OK, "decode", "not a completion"),
        (stream(chunk({"content": "a"}), {"object": "error", "message": "boom"}), OK, "model_error", "boom"),
        (stream(chunk({"content": "a"}, "error")), OK, "model_error", "finish_reason error"),
        (b"", Head(None, {}), "incomplete", "there was no reply"),
        (stream(chunk({"content": "a"}), done=False), OK, "incomplete", "after 1 chunks"),
        (stream(chunk({"content": "a"})), OK, "incomplete", "without a finish reason"),
        (b"data: {oops\n\n" + stream(*USUAL), OK, "decode", "not JSON: {oops"),
        (b"data: 3\n\n", OK, "decode", "not a JSON object"),
        (b'data: {"choices": [3]}\n\n', OK, "decode", "not a completion"),
        (stream(chunk({"content": "a"})) + b'data: {"error": {"message": "CUDA died"}}\n\n', OK, "model_error", "CUDA died"),
        (b"<html>hello</html>", Head(200, {"content-type": "text/html"}), "decode", "HTML came instead of JSON"),
        (b'{"choices": []}', Head(200, {"content-type": "application/json"}), "decode", "whole JSON document came instead"),
        (b"", OK, "incomplete", "after 0 chunks"),
        (b'{"error": {"message": "bad key"}}', Head(401, {}), "unauthorized", "HTTP 401: bad key"),
        (b'{"detail": "no such model"}', Head(404, {}), "not_found", "no such model"),
        (b'{"message": "slow down"}', Head(429, {}), "throttled", "slow down"),
        (b"boom\n  now", Head(500, {}), "server", "HTTP 500: boom now"),
        (b"", Head(503, {}), "not_ready", "no message"),
        (b'{"error": "x"}', Head(422, {}), "validation", "x"),
        (b"", Head(302, {"location": "https://elsewhere/"}), "http", "a redirect to https://elsewhere/"),
        (b"<!doctype html>", Head(404, {"content-type": "text/html"}), "not_found", "HTML came"),
        (b"x" * 5000, Head(500, {}), "server", "x…$"),
    ],
)
def test_what_a_server_says_went_wrong(body, head, kind, match):
    with pytest.raises(InvokeError, match=match) as caught:
        decoded(body, head=head)
    assert caught.value.kind == kind
    assert caught.value.status in {None, head.status}
    assert len(caught.value.message) < 400


def test_the_partial_reply_of_a_stream_that_breaks_off_is_kept():
    decoder = EventDecoder()
    decoder.feed(stream(chunk({"content": "half"}), done=False))
    with pytest.raises(InvokeError):
        decoder.close(OK)
    assert [delta.text for delta in decoder.deltas] == ["half"]


def test_whole_replies_chat_and_text():
    usage = {"prompt_tokens": 1, "completion_tokens": 2}
    for choice in ({"message": {"role": "assistant", "content": "hello"}}, {"text": "hello"}):
        body = json.dumps({"model": "m", "choices": [{**choice, "finish_reason": "stop"}], "usage": usage}).encode()
        reply = decoded(body[:10], body[10:], decoder=WholeDecoder)
        assert (reply.text, reply.streamed, reply.usage.completion_tokens) == ("hello", False, 2)
        assert [(delta.piece, delta.tokens) for delta in reply.deltas] == [(1, 2)]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "decode"),
        (b"<html>", "decode"),
        (b"[]", "decode"),
        (b"null", "decode"),
        (b'{"choices": []}', "decode"),
        (b'{"choices": [{"text": 5, "finish_reason": "stop"}]}', "decode"),
        (b'{"choices": [{"text": "a", "finish_reason": "stop"}, {"text": "b", "finish_reason": "stop"}]}', "decode"),
        (b'{"error": {"message": "x"}}', "model_error"),
        (b'{"object": "error", "message": "x"}', "model_error"),
        (b'{"choices": [{"text": "a", "finish_reason": "error"}]}', "model_error"),
        (b'{"choices": [{"text": "a", "finish_reason": null}]}', "incomplete"),
        (b'{"choices": [{"text": "a", "finish_reason": ""}]}', "incomplete"),
    ],
)
def test_whole_replies_that_are_none(body, kind):
    with pytest.raises(InvokeError) as caught:
        decoded(body, decoder=WholeDecoder)
    assert caught.value.kind == kind


ODD_TEXTS = ["token ", "delta", "content", '"', "\\", "ü", "\n", "", "</s>", "1"]
CONTENTS = st.lists(st.sampled_from(ODD_TEXTS) | st.text(max_size=4), min_size=2, max_size=12)


@given(texts=CONTENTS, field=st.sampled_from(["content", "reasoning_content"]), data=st.data())
def test_comparing_with_the_mould_gives_what_reading_each_event_gives(texts, field, data):
    """Each event is read whole by a decoder that only ever sees half of it at once."""
    pieces = []
    for number, text in enumerate(texts):
        delta = {field: text}
        if data.draw(st.integers(0, 9)) == 0:
            delta["role"] = "assistant"
        chunk = {"id": "token ", "created": number // 5, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]}
        if data.draw(st.integers(0, 9)) == 0:
            chunk["usage"] = {"prompt_tokens": 1, "completion_tokens": number + 1}
        pieces.append(b"data: " + orjson.dumps(chunk) + b"\n\n")
    pieces.append(b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n')
    quick, slow = EventDecoder(), EventDecoder()
    for piece in pieces:
        quick.feed(piece)
        slow.feed(piece[:3])
        slow.feed(piece[3:])
    quick, slow = quick.close(Head(200, {})), slow.close(Head(200, {}))
    assert [(delta.kind, delta.text, delta.tokens) for delta in quick.deltas] == [
        (delta.kind, delta.text, delta.tokens) for delta in slow.deltas
    ]
    assert [2 * delta.piece + 1 for delta in quick.deltas] == [delta.piece for delta in slow.deltas]
    assert quick.usage == slow.usage


@pytest.mark.parametrize(
    "odd",
    [
        b'data: {"choices":[{"index":0,"delta":{"content":"a","content":"b"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"length","x":"b"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud800"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"\xff"}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":""}}]}\n\n',
        b'data: {"choices":[{"index":0,"delta":{"content":"}}]}\n\n',
        b'data: {"id":"other","choices":[{"index":0,"delta":{"content":"token"},"finish_reason":null}]}\n\n',
        b'data: {"id":"token","choices":[{"index":0,"delta":{"content":"token"},"finish_reason":"st"}]}\n\n',
    ],
)
def test_an_event_that_only_looks_like_the_others_is_read_whole(odd):
    usual = b'data: {"id":"token","choices":[{"index":0,"delta":{"content":"token"},"finish_reason":null}]}\n\n'

    def outcome(cut):
        decoder = EventDecoder()
        for piece in (usual, usual, odd, usual, b"data: [DONE]\n\n"):
            for part in (piece,) if cut is None else (piece[:cut], piece[cut:]):
                decoder.feed(part)
        try:
            reply = decoder.close(Head(200, {}))
            return reply.finish_reason, [delta.text for delta in reply.deltas]
        except InvokeError as error:
            return error.kind, [delta.text for delta in decoder.deltas]

    assert outcome(None) == outcome(9)
