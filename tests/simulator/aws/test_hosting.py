"""Models, endpoint configurations and endpoints, through the real boto3."""

import itertools
import sys
import time

import pytest
from botocore.exceptions import ClientError

from fmbench import ConfigError
from fmbench.simulator.aws import OfflineAWS
from fmbench.simulator.aws.shapes import Shapes

ROLE = "arn:aws:iam::000000000000:role/made-up"
GATED = "s3://jumpstart-private-cache-prod-us-east-1/made-up/"


def refusal(call, **given):
    with pytest.raises(ClientError) as refused:
        call(**given)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_endpoint_comes_and_goes(aws, deployed):
    one = deployed(InitialInstanceCount=2)
    arn = one.create(Tags=[{"Key": "fmbench:run", "Value": "r"}])
    assert one.control.describe_endpoint(EndpointName=one.name)["EndpointStatus"] == "Creating"
    told = one.settled()
    assert (told["EndpointStatus"], told["EndpointArn"], told["EndpointConfigName"]) == ("InService", arn, one.name)
    [variant] = told["ProductionVariants"]
    assert (variant["CurrentInstanceCount"], variant["VariantName"]) == (2, "AllTraffic")
    assert variant["DeployedImages"][0]["SpecifiedImage"].endswith("cu130")
    one.control.delete_endpoint(EndpointName=one.name)
    assert one.control.describe_endpoint(EndpointName=one.name)["EndpointStatus"] == "Deleting"
    assert one.gone() == {"Code": "ValidationException", "Message": f'Could not find endpoint "{arn}".'}
    one.control.delete_endpoint_config(EndpointConfigName=one.name)
    one.control.delete_model(ModelName=one.name)
    state = aws.state()
    assert not [thing for thing in state["resources"] if thing["name"] == one.name]
    gone = {thing["kind"]: thing for thing in state["gone"] if thing["name"] == one.name}
    assert set(gone) == {"endpoint", "endpoint-config", "model"}
    assert gone["endpoint"]["tags"] == {"fmbench:run": "r"}
    assert gone["endpoint"]["created_by"] == gone["endpoint"]["deleted_by"] == aws.options.access_key
    whole = gone["endpoint"]["deleted_at"] - gone["endpoint"]["created_at"]
    assert gone["endpoint"]["billed_seconds"] == pytest.approx(2 * whole)


def test_boto3s_waiters_see_it_come_and_go(deployed):
    one = deployed()
    one.create()
    quick = {"Delay": 0.05, "MaxAttempts": 100}
    one.control.get_waiter("endpoint_in_service").wait(EndpointName=one.name, WaiterConfig=quick)
    one.control.delete_endpoint(EndpointName=one.name)
    one.control.get_waiter("endpoint_deleted").wait(EndpointName=one.name, WaiterConfig=quick)


def test_what_was_asked_is_described(client, deployed):
    one = deployed(environment={"OPTION_DTYPE": "fp16"}, ContainerStartupHealthCheckTimeoutInSeconds=1200)
    model = one.control.describe_model(ModelName=one.name)
    assert model["PrimaryContainer"]["Environment"]["OPTION_DTYPE"] == "fp16"
    assert model["ExecutionRoleArn"] == ROLE
    config = one.control.describe_endpoint_config(EndpointConfigName=one.name)
    assert config["ProductionVariants"][0]["ContainerStartupHealthCheckTimeoutInSeconds"] == 1200
    assert config["CreationTime"].timestamp() == pytest.approx(time.time(), abs=60)


def test_another_region_has_resources_of_its_own(client, deployed):
    one = deployed()
    there = client(region_name="eu-west-1")
    code, message = refusal(there.describe_model, ModelName=one.name)
    assert code == "ValidationException"
    assert "eu-west-1" in message


def test_names_are_taken_once(deployed):
    one = deployed()
    one.create()
    for call, given in (
        (one.control.create_model, {"ModelName": one.name, "ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": "x"}}),
        (one.control.create_endpoint, {"EndpointName": one.name, "EndpointConfigName": one.name}),
    ):
        code, message = refusal(call, **given)
        assert code == "ValidationException"
        assert message.startswith("Cannot create already existing ")


