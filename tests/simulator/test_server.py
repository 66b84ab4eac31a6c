"""The simulated server over real sockets: its protocols, its faults, its log."""

import json
import struct
import zlib
from statistics import fmean

import anyio
import pytest

from fmbench import Benchmark, Concurrency, ConfigError, InvokeError, Parameters, Prompt
from fmbench.deployers import ExistingEndpoint, Simulator
from fmbench.invokers import OpenAI
from fmbench.recording import read_table
from fmbench.simulator import FAULT_HEADER, Batching, Faults, Fixed, Queueing, read_truth, simulate
from fmbench.wire import connect

QUICK = Fixed(ttft_seconds=0.002, itl_seconds=0.0005)
PROMPTS = [Prompt(id=f"p{n}", text=f"what is the number of all {n}") for n in range(40)]


def run(folder, deployer, load, *, invoker=None, tokens=6, prompts=PROMPTS, **options):
    benchmark = Benchmark(
        deployers=deployer, prompts=prompts, loads=load, invoker=invoker, parameters=Parameters(max_new_tokens=tokens),
        warmup=0, **options,
    )  # fmt: skip
    result = benchmark.run(folder)
    return result, read_table(folder).to_pylist()


def fetch(url, path, body, method="POST"):
    async def main():
        async with connect(url, connections=0) as client:
            return await client.fetch(method, path, body=body if isinstance(body, bytes) else json.dumps(body).encode())

    return anyio.run(main)


def events(body):
    return [line.partition(b":")[2].strip() for line in body.split(b"\n\n") if line]


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("api", ["chat", "completions"])
def test_openais_protocols(serving, tmp_path, api, stream):
    with serving(service=QUICK) as server:
        invoker = OpenAI(api=api, stream=stream)
        _, records = run(tmp_path / "r", ExistingEndpoint(server.url), Concurrency(4, requests=40), invoker=invoker)
        truth = server.end()
    assert [record["status"] for record in records] == ["ok"] * 40
    assert set(truth) == {record["id"] for record in records}
    for record in records:
        true = truth[record["id"]]
        assert record["completion"] == "word " * 6
        assert (record["prompt_tokens"], record["completion_tokens"]) == (7, 6) == (true.prompt_tokens, true.output_tokens)
        assert record["prompt_tokens_source"] == record["completion_tokens_source"] == "server"
        assert record["finish_reason"] == "length"
        assert record["streamed"] is stream is true.streamed
        assert len(record["arrivals_ns"]) == len(true.sent_ns) == len(true.planned_ns) == (6 if stream else 1)
        assert true.ended == "whole"


def test_the_log_holds_what_happened_and_the_record_comes_after_it(serving, tmp_path):
    with serving(service=QUICK) as server:
        _, records = run(tmp_path / "r", ExistingEndpoint(server.url), Concurrency(8, requests=80), tokens=16, invoker=OpenAI())
        truth = server.end()
    for record in records:
        true = truth[record["id"]]
        assert list(true.planned_ns) == [true.received_ns + 2_000_000 + n * 500_000 for n in range(16)]
        assert all(sent >= planned for sent, planned in zip(true.sent_ns, true.planned_ns, strict=True))
        # From the client's sending to each arrival at least as long as from the server's receiving to each sending; a little
        # less may be the clocks' mapping.
        for arrived, sent in zip(record["arrivals_ns"], true.sent_ns, strict=True):
            assert arrived - record["sent_ns"] > sent - true.received_ns - 50_000


def test_tgi(serving):
    asked = {"inputs": "one two three", "parameters": {"max_new_tokens": 3}}
    with serving(service=QUICK) as server:
        _, whole = fetch(server.url, "/generate", asked)
        head, streamed = fetch(server.url, "/generate_stream", asked)
        _, listed = fetch(server.url, "/", asked)
    whole = json.loads(whole)
    assert whole["generated_text"] == "word word word "
    assert whole["details"]["generated_tokens"] == 3
    assert json.loads(listed) == [whole]
    assert head.headers["content-type"] == "text/event-stream"
    told = [json.loads(event) for event in events(streamed)]
    assert [event["token"]["text"] for event in told] == ["word ", "word ", "word ", ""]
    assert [event["generated_text"] for event in told] == [None, None, None, "word word word "]
    assert told[-1]["details"]["finish_reason"] == "length"


