"""Invocations through the real boto3: dialects, errors, streams and the truth behind them."""

import json
import socket

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.eventstream import ChecksumMismatch
from botocore.exceptions import ClientError, EventStreamError
from urllib3.exceptions import ProtocolError

from fmbench.simulator import read_truth
from fmbench.simulator.aws import OfflineAWS

TGI = "763104351884.dkr.ecr.us-east-1.amazonaws.com/huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6-gpu"
LMI = "763104351884.dkr.ecr.us-east-1.amazonaws.com/djl-inference:0.38.0-lmi29.0.0-cu130"
VLLM = "763104351884.dkr.ecr.us-east-1.amazonaws.com/vllm:0.30.0-gpu-py312-cu130-ubuntu24.04-sagemaker"
INPUTS = {"inputs": "one two three", "parameters": {"max_new_tokens": 6, "details": True}}
MESSAGES = {"messages": [{"role": "user", "content": "one two three"}], "max_tokens": 6}


@pytest.fixture
def up(deployed):
    def up(**given):
        one = deployed(**given)
        one.create()
        one.settled()
        return one.name

    return up


@pytest.fixture
def invoke(client):
    runtime = client("sagemaker-runtime")

    def invoke(name, body, **given):
        reply = runtime.invoke_endpoint(EndpointName=name, ContentType="application/json", Body=json.dumps(body), **given)
        return json.loads(reply["Body"].read())

    return invoke


@pytest.fixture
def stream(client):
    runtime, bodies = client("sagemaker-runtime"), []

    def stream(name, body, **given):
        """The reply's head, and its parts; ``parts`` may fail on the way, after what came before."""
        body = json.dumps({**body, "stream": True})
        reply = runtime.invoke_endpoint_with_response_stream(EndpointName=name, Body=body, **given)
        bodies.append(reply["Body"])
        return reply, (event["PayloadPart"]["Bytes"] for event in reply["Body"])

    yield stream
    for one in bodies:
        one.close()


def lines(parts):
    whole = [line for line in b"".join(parts).split(b"\n") if line]
    return [json.loads(line.removeprefix(b"data:")) for line in whole if line != b"data: [DONE]"]


def error_of(call, *given, **named):
    with pytest.raises(ClientError) as refused:
        call(*given, **named)
    return refused.value.response


def test_tgis_words(up, invoke, stream):
    name = up(image=TGI)
    [told] = invoke(name, {**INPUTS, "parameters": {**INPUTS["parameters"], "return_full_text": False}})
    assert told["generated_text"] == "word " * 6
    assert told["details"]["generated_tokens"] == 6
    [echoed] = invoke(name, {"inputs": "one two three", "parameters": {"max_new_tokens": 1}})
    assert echoed == {"generated_text": "one two threeword "}
    reply, parts = stream(name, INPUTS)
    assert reply["ContentType"] == "text/event-stream"
    told = lines(parts)
    assert [one["token"]["text"] for one in told] == [*["word "] * 6, ""]
    assert told[-1]["generated_text"] == "word " * 6
    assert told[-1]["details"] == {"finish_reason": "length", "generated_tokens": 6, "seed": None}


def test_lmis_words(up, invoke, stream):
    name = up(image=LMI)
    assert invoke(name, {"inputs": "one two"}) == {"generated_text": "word " * 30}  # its default
    reply, parts = stream(name, INPUTS)
    assert reply["ContentType"] == "application/jsonlines"
    told = lines(parts)
    assert len(told) == 7
    assert told[-1]["details"]["generated_tokens"] == 7  # its defect
    compatible = up(image=LMI, environment={"OPTION_TGI_COMPAT": "true"})
    assert isinstance(invoke(compatible, INPUTS), list)


@pytest.mark.parametrize(("image", "prefix"), [(VLLM, b"data: {"), (LMI, b"{")])
def test_openais_words(up, invoke, stream, image, prefix):
    name = up(image=image)
    assert invoke(name, MESSAGES)["usage"] == {"prompt_tokens": 3, "completion_tokens": 6, "total_tokens": 9}
    _, parts = stream(name, {**MESSAGES, "stream_options": {"include_usage": True}})
    raw = list(parts)
    assert all(part.startswith(prefix) for part in raw)
    assert (b"[DONE]" in b"".join(raw)) is (image == VLLM)
    told = lines(raw)
    assert told[-1]["usage"]["completion_tokens"] == 6
    assert "".join(one["choices"][0]["delta"].get("content", "") for one in told[:-1]) == "word " * 6


