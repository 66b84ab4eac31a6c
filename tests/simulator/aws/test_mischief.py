"""Every fault of the control plane, as the real boto3 sees it."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError


def code_of(call, **given):
    with pytest.raises(ClientError) as refused:
        call(**given)
    return refused.value.response["Error"]["Code"], refused.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_a_quota_is_refused_at_once_and_leaves_no_endpoint(aws, deployed):
    one = deployed(instance_type="ml.p5.48xlarge")  # of which the quota is 0
    with pytest.raises(ClientError, match=r"ml.p5.48xlarge for endpoint usage' is 0 Instances") as refused:
        one.create()
    assert refused.value.response["Error"]["Code"] == "ResourceLimitExceeded"
    assert [thing["kind"] for thing in aws.resources() if thing["name"] == one.name] == ["model", "endpoint-config"]
    aws.fault("quota", instance_type="ml.g5.12xlarge")
    other = deployed()
    assert code_of(other.create) == ("ResourceLimitExceeded", 400)
    other.create()  # the fault struck once


@pytest.mark.parametrize(
    ("kind", "said"), [("capacity", "InsufficientInstanceCapacity"), ("health_check", "ping health check")]
)
def test_an_endpoint_fails_after_a_while_and_bills_no_longer(aws, deployed, kind, said):
    one = deployed()
    aws.fault(kind, name=one.name)
    one.create()
    assert one.control.describe_endpoint(EndpointName=one.name)["EndpointStatus"] == "Creating"
    told = one.settled()
    assert told["EndpointStatus"] == "Failed"
    assert said in told["FailureReason"]
    [state] = [thing for thing in aws.resources("endpoint") if thing["name"] == one.name]
    assert state["billed_seconds"] == pytest.approx(aws.options.create_seconds)
    one.control.delete_endpoint(EndpointName=one.name)  # a failed one still needs it
    one.gone()


def test_a_stuck_endpoint_stays_creating_and_can_be_deleted(aws, deployed):
    one = deployed()
    aws.fault("stuck", name=one.name)
    one.create()
    other = deployed()
    other.create()
    other.settled()  # by then it would have been in service
    assert one.control.describe_endpoint(EndpointName=one.name)["EndpointStatus"] == "Creating"
    one.control.delete_endpoint(EndpointName=one.name)
    one.gone()


def test_a_delete_without_effect_has_to_be_given_again(aws, deployed):
    one = deployed()
    one.create()
    one.settled()
    aws.fault("delete_ignored", name=one.name, times=2)
    for _ in range(2):
        one.control.delete_endpoint(EndpointName=one.name)
        assert one.control.describe_endpoint(EndpointName=one.name)["EndpointStatus"] == "InService"
    one.control.delete_endpoint(EndpointName=one.name)
    one.gone()


def test_a_delete_while_creating_may_be_refused(aws, deployed):
    one = deployed()
    aws.fault("stuck", name=one.name)
    aws.fault("delete_refused", name=one.name)
    one.create()
    assert code_of(one.control.delete_endpoint, EndpointName=one.name) == ("ValidationException", 400)
    one.control.delete_endpoint(EndpointName=one.name)
    one.gone()


def test_a_slow_delete(aws, deployed):
    one = deployed()
    aws.fault("delete_slow", name=one.name, seconds=1000)
    one.create()
    one.control.delete_endpoint(EndpointName=one.name)
    [state] = [thing for thing in aws.resources("endpoint") if thing["name"] == one.name]
    assert state["deleted_at"] - state["deleting_at"] == pytest.approx(1000.05)


def test_the_control_plane_throttles_as_often_as_told(aws, client):
    control = client()
    aws.fault("throttle", times=2)
    for _ in range(2):
        assert code_of(control.list_models) == ("ThrottlingException", 400)
    control.list_models()


@pytest.mark.parametrize(
    ("kind", "code", "status"), [("denied", "AccessDeniedException", 400), ("internal", "InternalFailure", 500)]
)
def test_a_call_fails_where_asked(aws, client, kind, code, status):
    control = client()
    aws.fault(kind, operation="ListEndpoints")
    control.list_models()
    assert code_of(control.list_endpoints) == (code, status)


def test_a_reply_that_is_lost_leaves_what_was_created(aws, deployed):
    one = deployed()
    aws.fault("lost_reply", operation="CreateEndpoint", name=one.name)
    with pytest.raises(ConnectionClosedError):
        one.create()
    assert one.settled()["EndpointStatus"] == "InService"


def test_an_endpoint_may_not_be_seen_at_first(aws, deployed):
    one = deployed()
    aws.fault("unseen", name=one.name, seconds=0.3)
    one.create()
    assert code_of(one.control.describe_endpoint, EndpointName=one.name) == ("ValidationException", 400)
    assert [thing["name"] for thing in aws.resources("endpoint") if thing["name"] == one.name]
    for _ in range(1000):
        if one.name in [each["EndpointName"] for each in one.control.list_endpoints(NameContains=one.name)["Endpoints"]]:
            break
    one.settled()


def test_credentials_may_expire(aws, client):
    aws.fault("expired", times=2)
    assert code_of(client().list_models) == ("ExpiredTokenException", 403)
    runtime = client("sagemaker-runtime")
    assert code_of(runtime.invoke_endpoint, EndpointName="x", Body=b"{}") == ("ExpiredTokenException", 403)
    assert code_of(runtime.invoke_endpoint, EndpointName="x", Body=b"{}")[0] == "ValidationError"


def test_every_call_is_on_record_with_its_outcome(aws, deployed):
    one = deployed()
    aws.fault("throttle", operation="CreateEndpoint", name=one.name)
    assert code_of(one.create)[0] == "ThrottlingException"
    one.create()
    events = [(event["operation"], event["error"]) for event in aws.state()["events"] if event["name"] == one.name]
    assert events[-2:] == [("CreateEndpoint", "ThrottlingException"), ("CreateEndpoint", None)]
    assert "Boto3" in aws.state()["events"][-1]["user_agent"]


WAITS = """
import os, sys, time
from fmbench.simulator.aws import OfflineAWS
with OfflineAWS() as aws:
    print(aws.url, flush=True)
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        print(len(aws.resources()), flush=True)  # it still answers
"""


def is_up(url):
    try:
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1).close()
    except ConnectionError:
        return False
    return True


def test_ctrl_c_is_for_its_clients_and_it_ends_with_whoever_started_it():
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True, start_new_session=True)
    url = process.stdout.readline().strip()
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (0, "0\n")
    assert not is_up(url)


def test_it_does_not_outlive_a_parent_that_is_killed():
    process = subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().strip()
    assert is_up(url)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while is_up(url):
        assert time.monotonic() < deadline
        time.sleep(0.05)
