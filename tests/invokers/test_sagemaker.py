"""SageMaker's runtime over real sockets: what goes out and how it is signed, and what is made of what comes."""

import asyncio
import datetime as dt
import json
import struct
import time
from contextlib import asynccontextmanager
from zlib import crc32

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from fmbench import ConfigError, Endpoint, Exchange, Head, InvokeError, Parameters, Prompt, Usage
from fmbench.invokers.failures import Failures
from fmbench.invokers.generated import GeneratedDecoder
from fmbench.invokers.sagemaker import SageMaker, _Chain, _region_of, _renew

HELLO = Prompt(id="p", text="hi", tokens=1)
STREAMED = {":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream"}
BROKEN = {":message-type": "exception", ":exception-type": "ModelStreamError", ":content-type": "application/json"}


@pytest.fixture(autouse=True)
def credentials(monkeypatch, tmp_path):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret-key")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "the-session-token")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


def message(payload, headers=None):
    raw = b"".join(
        bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for name, value in (STREAMED if headers is None else headers).items()
    )
    start = struct.pack(">II", 16 + len(raw) + len(payload), len(raw))
    whole = start + struct.pack(">I", crc32(start)) + raw + payload
    return whole + struct.pack(">I", crc32(whole))


def streamed(*messages):
    kind = b"Content-Type: application/vnd.amazon.eventstream\r\n"
    chunks = [b"%x\r\n%s\r\n" % (len(one), one) for one in messages]  # so that each is a piece, whatever shares a read
    return [b"HTTP/1.1 200 OK\r\n" + kind + b"Transfer-Encoding: chunked\r\n\r\n", *chunks, b"0\r\n\r\n"]


def failed(status, name, body):
    return whole(status, json.dumps(body).encode(), b"x-amzn-ErrorType: %s\r\n" % name.encode())


def whole(status, body, headers=b""):
    return [b"HTTP/1.1 %d Said\r\n%sContent-Length: %d\r\n\r\n%s" % (status, headers, len(body), body)]


class Server:
    """Answers each request with the same bytes, in the given pieces, and keeps what came."""

    def __init__(self, pieces):
        self.pieces, self.requests = pieces, []

    @asynccontextmanager
    async def up(self):
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/endpoints/my-endpoint"
        finally:
            server.close()
            await server.wait_closed()

    async def serve(self, reader, writer):
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
            headers = dict(line.split(": ", 1) for line in lines)
            body = await reader.readexactly(int(headers["Content-Length"]))
            self.requests.append((first, headers, body))
            for piece in self.pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.005)
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            pass  # a connection to spare, or a client that has gone
        finally:
            writer.close()


def answered(pieces, *, prompt=HELLO, parameters=None, image="djl-inference:0.38.0-lmi29", facts=None, **options):
    async def main():
        server = Server(pieces)
        async with server.up() as url:
            endpoint = Endpoint(name="e", url=url, facts={"region": "us-west-2", "image": image, **(facts or {})})
            async with SageMaker(**options).connect(endpoint, concurrency=1) as session:
                request = session.encode(prompt, parameters or Parameters())
                exchange = Exchange("the-id", time.perf_counter_ns)
                await session.send(request, exchange)
                decoder = session.decoder()
                for piece in exchange.pieces:
                    decoder.feed(piece)
                try:
                    outcome = decoder.close(Head(exchange.status, exchange.headers))
                except InvokeError as error:
                    outcome = error
                return outcome, decoder.deltas, exchange, server.requests[0]

    return asyncio.run(main())


TOKENS = [
    b'{"index":0,"token":{"id":1,"text":" a"},"generated_text":null}\n',
    b'{"index":1,"token":{"id":2,"text":" b"},"generated_text":null}\n',
    b'{"token":{"id":3,"text":""},"generated_text":" a b","details":{"finish_reason":"length","generated_tokens":4}}\n\n',
]
LMI = streamed(*map(message, TOKENS))