def frames(body):
    """Taken apart by the format's own description, each CRC checked."""
    found = []
    while body:
        total, headers_length, crc = struct.unpack(">III", body[:12])
        assert crc == zlib.crc32(body[:8])
        assert struct.unpack(">I", body[total - 4 : total])[0] == zlib.crc32(body[: total - 4])
        headers, rest = {}, body[12 : 12 + headers_length]
        while rest:
            name, rest = rest[1 : 1 + rest[0]].decode(), rest[1 + rest[0] :]
            kind, length = struct.unpack(">BH", rest[:3])
            assert kind == 7
            headers[name], rest = rest[3 : 3 + length].decode(), rest[3 + length :]
        found.append((headers, body[12 + headers_length : total - 4]))
        body = body[total:]
    return found


@pytest.mark.parametrize(
    ("body", "read"),
    [
        ({"inputs": "one two", "parameters": {"max_new_tokens": 3}}, lambda told: told["token"]["text"]),
        ({"messages": [{"role": "user", "content": "one two"}], "max_tokens": 3}, lambda told: told["choices"][0]["delta"]),
        ({"prompt": "one two", "max_tokens": 3}, lambda told: told["choices"][0]["text"]),
    ],
)
def test_sagemakers_runtime(serving, body, read):
    with serving(service=QUICK) as server:
        _, whole = fetch(server.url, "/endpoints/some/invocations", body)
        head, streamed = fetch(server.url, "/endpoints/some/invocations-response-stream", body)
    assert b"word word word " in whole
    assert head.headers["content-type"] == "application/vnd.amazon.eventstream"
    assert head.headers["x-amzn-sagemaker-content-type"] == "text/event-stream"
    parts = frames(streamed)
    assert {(headers[":message-type"], headers[":event-type"]) for headers, _ in parts} == {("event", "PayloadPart")}
    told = [json.loads(event) for event in events(b"".join(payload for _, payload in parts)) if event != b"[DONE]"]
    assert [read(event) for event in told].count(read(told[1])) == 3


def test_sagemakers_errors_are_as_aws_tells_them(serving):
    with serving(faults=Faults(rates={"500": 1.0})) as server:
        head, body = fetch(server.url, "/endpoints/some/invocations", {"inputs": "x"})
        assert (head.status, head.headers["x-amzn-errortype"]) == (424, "ModelError")
        assert json.loads(body)["OriginalStatusCode"] == 500
        head, _ = fetch(server.url, "/endpoints/some/invocations", {"nothing": "x"})
        assert (head.status, head.headers["x-amzn-errortype"]) == (400, "ValidationError")
    with serving(faults=Faults(rates={"error_event": 1.0}), service=QUICK) as server:
        _, body = fetch(server.url, "/endpoints/some/invocations-response-stream", {"inputs": "x"})
        headers, _ = frames(body)[-1]
        assert (headers[":message-type"], headers[":exception-type"]) == ("exception", "ModelStreamError")