def test_a_stream_that_the_body_does_not_ask_for_is_one_part(up, client):
    name = up()
    runtime = client("sagemaker-runtime")
    reply = runtime.invoke_endpoint_with_response_stream(EndpointName=name, Body=json.dumps(INPUTS))
    [part] = [event["PayloadPart"]["Bytes"] for event in reply["Body"]]
    assert json.loads(part)["generated_text"] == "word " * 6
    whole = runtime.invoke_endpoint(EndpointName=name, Body=json.dumps({**INPUTS, "stream": True}))["Body"].read()
    assert len(lines([whole])) == 7


def test_headers_come_back(up, stream):
    reply, parts = stream(up(), INPUTS, CustomAttributes="mine=1", InferenceId="id-1")
    assert (reply["InvokedProductionVariant"], reply["CustomAttributes"]) == ("AllTraffic", "mine=1")
    list(parts)


def test_an_endpoint_that_is_not_in_service_is_not_found(aws, deployed, invoke):
    told = error_of(invoke, "nobody", INPUTS)
    assert told["Error"] == {"Code": "ValidationError", "Message": "Endpoint nobody of account 000000000000 not found."}
    one = deployed()
    aws.fault("stuck", name=one.name)
    one.create()
    assert error_of(invoke, one.name, INPUTS)["Error"]["Code"] == "ValidationError"


WRONG = [
    ("nonsense", 400, "not a JSON object"),
    ({"nothing": 1}, 400, "has none of inputs, messages, prompt"),
    ({"inputs": "x", "parameters": {"max_new_tokens": 0}}, 400, "strictly positive"),
    ({"inputs": "x " * 30, "parameters": {"max_new_tokens": 30}}, 422, "must be <= 50"),
]