WRONG = {
    "an instance type": ({"InstanceType": "ml.nothing.xlarge"}, "enum value set"),
    "a variant's name": ({"VariantName": "no_underscores"}, "regular expression pattern"),
    "an AMI": ({"InferenceAmiVersion": "none"}, "enum value set"),
    "a timeout": ({"ModelDataDownloadTimeoutInSeconds": 10_000}, "3600"),
    "a model": ({"ModelName": "not-there"}, "Could not find model"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_aws_would_refuse_is_refused(deployed, what):
    one = deployed()
    given, said = WRONG[what]
    variant = {"VariantName": "All", "ModelName": one.name, "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1, **given}
    code, message = refusal(
        one.control.create_endpoint_config, EndpointConfigName=f"{one.name}-2", ProductionVariants=[variant]
    )
    assert code == "ValidationException"
    assert said in message


def test_names_have_a_pattern_and_a_length(client):
    for name in ("under_score", "-dash", "x" * 64):
        code, _ = refusal(client().create_model, ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "x"})
        assert code == "ValidationException"


def test_every_new_instance_type_is_known(deployed):
    for kind in ("ml.inf2.48xlarge", "ml.trn1.32xlarge", "ml.p4d.24xlarge", "ml.p5.48xlarge", "ml.g6e.12xlarge"):
        deployed(instance_type=kind)


def test_a_gated_artifact_wants_its_licence_accepted(client):
    def model(name, **access):
        source = {"S3Uri": GATED, "S3DataType": "S3Prefix", "CompressionType": "None", **access}
        return {
            "ModelName": name,
            "ExecutionRoleArn": ROLE,
            "PrimaryContainer": {"Image": "x", "ModelDataSource": {"S3DataSource": source}},
        }

    control = client()
    for access in ({}, {"ModelAccessConfig": {"AcceptEula": False}}):
        code, message = refusal(control.create_model, **model("gated", **access))
        assert code == "ValidationException"
        assert "AcceptEula" in message
    control.create_model(**model("gated", ModelAccessConfig={"AcceptEula": True}))


def test_lists_come_in_pages_by_name_and_state(deployed):
    several = [deployed() for _ in range(4)]
    for one in several:
        one.create()
        one.settled()
    control, names = several[0].control, [one.name for one in several]
    first = control.list_endpoints(NameContains="test-", MaxResults=100)
    assert len(first["Endpoints"]) == 3  # page_size
    assert first["Endpoints"][0]["EndpointName"] == names[-1]
    pages = control.get_paginator("list_endpoints").paginate(NameContains="test-", StatusEquals="InService")
    found = [one["EndpointName"] for one in itertools.chain.from_iterable(page["Endpoints"] for page in pages)]
    assert set(names) <= set(found)
    assert len(found) == len(set(found))
    assert control.list_endpoints(NameContains="nobody")["Endpoints"] == []
    for operation, field in (("list_models", "Models"), ("list_endpoint_configs", "EndpointConfigs")):
        pages = control.get_paginator(operation).paginate(NameContains="test-")
        assert len([one for page in pages for one in page[field]]) >= 4


def test_tags_are_added_listed_in_pages_and_removed(deployed):
    one = deployed()
    arn = one.create(Tags=[{"Key": f"k{number}", "Value": "v"} for number in range(4)])
    one.control.add_tags(ResourceArn=arn, Tags=[{"Key": "k0", "Value": "new"}, {"Key": "k9", "Value": "v"}])
    pages = list(one.control.get_paginator("list_tags").paginate(ResourceArn=arn))
    assert [len(page["Tags"]) for page in pages] == [3, 2]
    assert {tag["Key"]: tag["Value"] for page in pages for tag in page["Tags"]}["k0"] == "new"
    one.control.delete_tags(ResourceArn=arn, TagKeys=["k0", "k1", "k2"])
    assert [tag["Key"] for tag in one.control.list_tags(ResourceArn=arn)["Tags"]] == ["k3", "k9"]
    code, message = refusal(one.control.add_tags, ResourceArn=arn, Tags=[{"Key": "aws:mine", "Value": "v"}])
    assert (code, "aws:" in message) == ("ValidationException", True)


def test_a_degree_that_the_instance_has_no_accelerators_for_fails_its_health_check(deployed):
    one = deployed(instance_type="ml.g5.2xlarge", environment={"OPTION_TENSOR_PARALLEL_DEGREE": "4"})
    one.create()
    told = one.settled()
    assert (told["EndpointStatus"], "ping health check" in told["FailureReason"]) == ("Failed", True)


def test_an_unknown_option_or_fault_is_said(aws):
    with pytest.raises(ConfigError, match="unexpected keyword"):
        OfflineAWS(nonsense=1)
    with pytest.raises(ConfigError, match="there is no 'nonsense'"):
        aws.fault("nonsense")
    with pytest.raises(ConfigError, match="unexpected keyword"):
        aws.fault("quota", nonsense=1)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "botocore.loaders", None)
    with pytest.raises(ConfigError, match=r"fmbench-harness\[aws\]"):
        Shapes()


def test_a_port_that_is_taken_is_said(aws):
    port = int(aws.url.rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"cannot listen at 127.0.0.1:{port}"), OfflineAWS(port=port):
        pass