def test_the_model_ends_by_itself_unless_told_to_ignore_that(serving):
    with serving(service=QUICK, reply_tokens=5) as server:
        for extra, count, reason in [({}, 5, "stop"), ({"max_tokens": 3}, 3, "length"), ({"max_tokens": 9}, 5, "stop"),
                                     ({"max_tokens": 9, "ignore_eos": True}, 9, "length")]:  # fmt: skip
            _, body = fetch(server.url, "/v1/completions", {"prompt": "x", **extra})
            told = json.loads(body)
            assert (told["usage"]["completion_tokens"], told["choices"][0]["finish_reason"]) == (count, reason)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("GET", "/v1/completions", b"", 405, "takes POST, not GET"),
        ("POST", "/v2/none", b"{}", 404, "there is no /v2/none here"),
        ("POST", "/v1/completions", b"{oops", 400, "the body is not JSON"),
        ("POST", "/v1/completions", b'{"prompt": "a", "max_tokens": "abc"}', 400, "max_tokens must be a whole number"),
        ("POST", "/v1/completions", b"[]", 400, "the body is not a JSON object"),
        ("POST", "/v1/completions", b'{"prompt": "x", "max_tokens": 900}', 400, "1 + 900 tokens are more than the 800"),
    ],
)
def test_what_it_cannot_do_is_said(serving, method, path, body, status, message):
    with serving(service=Batching(kv_tokens=800)) as server:
        head, told = fetch(server.url, path, body, method)
        assert head.status == status
        assert message in told.decode()
        assert fetch(server.url, "/health", b"", "GET")[0].status == 200


# Faults.

KINDS = {
    "500": ("error", "server", 500),
    "429": ("error", "throttled", 429),
    "503": ("error", "not_ready", 503),
    "reset": ("error", "reset", 200),
    "stall": ("timeout", "timeout", 200),
    "malformed": ("error", "decode", 200),
    "error_event": ("error", "model_error", 200),
    "slow": ("ok", None, 200),
}


@pytest.mark.parametrize("fault", KINDS)
def test_every_fault_is_one_record_of_the_right_kind(serving, tmp_path, fault):
    with serving(service=QUICK, faults=Faults(rates={fault: 0.5}, seed=3)) as server:
        _, records = run(
            tmp_path / "r", ExistingEndpoint(server.url), Concurrency(4, requests=24), invoker=OpenAI(),
            request_timeout_seconds=2.0 if fault == "stall" else 60.0,
        )  # fmt: skip
        truth = server.end()
    assert len(records) == len(truth) == 24
    hit = {identifier for identifier, true in truth.items() if true.fault == fault}
    assert 4 <= len(hit) <= 20
    for record in records:
        found = record["status"], record["error_kind"], record["http_status"]
        assert found == (KINDS[fault] if record["id"] in hit else ("ok", None, 200))
        true = truth[record["id"]]
        assert len(record["arrivals_ns"]) == len(true.sent_ns)
        if record["id"] in hit and fault == "slow":
            assert all(sent >= planned + 990_000_000 for sent, planned in zip(true.sent_ns, true.planned_ns, strict=True))
        elif record["id"] in hit:
            assert len(true.sent_ns) == (0 if fault in {"500", "429", "503"} else 3)
            assert true.ended == ("client" if fault == "stall" else "fault")


@pytest.mark.parametrize("fault", ["reset", "malformed", "error_event", "500"])
def test_a_fault_can_be_asked_for_by_a_header_and_hits_whole_replies_too(serving, tmp_path, fault):
    with serving(service=QUICK, faults=Faults(rates={"429": 1.0})) as server:
        invoker = OpenAI(headers={FAULT_HEADER: fault}, stream=False)
        _, records = run(tmp_path / "r", ExistingEndpoint(server.url), Concurrency(1, requests=1), invoker=invoker)
        invoker = OpenAI(headers={FAULT_HEADER: "none"})
        _, fine = run(tmp_path / "fine", ExistingEndpoint(server.url), Concurrency(1, requests=1), invoker=invoker)
    kind = KINDS[fault]
    assert [(record["status"], record["error_kind"]) for record in records] == [kind[:2]]
    assert [record["status"] for record in fine] == ["ok"]


def test_faults_are_drawn_from_their_seed():
    faults = Faults(rates={"500": 0.1, "reset": 0.2}, seed=1)
    drawn = [faults.of(number, None) for number in range(4000)]
    assert drawn == [faults.of(number, None) for number in range(4000)]
    assert drawn.count("500") == pytest.approx(400, abs=80)
    assert drawn.count("reset") == pytest.approx(800, abs=100)
    assert drawn != [Faults(rates={"500": 0.1, "reset": 0.2}, seed=2).of(number, None) for number in range(4000)]
    assert Faults.parse("500=0.1, reset=0.2", seed=1) == faults
    for text, message in [("odd=1", "there is no 'odd'"), ("500=2", "between 0 and 1"), ("500", "is not KIND=RATE"),
                          ("500=0.6,503=0.6", "1 at most")]:  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            Faults.parse(text)