@pytest.mark.parametrize(("body", "status", "said"), WRONG)
def test_what_a_container_refuses_is_a_model_error(up, invoke, body, status, said):
    told = error_of(invoke, up(environment={"OPTION_N_POSITIONS": "50"}), body)
    assert told["Error"]["Code"] == "ModelError"
    assert told["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert told["OriginalStatusCode"] == status
    assert said in told["OriginalMessage"]
    assert told["LogStreamArn"].startswith("arn:aws:logs:us-east-1:000000000000:log-group:/aws/sagemaker/Endpoints/test-")


def test_a_body_that_is_too_long_is_refused(up, invoke):
    body = {"inputs": "x" * 6_291_456}
    assert error_of(invoke, up(), body)["Error"]["Code"] == "ValidationError"


AT_ONCE = {
    "500": ("ModelError", 424),
    "429": ("ThrottlingException", 400),
    "503": ("ServiceUnavailable", 503),
    "not_ready": ("ModelNotReadyException", 429),
}


@pytest.mark.parametrize("kind", AT_ONCE)
def test_faults_that_are_a_status(aws, up, invoke, stream, kind):
    name = up()
    aws.fault(kind, name=name, times=2)
    for call in (invoke, stream):
        told = error_of(call, name, INPUTS)
        assert (told["Error"]["Code"], told["ResponseMetadata"]["HTTPStatusCode"]) == AT_ONCE[kind]
    invoke(name, INPUTS)


def test_a_request_can_ask_for_its_own_fault(client, up):
    runtime, name = client("sagemaker-runtime"), up()
    wanted = []
    runtime.meta.events.register(
        "before-sign", lambda request, **_: wanted and request.headers.add_header("X-Fmbench-Fault", wanted.pop()), "asks"
    )
    try:
        for fault, code in (("503", "ServiceUnavailable"), ("nonsense", "ValidationError")):
            wanted.append(fault)
            told = error_of(runtime.invoke_endpoint, EndpointName=name, Body=json.dumps(INPUTS))
            assert told["Error"]["Code"] == code
        wanted.append("none")
        runtime.invoke_endpoint(EndpointName=name, Body=json.dumps(INPUTS))["Body"].read()
    finally:
        runtime.meta.events.unregister("before-sign", unique_id="asks")


BROKEN = {
    "error_event": (EventStreamError, "ModelStreamError"),
    "internal_stream": (EventStreamError, "InternalStreamFailure"),
    "flip": (ChecksumMismatch, "Checksum mismatch"),
    "reset": (ProtocolError, "Connection broken"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_faults_in_the_middle_of_a_stream_come_after_what_was_good(aws, up, stream, kind):
    name = up()
    aws.fault(kind, name=name)
    _, parts = stream(name, INPUTS)
    raised, said = BROKEN[kind]
    good = []
    with pytest.raises(raised, match=said):
        good.extend(parts)
    assert len(lines(good)) == 3


def test_a_container_may_say_that_it_failed_after_the_status_200(aws, up, stream):
    name = up()
    aws.fault("error_line", name=name)
    told = lines(stream(name, INPUTS)[1])
    assert len(told) == 4
    assert told[-1]["details"]["finish_reason"] == "error"
    openai = up(image=VLLM)
    aws.fault("error_line", name=openai)
    assert "error" in lines(stream(openai, MESSAGES)[1])[-1]


@pytest.mark.parametrize("kind", ["cut", "split"])
def test_a_reply_in_pieces_is_the_same_reply(aws, up, stream, kind):
    name = up()
    whole = list(stream(name, INPUTS)[1])
    aws.fault(kind, name=name)
    pieces = list(stream(name, INPUTS)[1])
    assert b"".join(pieces) == b"".join(whole)
    assert max(map(len, pieces)) == (7 if kind == "cut" else max(map(len, whole)))
    assert list(stream(name, INPUTS)[1]) == whole  # and on the same connection the next one is whole again


def reads(aws, name, tokens):
    """What each read of a reply's connection brought."""
    body = json.dumps({"inputs": "x", "stream": True, "parameters": {"max_new_tokens": tokens}}).encode()
    request = AWSRequest("POST", f"{aws.url}/endpoints/{name}/invocations-response-stream", data=body)
    SigV4Auth(Credentials(aws.options.access_key, aws.options.secret_key), "sagemaker", "us-east-1").add_auth(request)
    ready = request.prepare()
    head = "".join(f"{key}: {value}\r\n" for key, value in ready.headers.items() if key != "Content-Length")
    host, port = aws.url.removeprefix("http://").split(":")
    where = f"POST /endpoints/{name}/invocations-response-stream HTTP/1.1\r\nHost: {host}:{port}\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as sock:
        sock.sendall(f"{where}{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        brought = [sock.recv(1 << 20)]
        while not brought[-1].endswith(b"0\r\n\r\n"):
            brought.append(sock.recv(1 << 20))
    return brought


def test_a_split_reply_comes_apart_within_its_frames(aws, up):
    name = up()
    assert all(one.endswith(b"\r\n") for one in reads(aws, name, 100))
    aws.fault("split", name=name)
    assert [one for one in reads(aws, name, 100) if not one.endswith(b"\r\n")]


def test_the_truth_is_written_down_and_instance_types_differ(tmp_path, client, deployed):
    """Here the module's server would share its log with every other test, so this has one of its own."""
    with OfflineAWS(create_seconds=0, speed=20, log=tmp_path / "truth.jsonl", invoke_limit_seconds=0.2) as aws:
        told = {"endpoint_url": aws.url}
        runtime = client("sagemaker-runtime", **told)
        for kind in ("ml.g5.2xlarge", "ml.p4d.24xlarge"):
            one = type(deployed())(client(**told), instance_type=kind)
            one.create()
            body = json.dumps({**INPUTS, "stream": True})
            reply = runtime.invoke_endpoint_with_response_stream(EndpointName=one.name, Body=body, InferenceId=kind)
            list(reply["Body"])
        slow = json.dumps({"inputs": "x", "parameters": {"max_new_tokens": 10_000}})
        refused = error_of(runtime.invoke_endpoint, EndpointName=one.name, Body=slow)
    assert refused["Error"]["Code"] == "ModelError"
    assert "timed out" in refused["OriginalMessage"]
    truth = read_truth(tmp_path / "truth.jsonl")
    took = {kind: one.planned_ns[-1] - one.received_ns for kind, one in truth.items()}
    assert len(truth["ml.g5.2xlarge"].sent_ns) == 6
    assert took["ml.g5.2xlarge"] > 2 * took["ml.p4d.24xlarge"]
