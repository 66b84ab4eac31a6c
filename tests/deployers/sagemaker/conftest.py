"""An offline AWS for a whole module, mended before each test, and this process's environment pointed at it."""

import pytest

ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"


@pytest.fixture(scope="module")
def shared_aws(request):
    pytest.importorskip("boto3")
    from fmbench.simulator.aws import OfflineAWS

    options = {"create_seconds": 0.1, "delete_seconds": 0.1, "page_size": 3, "speed": 100, "quotas": {"ml.p5.48xlarge": 0}}
    with OfflineAWS(**options | getattr(request.module, "OFFLINE", {})) as aws:
        yield aws


@pytest.fixture
def aws(shared_aws, monkeypatch, tmp_path):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_SAGEMAKER", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in shared_aws.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    shared_aws.mend()
    return shared_aws