def test_a_request_is_signed_as_botocore_would():
    _, _, exchange, (first, headers, body) = answered(LMI, facts={"inference_component": "ic-1"})
    assert first == "POST /endpoints/my-endpoint/invocations-response-stream HTTP/1.1"
    signed = {name: headers[name] for name in ("Content-Type", "X-Amzn-SageMaker-Inference-Component")}
    request = AWSRequest("POST", f"http://{headers['Host']}{first.split()[1]}", data=body, headers=signed)
    moment = dt.datetime.strptime(headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=dt.UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(auth, "get_current_datetime", lambda *_, **__: moment.replace(tzinfo=None))
        auth.SigV4Auth(Credentials("AKIDEXAMPLE", "very-secret-key", "the-session-token"), "sagemaker", "us-west-2").add_auth(
            request
        )
    assert headers["Authorization"] == request.headers["Authorization"]
    assert headers["X-Amz-Security-Token"] == "the-session-token"
    assert headers["X-Request-Id"] == "the-id"
    assert "content-type;host;x-amz-date" in headers["Authorization"]
    assert exchange.sign_ns > 0


@pytest.mark.parametrize(
    ("pieces", "image", "tokens", "usage"),
    [
        (LMI, "djl-inference:0.38.0-lmi29", [None] * 3, None),
        (
            streamed(*(message(b"data:" + token.strip() + b"\n\n") for token in TOKENS)),
            "huggingface-pytorch-tgi-inference:2.7",
            [1, 1, 1],
            Usage(completion_tokens=4),
        ),
    ],
)
def test_tokens_are_told_with_the_time_of_the_piece_that_completed_them(pieces, image, tokens, usage):
    reply, _, exchange, _ = answered(pieces, image=image)
    assert (reply.text, reply.finish_reason, reply.usage) == (" a b", "length", usage)
    assert [delta.piece for delta in reply.deltas] == [0, 1, 2]
    assert [delta.tokens for delta in reply.deltas] == tokens
    assert list(exchange.stamps) == sorted(exchange.stamps)


def test_chat_completions_come_as_lines_of_json_or_as_events():
    chunks = [
        {"choices": [{"index": 0, "delta": {"content": "one "}}]},
        {"choices": [{"index": 0, "delta": {"content": "two"}, "finish_reason": "stop"}]},
        {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
    ]
    lines = [json.dumps(chunk).encode() for chunk in chunks]
    for pieces in (
        [message(line + b"\n") for line in lines],
        [message(b"data: " + line + b"\n\n") for line in lines] + [message(b"data: [DONE]\n\n")],
    ):
        reply, _, _, (_, _, body) = answered(streamed(*pieces), dialect="openai")
        assert (reply.text, reply.finish_reason, reply.usage.completion_tokens) == ("one two", "stop", 2)
        assert [delta.piece for delta in reply.deltas] == [0, 1]
    assert json.loads(body)["messages"] == [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize("step", [1, 5, 7, 100])
def test_frames_and_lines_may_be_cut_anywhere(step):
    text = b"".join(TOKENS).replace(b" b", " é✓".encode())
    stream = b"".join(message(text[at : at + 11]) for at in range(0, len(text), 11))
    reply, deltas, exchange, _ = answered(streamed(*(stream[at : at + 13 * step] for at in range(0, len(stream), 13 * step))))
    assert reply.text == " a é✓"
    pieces = [delta.piece for delta in deltas]
    assert pieces == sorted(pieces)
    assert all(0 <= piece < len(exchange.pieces) for piece in pieces)


@pytest.mark.parametrize(
    ("image", "body"),
    [
        ("djl-inference", b'{"generated_text": "a b", "details": {"finish_reason": "length", "generated_tokens": 2}}'),
        ("tgi-inference", b'[{"generated_text": "a b", "details": {"finish_reason": "length", "generated_tokens": 2}}]'),
        (
            "vllm",
            b'{"choices": [{"message": {"content": "a b"}, "finish_reason": "length"}], "usage": {"completion_tokens": 2}}',
        ),
    ],
)
def test_a_reply_that_is_not_streamed(image, body):
    reply, _, _, (first, _, _) = answered(whole(200, body), image=image, stream=False)
    assert first.startswith("POST /endpoints/my-endpoint/invocations HTTP")
    assert (reply.text, reply.finish_reason, reply.streamed, reply.usage.completion_tokens) == ("a b", "length", False, 2)


MODEL_ERROR = {"ErrorCode": "X", "OriginalStatusCode": 500, "OriginalMessage": "CUDA died", "Message": "Received server error"}
SLOW = MODEL_ERROR | {"OriginalStatusCode": 0, "OriginalMessage": "Your invocation timed out while waiting for a response"}
SPOILT = bytearray(message(TOKENS[1]))
SPOILT[-9] ^= 4


@pytest.mark.parametrize(
    ("pieces", "kind", "status", "match", "text"),
    [
        (failed(424, "ModelError", MODEL_ERROR), "model_error", 424, "the model answered 500: CUDA died", ""),
        (failed(424, "ModelError", SLOW), "timeout", 424, "the model answered 0: Your invocation timed out", ""),
        (failed(400, "ThrottlingException:http://x", {"message": "Rate exceeded"}), "throttled", 400, "Rate exceeded", ""),
        (failed(429, "ModelNotReadyException", {"Message": "loading"}), "not_ready", 429, "loading", ""),
        (failed(503, "ServiceUnavailable", {"Message": "busy"}), "not_ready", 503, "busy", ""),
        (failed(400, "ValidationError", {"Message": "no such"}), "validation", 400, "no such", ""),
        (failed(403, "InvalidSignatureException", {"message": "bad the-session-token"}), "unauthorized", 403, "bad ***", ""),
        (failed(400, "SomethingNew", {"message": "odd"}), "validation", 400, "odd", ""),
        (whole(500, b"oops"), "server", 500, "oops", ""),
        (streamed(message(TOKENS[0]), message(b'{"Message": "died"}', BROKEN)), "model_error", None, "Error: died", " a"),
        (streamed(message(TOKENS[0]), message(b'{"error": "out of memory"}\n')), "model_error", None, "out of memory", " a"),
        (streamed(message(TOKENS[0]), bytes(SPOILT), message(TOKENS[2])), "protocol", None, "damaged", " a"),
        (streamed(message(TOKENS[0]), message(TOKENS[1])[:-3]), "incomplete", None, "within a message", " a"),
        (streamed(message(TOKENS[0]), message(TOKENS[1])), "incomplete", 200, "ended early, after 2 tokens", " a b"),
        (streamed(message(TOKENS[0]), message(b"{oops\n")), "decode", None, "not JSON", " a"),
    ],
)  # fmt: skip
def test_failures_have_their_kind_and_what_came_before(pieces, kind, status, match, text):
    error, deltas, _, _ = answered(pieces)
    assert isinstance(error, InvokeError)
    assert (error.kind, error.status) == (kind, status)
    assert match in error.message
    assert "".join(delta.text for delta in deltas) == text


def test_parameters_go_out_in_the_containers_words():
    parameters = Parameters(
        max_new_tokens=9, temperature=0.1, top_k=5, do_sample=True, stop=["x"], truncate="at-prompt-token-length"
    )
    _, _, _, (_, _, lmi) = answered(LMI, parameters=parameters)
    assert json.loads(lmi) == {
        "inputs": "hi", "stream": True,
        "parameters": {
            "max_new_tokens": 9, "temperature": 0.1, "top_k": 5, "do_sample": True, "stop_sequences": ["x"], "truncate": 1,
        },
    }  # fmt: skip
    _, _, _, (_, _, tgi) = answered(LMI, parameters=parameters, dialect="tgi")
    assert json.loads(tgi)["parameters"] == {
        "max_new_tokens": 9, "temperature": 0.1, "top_k": 5, "do_sample": True, "stop": ["x"], "truncate": 1,
        "return_full_text": False, "details": True,
    }  # fmt: skip


def test_what_cannot_be_told_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"dialect: what e speaks cannot be told from the image 'mine': give tgi, lmi"):
        answered(LMI, image="mine")
    with pytest.raises(ConfigError, match="region: that of e is not known"):
        answered(LMI, facts={"region": None})
    chat = Prompt(id="c", messages=[{"role": "user", "content": "x"}])
    with pytest.raises(ConfigError, match=r'only dialect="openai" can send'):
        answered(LMI, prompt=chat)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(ConfigError, match="AWS credentials: there are none"):
        answered(LMI)


def test_the_region_may_stand_in_the_address():
    url = "https://runtime.sagemaker.eu-central-1.amazonaws.com/endpoints/e"
    assert _region_of(Endpoint(name="e", url=url)) == "eu-central-1"


def test_a_line_has_the_time_of_the_piece_that_completed_it_wherever_it_began():
    first, second, last = (token.strip() for token in TOKENS)  # the last line has no end
    messages = [
        message(first[:20]),
        message(first[20:] + b"\n" + second + b"\n"),
        message(b"\n"),
        message(last),
    ]  # no end of line
    reply, _, _, _ = answered(streamed(*messages))
    assert [(delta.piece, delta.text) for delta in reply.deltas] == [(1, " a"), (1, " b"), (3, "")]
    assert reply.text == " a b"


def test_the_token_that_ends_a_reply_is_no_text_of_it():
    end = b'data:{"token":{"text":"</s>","special":true},"generated_text":" a","details":{"finish_reason":"eos_token"}}\n\n'
    reply, _, _, _ = answered(streamed(message(b"data:" + TOKENS[0]), message(end)), dialect="tgi")
    assert (reply.text, reply.finish_reason) == (" a", "eos_token")
    assert [delta.tokens for delta in reply.deltas] == [1, 1]


def test_a_reply_that_ends_with_an_error_is_a_failure():
    end = b'{"token":{"id":-1,"text":""},"generated_text":" a","details":{"finish_reason":"error"}}\n'
    error, deltas, _, _ = answered(streamed(message(TOKENS[0]), message(end)))
    assert (error.kind, [delta.text for delta in deltas]) == ("model_error", [" a"])


def test_credentials_are_renewed_while_it_measures(monkeypatch):
    async def main():
        server = Server(LMI)
        async with server.up() as url:
            endpoint = Endpoint(name="e", url=url, facts={"region": "us-west-2"})
            async with SageMaker(dialect="lmi").connect(endpoint, concurrency=1) as session:
                request = session.encode(HELLO, Parameters())
                found = [Frozen("first"), RuntimeError("no network"), *[Frozen("second")] * 1000]
                chain = _Chain("us-west-2")
                chain._found = Found(iter(found))
                monkeypatch.setattr("fmbench.invokers.sagemaker.REFRESH_SECONDS", 0.01)
                renewing = asyncio.create_task(_renew(session._signer, chain))
                while session._signer.credentials.access_key != "second":  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0.005)
                renewing.cancel()
                await session.send(request, Exchange("x", time.perf_counter_ns))
        return server.requests[-1][1]["Authorization"]

    assert "Credential=second/" in asyncio.run(main())


class Frozen:
    def __init__(self, name):
        self.access_key, self.secret_key, self.token = name, "a-secret", None


class Found:
    def __init__(self, found):
        self._found = found

    def get_frozen_credentials(self):
        one = next(self._found)
        if isinstance(one, Exception):
            raise one
        return one


def test_replies_of_lmis_older_handlers_are_whole_where_the_stream_is():
    decoder = GeneratedDecoder(Failures(), counts=False)
    for piece in (b'data: {"outputs":[" a"]}\n\n', b'data: {"outputs":[" b"]}\n\n'):
        decoder.feed(piece)
    completion = decoder.close(Head(200, {}))
    assert completion.text == " a b"
    with pytest.raises(InvokeError, match="ended early"):
        GeneratedDecoder(Failures(), counts=False).close(Head(200, {}))
