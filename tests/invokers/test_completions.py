"""Replies in pieces of any size, from servers of every habit."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmbench import Head, InvokeError, Usage
from fmbench.invokers.completions import EventDecoder, WholeDecoder

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


@pytest.mark.parametrize(
    ("body", "head", "kind", "match"),
    [
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
    "body", [b"", b"<html>", b"[]", b'{"choices": []}', b'{"error": {"message": "x"}}', b'{"choices": [{"text": "a"}]}']
)
def test_whole_replies_that_are_none(body):
    with pytest.raises(InvokeError):
        decoded(body, decoder=WholeDecoder)
