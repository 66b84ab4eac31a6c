"""An offline AWS for a whole module, mended before each test, and the real boto3 pointed at it."""

import itertools
import time

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.validate import ParamValidator

from fmbench.simulator.aws import OfflineAWS

ROLE = "arn:aws:iam::000000000000:role/made-up"
LMI = "763104351884.dkr.ecr.us-east-1.amazonaws.com/djl-inference:0.38.0-lmi29.0.0-cu130"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def shared():
    quotas = {"quota": 1000, "quotas": {"ml.p5.48xlarge": 0}}
    with OfflineAWS(create_seconds=0.05, delete_seconds=0.05, page_size=3, speed=50, **quotas) as aws:
        yield aws


@pytest.fixture
def aws(shared):
    shared.mend()
    return shared


def client_of(aws, service, **given):
    """A real client, by the variables' values alone: the process's environment stays as it is."""
    told = aws.environment
    keys = {
        "region_name": told["AWS_REGION"],
        "aws_access_key_id": told["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": told["AWS_SECRET_ACCESS_KEY"],
        "config": Config(retries={"total_max_attempts": 1}, read_timeout=10),
    }
    keys["endpoint_url"] = told["AWS_ENDPOINT_URL"]
    client = boto3.session.Session().client(service, **{**keys, **given})
    client.meta.events.register("after-call", is_as_modelled)
    return client


def is_as_modelled(http_response, parsed, model, **rest):
    """Every answer that any test gets has what AWS's own description of the service says it has."""
    shape, body = model.output_shape, model.has_streaming_output or model.has_event_stream_output
    if http_response.status_code < 300 and shape is not None and not body:
        told = {key: value for key, value in parsed.items() if key != "ResponseMetadata"}
        report = ParamValidator().validate(told, shape)
        assert not report.has_errors(), f"{model.name}: {report.generate_report()}"


@pytest.fixture(scope="module")
def clients(shared):
    """Made once, for boto3 takes its time."""
    clients = {}
    yield clients
    for one in clients.values():
        one.close()


@pytest.fixture
def client(aws, clients):
    def client(service="sagemaker", **given):
        kind = (service, *sorted(given.items()))
        if kind not in clients:
            clients[kind] = client_of(aws, service, **given)
        return clients[kind]

    return client


class Deployed:
    """An endpoint of three calls."""

    def __init__(self, control, instance_type="ml.g5.12xlarge", image=LMI, environment=None, **variant):
        self.control = control
        self.name = f"test-{next(_numbers)}"
        container = {"Image": image, "Environment": {"HF_MODEL_ID": "made-up/model-7b", **(environment or {})}}
        control.create_model(ModelName=self.name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
        variants = [{"VariantName": "AllTraffic", "ModelName": self.name, "InstanceType": instance_type}]
        variants[0] |= {"InitialInstanceCount": 1, **variant}
        control.create_endpoint_config(EndpointConfigName=self.name, ProductionVariants=variants)

    def create(self, **given):
        made = self.control.create_endpoint(EndpointName=self.name, EndpointConfigName=self.name, **given)
        return made["EndpointArn"]

    def settled(self, leaves="Creating"):
        """Its description once it is not in that state any more."""
        for _ in range(500):
            told = self.control.describe_endpoint(EndpointName=self.name)
            if told["EndpointStatus"] != leaves:
                return told
            time.sleep(0.01)
        raise AssertionError(told)

    def gone(self):
        """AWS's error once it is not found any more."""
        for _ in range(500):
            try:
                self.control.describe_endpoint(EndpointName=self.name)
            except ClientError as error:
                return error.response["Error"]
            time.sleep(0.01)
        raise AssertionError(self.name)


@pytest.fixture
def deployed(client):
    return lambda **given: Deployed(client(), **given)
