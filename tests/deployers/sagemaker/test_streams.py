"""Replies in odd pieces, and replies that go wrong, in whole runs against the offline AWS: right kind, right times."""

import asyncio
import time

import boto3
import pandas as pd
import pytest

from fmbench import Benchmark, Concurrency, Parameters, Prompt, Run
from fmbench.deployers import SageMakerEndpoint, SageMakerGPU
from fmbench.deployers.sagemaker import delete_deployment

ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"
PROMPTS = [Prompt(id=f"p{number}", text=f"Tell me about {number} things, please.", tokens=8) for number in range(8)]
TOKENS = 12


@pytest.fixture(scope="module")
def endpoint(shared_aws, tmp_path_factory):
    """One that stands for the whole module."""
    directory = tmp_path_factory.mktemp("standing")

    async def make():
        deployer = SageMakerGPU(
            model_id="meta-llama/Llama-2-7b-hf", instance_type="ml.g5.12xlarge", role=ROLE, keep=True, endpoint_name="standing"
        )
        async with deployer.deploy(Run(name="t", directory=directory, tags={"fmbench:run": "standing"})):
            pass

    with pytest.MonkeyPatch.context() as patch:
        for name, value in shared_aws.environment.items():
            patch.setenv(name, value)
        asyncio.run(make())
        yield "standing"
        asyncio.run(delete_deployment({"service": "sagemaker", "region": "us-east-1", "name": "standing", "run": "standing"}))


def records_of(directory, deployer, **given):
    result = Benchmark(
        deployers=deployer, prompts=PROMPTS, loads=Concurrency(1, requests=8), warmup=0,
        parameters=Parameters(max_new_tokens=TOKENS), **given,
    ).run(directory)  # fmt: skip
    return result.read_records(arrivals=True)


@pytest.mark.parametrize("fault", ["cut", "split"])
def test_pieces_of_any_size_change_neither_text_nor_times(aws, endpoint, tmp_path, fault):
    plain = records_of(tmp_path / "plain", SageMakerEndpoint(endpoint))
    aws.fault(fault, times=None)
    records = records_of(tmp_path / "run", SageMakerEndpoint(endpoint))
    assert set(records.status) == {"ok"}
    assert list(records.completion) == list(plain.completion)
    assert set(records.clock) == {"kernel"}
    for one in records.itertuples():
        assert one.sent_ns < one.first_byte_ns <= one.last_token_ns <= one.end_ns
        assert list(one.arrivals_ns) == sorted(one.arrivals_ns)
        assert len(one.arrivals_ns) == len(plain.arrivals_ns[0])


@pytest.mark.parametrize(
    ("fault", "kind", "partial"),
    [
        ("flip", "protocol", True),
        ("internal_stream", "server", True),
        ("error_event", "model_error", True),
        ("error_line", "model_error", True),
        ("malformed", "decode", True),
        ("reset", "reset", True),
        ("500", "model_error", False),
        ("429", "throttled", False),
        ("503", "not_ready", False),
        ("not_ready", "not_ready", False),
    ],
)
def test_one_reply_that_goes_wrong_has_its_kind_and_times_and_the_run_goes_on(aws, endpoint, tmp_path, fault, kind, partial):
    aws.fault(fault)
    records = records_of(tmp_path / "run", SageMakerEndpoint(endpoint))
    bad = records[records.status == "error"]
    assert (len(records), len(bad)) == (8, 1)
    one = bad.iloc[0]
    assert one.error_kind == kind, one.error_message
    assert one.sent_ns < one.end_ns
    assert one.sign_ns > 0
    assert (pd.notna(one.completion) and one.completion != "") == partial
    assert bool(one.first_byte_ns > one.sent_ns)
    assert len(one.arrivals_ns) < TOKENS + 1
    assert (len(one.arrivals_ns) > 0) == partial


def test_a_reply_that_never_ends_is_a_timeout(aws, endpoint, tmp_path):
    aws.fault("stall")
    records = records_of(tmp_path / "run", SageMakerEndpoint(endpoint), request_timeout_seconds=1.5)
    assert sorted(records.status) == ["ok"] * 7 + ["timeout"]
    [one] = records[records.status == "timeout"].itertuples()
    assert one.completion


def test_an_inference_component_is_measured_by_its_own_name(aws, tmp_path):
    client = boto3.client("sagemaker")
    container = {
        "Image": "763104351884.dkr.ecr.us-east-1.amazonaws.com/djl-inference:0.38.0-lmi29.0.0-cu130",
        "Environment": {"HF_MODEL_ID": "meta-llama/Llama-2-7b-hf"},
    }
    variant = {"VariantName": "AllTraffic", "InstanceType": "ml.g5.12xlarge", "InitialInstanceCount": 1}
    client.create_endpoint_config(EndpointConfigName="shared", ExecutionRoleArn=ROLE, ProductionVariants=[variant])
    client.create_endpoint(EndpointName="shared", EndpointConfigName="shared")
    client.get_waiter("endpoint_in_service").wait(EndpointName="shared", WaiterConfig={"Delay": 1})
    requirements = {"NumberOfAcceleratorDevicesRequired": 1, "MinMemoryRequiredInMb": 1024}
    client.create_inference_component(
        InferenceComponentName="llama", EndpointName="shared", VariantName="AllTraffic", RuntimeConfig={"CopyCount": 1},
        Specification={"Container": container, "ComputeResourceRequirements": requirements},
    )  # fmt: skip
    client.get_waiter("endpoint_in_service").wait(EndpointName="shared", WaiterConfig={"Delay": 1})
    while client.describe_inference_component(InferenceComponentName="llama")["InferenceComponentStatus"] != "InService":
        time.sleep(0.02)
    try:
        records = records_of(tmp_path / "run", SageMakerEndpoint("shared", inference_component="llama"))
        assert set(records.status) == {"ok"}, records.error_message.unique()
        there = {one["name"] for one in aws.resources()}
        assert {"shared", "llama"} <= there
    finally:
        client.delete_inference_component(InferenceComponentName="llama")
        while aws.resources("inference-component"):
            time.sleep(0.02)
        client.delete_endpoint(EndpointName="shared")
        client.delete_endpoint_config(EndpointConfigName="shared")
        client.close()
