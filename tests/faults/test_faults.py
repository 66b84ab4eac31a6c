"""Every way a server can fail a request, over real sockets and through a whole run.

Each is one record with its kind, the times so far and the text so far, and the requests behind it are answered.
"""

import gzip
import json
import struct
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from zlib import crc32

import pytest

from fmbench import Benchmark, Concurrency, Prompt
from fmbench.deployers import ExistingEndpoint
from fmbench.invokers import OpenAI
from fmbench.invokers.sagemaker import SageMaker
from fmbench.recording import read_table

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the server asks Linux what its client has read")

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(value):
    return chunk(b"data: " + (value if isinstance(value, bytes) else json.dumps(value).encode()) + b"\n\n")


def token(text):
    return event({"choices": [{"index": 0, "delta": {"content": text}}]})


FINISH = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + event(b"[DONE]") + LAST
GOOD = (HEAD, token("one "), token("two "), token("three"), FINISH)

PROMPTS = [Prompt(id=text, text=text) for text in ("first", "second", "fault", "last")]
A, B = token("a "), token("b ")


@dataclass(frozen=True)
class Fault:
    """What the server does to the marked request, and what its record must say."""

    script: object
    kind: str
    says: str
    status: int | None = None
    """Of HTTP."""
    tokens: int = 0
    """How many of ``a b`` came."""
    bytes_came: bool = True
    """Whether anything of a reply's head or body came."""


def resets(*parts):
    def script(line):
        line.say(*parts)
        line.reset()
        return "over"

    return script


def closes(*parts):
    def script(line):
        line.say(*parts)
        return "over"

    return script


def says(*parts):
    """The connection stays open."""
    return lambda line: line.say(*parts)


def stalls(*parts):
    def script(line):
        line.say(*parts)
        line.stall()
        return "over"

    return script


def floods(first, part):
    def script(line):
        line.say(first)
        line.flood(part)
        return "over"

    return script


def whole(status, headers, body):
    return b"HTTP/1.1 %s\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)


ERROR = {"error": {"message": "out of memory", "code": 500}}
SECOND_HEAD = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"
MOVED = whole(b"307 Moved", b"Location: http://elsewhere/v1?signature=hush\r\n", b"")
PACKED = whole(b"200 OK", b"Content-Type: text/event-stream\r\nContent-Encoding: gzip\r\n", gzip.compress(b"data: {}\n\n"))
PACKED_UNSAID = whole(b"200 OK", b"Content-Type: text/event-stream\r\n", gzip.compress(b"data: {}\n\n"))
NO_UTF8 = event(b'{"choices": [{"index": 0, "delta": {"content": "\xff\xfe"}}]}')

