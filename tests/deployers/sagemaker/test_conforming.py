"""The promises of every deployer, kept by SageMaker's against the offline AWS."""

from fmbench.deployers import SageMakerEndpoint, SageMakerGPU
from fmbench.testing import check_deployer

OFFLINE = {"create_seconds": 0.02, "delete_seconds": 0.02}
ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"


def made():
    return SageMakerGPU(model_id="any/model-7b", instance_type="ml.g5.12xlarge", role=ROLE, ready_seconds=20)


def test_nothing_is_left_wherever_a_deployment_is_cancelled(aws, monkeypatch):
    monkeypatch.setattr("fmbench.deployers.sagemaker.standing.FIRST_POLL_SECONDS", 0.02)
    check_deployer(made)
    assert aws.resources() == []


def test_what_is_known_before_needs_no_region(aws, monkeypatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION")
    told = made().describe()
    assert "region" not in told
    assert "usd_per_hour" not in told
    assert "give region" in told["price"]["reason"]
    assert SageMakerEndpoint("e").describe() == {}