# The model.


def test_who_leaves_makes_room(serving):
    slow = Queueing(service_seconds=30, service="deterministic")
    with serving(service=slow) as server:

        async def main():
            async with connect(server.url, connections=0) as client:
                body = b'{"prompt": "x", "max_tokens": 2}'
                with pytest.raises(InvokeError):
                    await client.fetch("POST", "/v1/completions", body=body, timeout_seconds=0.5)
                head, _ = await client.fetch("GET", "/health")
                assert head.status == 200

        anyio.run(main)
        truth = server.end()
    assert {true.ended for true in truth.values()} == {"client"}
    assert {tuple(true.sent_ns) for true in truth.values()} == {()}


def test_http_and_the_pure_model_agree(tmp_path):
    """Closed load, so that the arrivals are the model's own doing; compared by the server's log, not by our clock."""
    model = Batching(prefill_tokens_per_second=2000, decode_seconds=0.004, decode_seconds_per_sequence=0.001, batch_limit=4)
    prompts = [Prompt(id=f"p{n}", text="x " * (5 + n % 7), max_new_tokens=5 + n % 11) for n in range(50)]
    run(tmp_path / "r", Simulator(service=model), Concurrency(6, requests=150), prompts=prompts)
    truth = read_truth(tmp_path / "r" / "logs" / "simulator.truth.jsonl")
    told = simulate(model, Concurrency(6, requests=150), prompts, warmup=0)
    assert {true.prompt_tokens for true in truth.values()} == {record.prompt_tokens for record in told.records}
    true = [(true.planned_ns[-1] - true.received_ns) / 1e6 for true in truth.values()]
    model_says = [(record.last_token_ns - record.sent_ns) / 1e6 for record in told.records]
    assert len(true) == len(model_says) == 150
    assert fmean(true) == pytest.approx(fmean(model_says), rel=0.1)
    first = [(true.planned_ns[0] - true.received_ns) / 1e6 for true in truth.values()]
    assert fmean(first) == pytest.approx(fmean((r.first_token_ns - r.sent_ns) / 1e6 for r in told.records), rel=0.2)


def test_what_comes_from_it_is_labelled(tmp_path):
    deployer = Simulator(service={"fixed": {"ttft_seconds": 0.001, "itl_seconds": 0.001}}, usd_per_hour=2.0,
                         instance_type="ml.g5.xlarge")  # fmt: skip
    result, records = run(tmp_path / "r", deployer, Concurrency(2, requests=10), reporters=["html"])
    assert result.simulated
    assert "simulated" in repr(result)
    assert "(simulated)" in (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    assert {record["model_returned"] for record in records} == {"simulated"}
    facts = deployer.describe()
    assert facts["simulated"] is True
    assert facts["service"] == {"fixed": {"ttft_seconds": 0.001, "itl_seconds": 0.001}}
    assert (facts["usd_per_hour"], facts["instance_type"]) == (2.0, "ml.g5.xlarge")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"service": "odd"}, "service must be one of batching, fixed, queueing"),
        ({"service": {"fixed": {"odd": 1}}}, "fixed has no 'odd'"),
        ({"service": "queueing"}, "Simulator: service: queueing needs service_seconds"),
        ({"core": 4096}, "there is no processor 4096"),
        ({"service": {"batching": {"batch_limit": 0}}}, "batch_limit must be a whole number of 1 or more"),
        ({"faults": {"odd": 0.1}}, "there is no 'odd'"),
    ],
)
def test_a_wrong_option_is_one_line(options, message):
    with pytest.raises((ConfigError, ValueError), match=message):
        Simulator(**options)