FAULTS = {
    "reset before the reply": Fault(resets(), "reset", "before the reply", bytes_came=False),
    "reset in the headers": Fault(resets(HEAD[:30]), "reset", "in the reply's headers", bytes_came=False),
    "reset between head and body": Fault(resets(HEAD), "reset", "in the middle of the reply", 200),
    "reset in an event": Fault(resets(HEAD, A, B[:40]), "reset", "in the middle of the reply", 200, 1),
    "reset between events": Fault(resets(HEAD, A, B), "reset", "in the middle of the reply", 200, 2),
    "closed before the reply": Fault(closes(), "reset", "before the reply", bytes_came=False),
    "closed in the headers": Fault(closes(HEAD[:30]), "reset", "in the reply's headers", bytes_came=False),
    "closed between events": Fault(closes(HEAD, A, B), "reset", "in the middle of the reply", 200, 2),
    "closed after the finish, before the last chunk": Fault(
        closes(HEAD, A, B, FINISH.removesuffix(LAST)), "reset", "in the middle of the reply", 200, 2
    ),
    "a stall before the reply": Fault(stalls(), "timeout", "no complete reply within 1 s", bytes_came=False),
    "a stall between events": Fault(stalls(HEAD, A, B), "timeout", "no complete reply within 1 s", 200, 2),
    "an endless header": Fault(floods(HEAD[:17] + b"X: ", b"x" * 10_000), "protocol", "longer than", bytes_came=False),
    "headers without end": Fault(floods(HEAD[:17], b"X: y\r\n" * 999), "protocol", "longer than", bytes_came=False),
    "a chunk longer than it says": Fault(
        closes(HEAD, A, B, b"4\r\ndata: {}\n\n\r\n"), "protocol", "not valid HTTP/1.1", 200, 2
    ),
    "a chunk shorter than it says": Fault(
        closes(HEAD, A, B, b"fff\r\ndata: {}\n\n\r\n" + LAST), "reset", "in the middle of the reply", 200, 2
    ),
    "a chunk whose size is no number": Fault(closes(HEAD, A, B, b"many\r\n"), "protocol", "not valid HTTP/1.1", 200, 2),
    "a chunk of 2**64 bytes": Fault(closes(HEAD, A, B, b"1" + b"0" * 16 + b"\r\n"), "protocol", "not valid HTTP/1.1", 200, 2),
    "a body longer than it says": Fault(
        says(whole(b"200 OK", b"Content-Type: text/event-stream\r\n", b": hello\n\n") + token("lost")),
        "incomplete", "without a finish reason, after 0 chunks", 200,
    ),
    "invalid UTF-8": Fault(says(HEAD, A, B, NO_UTF8, token("c"), FINISH), "decode", "an event is not", 200, 2),
    "invalid JSON in one event": Fault(
        says(HEAD, A, B, event(b'{"choices": [{'), token("c"), FINISH), "decode", "an event is not JSON", 200, 2
    ),
    "an error in the stream": Fault(says(HEAD, A, B, event(ERROR), LAST), "model_error", "out of memory", 200, 2),
    "an error, and no end": Fault(resets(HEAD, A, B, event(ERROR)), "reset", "in the middle of the reply", 200, 2),
    "a second status line in the body": Fault(closes(HEAD, A, B, SECOND_HEAD), "protocol", "not valid HTTP/1.1", 200, 2),
    "no finish reason": Fault(says(HEAD, A, B, LAST), "incomplete", "without a finish reason, after 2 chunks", 200, 2),
    "an empty body": Fault(says(HEAD, LAST), "incomplete", "after 0 chunks", 200),
    "a redirect": Fault(says(MOVED), "http", "HTTP 307: a redirect to http://elsewhere/v1, which is not followed", 307),
    "a body in gzip": Fault(closes(PACKED), "protocol", "compressed (gzip)", 200),
    "a body in gzip that does not say so": Fault(says(PACKED_UNSAID), "incomplete", "after 0 chunks", 200),
    "throttled": Fault(says(whole(b"429 Slow", b"", b'{"error": "slow down"}')), "throttled", "slow down", 429),
    "broken": Fault(says(whole(b"500 Oops", b"", b"it broke")), "server", "HTTP 500: it broke", 500),
    "no HTTP at all": Fault(closes(b"SSH-2.0-OpenSSH\r\n\r\n"), "protocol", "not valid HTTP/1.1", bytes_came=False),
}  # fmt: skip


DOCUMENT = {"choices": [{"index": 0, "message": {"content": "one two three"}, "finish_reason": "stop"}]}
JSON = b"Content-Type: application/json\r\n"
ANSWER = whole(b"200 OK", JSON, json.dumps(DOCUMENT).encode())
UNSTREAMED = {
    "reset in the body": Fault(resets(ANSWER[:-9], ANSWER[-9:-5]), "reset", "in the middle of the reply", 200),
    "a stall in the body": Fault(stalls(ANSWER[:-9]), "timeout", "no complete reply within 1 s", 200),
    "invalid JSON": Fault(says(whole(b"200 OK", JSON, b'{"choices": [{')), "decode", "not a completion", 200),
    "invalid UTF-8": Fault(says(whole(b"200 OK", JSON, b'{"choices": "\xff"}')), "decode", "not a completion", 200),
    "an error with status 200": Fault(
        says(whole(b"200 OK", JSON, json.dumps(ERROR).encode())), "model_error", "out of memory", 200
    ),
    "a page": Fault(says(whole(b"200 OK", b"Content-Type: text/html\r\n", b"<html>")), "decode", "HTML came instead", 200),
    "a body in gzip": Fault(closes(PACKED), "protocol", "compressed (gzip)", 200),
}


def measured(server, directory, invoker=None, *, path="", facts=None):
    """A run of the four prompts, one after another: its records by prompt."""
    result = Benchmark(
        deployers=ExistingEndpoint(server.url + path, facts=facts or {}),
        prompts=PROMPTS,
        loads=Concurrency(1, requests=len(PROMPTS)),
        invoker=invoker or OpenAI(),
        warmup=0,
        request_timeout_seconds=1.0,
    ).run(directory)
    assert result.state == "finished"
    records = read_table(directory).to_pylist()
    assert [record["prompt_id"] for record in records] == [prompt.id for prompt in PROMPTS]
    return {record["prompt_id"]: record for record in records}


def assert_went_on(records, server, arrivals=3):
    """All but the marked request were answered, and none was sent twice."""
    good = [record for prompt, record in records.items() if prompt != "fault"]
    assert [(record["status"], record["completion"], len(record["arrivals_ns"])) for record in good] == [
        ("ok", "one two three", arrivals)
    ] * 3
    assert len(server.prompts) == len(set(server.prompts))


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_one_record_with_its_kind_and_what_came_and_the_run_goes_on(name, faulty, tmp_path):
    fault = FAULTS[name]
    with faulty(fault.script, GOOD) as server:
        records = measured(server, tmp_path / "run")
    assert_went_on(records, server)
    assert_told(records["fault"], fault)


@pytest.mark.parametrize("name", UNSTREAMED)
def test_a_fault_in_a_reply_that_is_not_streamed(name, faulty, tmp_path):
    fault = UNSTREAMED[name]
    with faulty(fault.script, [ANSWER]) as server:
        records = measured(server, tmp_path / "run", OpenAI(stream=False))
    assert_went_on(records, server, arrivals=1)
    assert_told(records["fault"], fault)


def assert_told(record, fault):
    assert record["status"] == ("timeout" if fault.kind == "timeout" else "error")
    assert record["error_kind"] == fault.kind
    assert fault.says in record["error_message"]
    assert "hush" not in record["error_message"]
    assert record["http_status"] == fault.status
    assert_times(record, fault)
    assert record["completion"] == ("".join("a b "[: 2 * fault.tokens]) or None)


def assert_times(record, fault):
    """What did not come has no time; what came has one, in order, each by itself."""
    arrivals = record["arrivals_ns"]
    assert len(arrivals) == fault.tokens
    assert record["coalesced"] == 0
    assert (record["first_byte_ns"] is not None) == fault.bytes_came
    known = [record["due_ns"], record["sent_ns"], record["first_byte_ns"], *arrivals, record["end_ns"]]
    times = [time for time in known if time is not None]
    assert times == sorted(times)
    assert len(set(arrivals)) == len(arrivals)
    assert record["first_token_ns"] == (arrivals[0] if arrivals else None)
    assert record["last_token_ns"] == (arrivals[-1] if arrivals else None)
    if fault.tokens:
        assert record["clock"] == "kernel"


@dataclass(frozen=True)
class Around:
    """The invoker, with something done to the server before and after the marked request is sent."""

    invoker: OpenAI
    before: object
    after: object

    @asynccontextmanager
    async def connect(self, endpoint, *, concurrency):
        async with self.invoker.connect(endpoint, concurrency=concurrency) as session:
            yield AroundSession(session, self.before, self.after)


class AroundSession:
    def __init__(self, session, before, after):
        self.encode, self.decode, self.decoder = session.encode, session.decode, session.decoder
        self._session, self._before, self._after = session, before, after

    async def send(self, request, exchange):
        marked = request.payload["messages"][-1]["content"] == "fault"
        if not marked:
            await self._session.send(request, exchange)
            return
        self._before()
        try:
            await self._session.send(request, exchange)
        finally:
            self._after()


def test_a_refused_connection_is_one_record_and_the_run_goes_on_when_the_server_is_back(faulty, tmp_path):
    with faulty(closes(), GOOD) as server:
        records = measured(server, tmp_path / "run", Around(OpenAI(), server.down, server.up))
    assert_went_on(records, server)
    record = records["fault"]
    assert (record["status"], record["error_kind"], record["http_status"]) == ("error", "connect", None)
    assert f"cannot connect to 127.0.0.1:{server.port}: Connection refused" in record["error_message"]
    assert_times(record, Fault(None, "connect", "", bytes_came=False))


def test_connections_closed_while_idle_are_opened_anew_and_no_request_fails(faulty, tmp_path):
    with faulty(says(HEAD, A, B, FINISH), GOOD) as server:

        def drop():
            server.down()
            server.up()

        records = measured(server, tmp_path / "run", Around(OpenAI(), drop, lambda: None))
    assert_went_on(records, server)
    assert records["fault"]["status"] == "ok"
    assert records["fault"]["completion"] == "a b "
    assert records["fault"]["connect_ns"] > 0


def test_a_connection_closed_as_the_request_comes_is_a_reset_that_names_the_remedy(faulty, tmp_path):
    """Nobody can tell whether the server has taken up the request: it is not repeated."""
    with faulty(closes(), GOOD) as server:
        records = measured(server, tmp_path / "run")
    assert_went_on(records, server)
    assert records["fault"]["error_kind"] == "reset"
    assert "promised to keep it; set keep_alive=False" in records["fault"]["error_message"]


def message(payload, headers=None):
    """A message of AWS's event stream, in a chunk."""
    named = headers or {":message-type": "event", ":event-type": "PayloadPart"}
    raw = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in named.items()
    )
    start = struct.pack(">II", 16 + len(raw) + len(payload), len(raw))
    framed = start + struct.pack(">I", crc32(start)) + raw + payload
    return chunk(framed + struct.pack(">I", crc32(framed)))


def line(text, finish=None):
    choice = {"index": 0, "delta": {"content": text} if text else {}, "finish_reason": finish}
    return message(json.dumps({"choices": [choice]}).encode() + b"\n")


AWS_HEAD = HEAD.replace(b"text/event-stream", b"application/vnd.amazon.eventstream")
DIED = {":message-type": "exception", ":exception-type": "ModelStreamError"}
SPOILT = line("c").replace(b"choices", b"choicfs")
AWS_FAULTS = {
    "a flipped bit": Fault(
        says(AWS_HEAD, line("a "), line("b "), SPOILT, line("d"), LAST), "protocol", "its checksum is wrong", 200, 2
    ),
    "an exception in mid-stream": Fault(
        says(AWS_HEAD, line("a "), line("b "), message(b'{"Message": "out of memory"}', DIED), LAST),
        "model_error", "ModelStreamError: out of memory", 200, 2,
    ),
    "a stream that ends within a message": Fault(
        says(AWS_HEAD, line("a "), line("b "), chunk(b"\0\0\0\x40"), LAST), "incomplete", "within a message", 200, 2
    ),
    "the model's own error": Fault(
        says(whole(b"424 F", b"x-amzn-ErrorType: ModelError\r\n", b'{"OriginalMessage": "CUDA", "OriginalStatusCode": 500}')),
        "model_error", "the model answered 500: CUDA", 424,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", AWS_FAULTS)
def test_a_fault_behind_sagemaker_is_one_record_too(name, faulty, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    fault = AWS_FAULTS[name]
    good = [AWS_HEAD, line("one "), line("two "), line("three"), line("", "stop"), LAST]
    with faulty(fault.script, good) as server:
        records = measured(
            server, tmp_path / "run", SageMaker(dialect="openai"), path="/endpoints/e", facts={"region": "us-west-2"}
        )
    assert_went_on(records, server)
    assert_told(records["fault"], fault)
    assert all(record["sign_ns"] > 0 for record in records.values())
