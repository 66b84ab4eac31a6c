"""Deployed, measured and deleted with the real boto3, against the offline AWS."""

import asyncio
import json
import re

import pandas as pd
import pytest

from fmbench import Benchmark, Concurrency, ConfigError, DeployError, Parameters, Prompt, Run
from fmbench.deployers import JumpStart, SageMakerEndpoint, SageMakerGPU, SageMakerNeuron
from fmbench.deployers.sagemaker import delete_deployment, find_tagged
from fmbench.deployers.sagemaker.control import Aws, AwsError
from fmbench.journal import Journal

ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"
PROMPTS = [Prompt(id=f"p{number}", text=f"Tell me about {number} things, please.", tokens=8) for number in range(12)]
ASKED = Parameters(max_new_tokens=6, temperature=0.1, do_sample=True)


def gpu(**given):
    usual = {"model_id": "meta-llama/Llama-2-7b-hf", "instance_type": "ml.g5.12xlarge", "role": ROLE, "ready_seconds": 20}
    return SageMakerGPU(**usual | given)


def neuron(**given):
    usual = {"model_id": "meta-llama/Llama-2-13b-hf", "instance_type": "ml.inf2.48xlarge", "role": ROLE, "ready_seconds": 20}
    return SageMakerNeuron(**usual | {"tensor_parallel_degree": 24, "dtype": "fp16", "max_batch_size": 4} | given)


def measured(directory, *deployers, **given):
    usual = {"prompts": PROMPTS, "loads": Concurrency(2, requests=12), "parameters": ASKED, "warmup": 0}
    return Benchmark(deployers=list(deployers), **usual | given).run(directory)


def run_of(directory, run_id="run-1", deadline=None):
    return Run(name="t", directory=directory, tags={"fmbench:run": run_id, "fmbench:owner": "me"}, deadline=deadline)


def standing(aws):
    return {(one["kind"], one["name"]) for one in aws.resources() if one["tags"].get("fmbench:run")}


def test_endpoints_are_deployed_measured_and_deleted_and_told_as_aws_describes_them(aws, tmp_path):
    result = measured(
        tmp_path / "run",
        gpu(name="gpu"),
        neuron(name="neuron", env={"HF_TOKEN": "hf_very_secret", "SAGEMAKER_MODEL_SERVER_WORKERS": "1"}),
        columns=["endpoint_config.ProductionVariants", "model_config.ExecutionRoleArn"],
    )
    assert [len(result.records[result.records.status == "ok"])] == [24], result.records.error_message.dropna().unique()
    assert result.simulated  # the offline AWS's account is nobody's
    assert standing(aws) == set()
    entries = json.loads((tmp_path / "run" / "endpoints.json").read_text(encoding="utf-8"))
    assert [list(entry) for entry in entries] == [["experiment_name", "endpoint", "endpoint_config", "model_config"]] * 2
    by_name = {entry["experiment_name"]: entry for entry in entries}
    assert by_name["neuron"]["endpoint"]["EndpointStatus"] == "InService"
    assert by_name["neuron"]["endpoint_config"]["ProductionVariants"][0]["InstanceType"] == "ml.inf2.48xlarge"
    environment = by_name["neuron"]["model_config"]["PrimaryContainer"]["Environment"]
    assert environment["OPTION_TENSOR_PARALLEL_DEGREE"] == "24"
    assert environment["HF_TOKEN"] == "***"
    rows = pd.read_csv(tmp_path / "run" / "results.csv")
    row = rows[rows.deployment == "neuron"].iloc[0]
    told = row[["OPTION_DTYPE", "OPTION_MAX_ROLLING_BATCH_SIZE", "OPTION_N_POSITIONS", "OPTION_ROLLING_BATCH"]]
    assert list(told) == ["fp16", 4, 4096, "auto"]
    assert (int(row.OPTION_TENSOR_PARALLEL_DEGREE), int(row.SAGEMAKER_MODEL_SERVER_WORKERS)) == (24, 1)
    assert row.EndpointName == row.ModelName == row.endpoint_name == by_name["neuron"]["endpoint"]["EndpointName"]
    assert "djl-inference:0.30.0-neuronx" in row.Image
    assert row.ExecutionRoleArn == ROLE
    assert "hf_very_secret" not in "".join(
        path.read_text(encoding="utf-8", errors="replace") for path in (tmp_path / "run").rglob("*") if path.is_file()
    )
    first, second = (one["endpoint"]["facts"] for one in json.loads((tmp_path / "run" / "run.json").read_text())["deployments"])
    assert (first["usd_per_hour"], second["usd_per_hour"]) == (7.09, 15.58)
    assert (first["instance_count"], first["region"], first["role"]) == (1, "us-east-1", ROLE)
    assert second["compile_seconds"] is None
    assert second["compile_seconds_reason"]
    assert first["start_seconds"] > 0


def test_tags_tell_the_run_and_its_owner_on_all_that_is_made(aws, tmp_path):
    measured(tmp_path / "run", gpu())
    made = [one for one in aws.state()["gone"] if one["created_by"]][-3:]
    assert {one["kind"] for one in made} == {"endpoint", "endpoint-config", "model"}
    assert len({one["name"] for one in made}) == 1
    run_id = json.loads((tmp_path / "run" / "run.json").read_text())["run_id"]
    assert {one["tags"]["fmbench:run"] for one in made} == {run_id}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"kind": "capacity"}, "InsufficientInstanceCapacity"),
        ({"kind": "health_check"}, "did not pass the ping health check"),
        ({"kind": "quota"}, "ResourceLimitExceeded"),
        ({"kind": "stuck"}, "is Creating, and was not in service within 1 s"),
        ({"kind": "denied", "operation": "CreateEndpoint"}, "AccessDeniedException"),
    ],
)
def test_one_of_three_fails_and_the_others_are_measured(aws, tmp_path, fault, told):
    where = {"instance_type": "ml.g6.12xlarge"} if "operation" not in fault else {"name": "bad"}
    aws.fault(**fault, **where)
    result = measured(
        tmp_path / "run",
        gpu(name="one"),
        gpu(name="bad", instance_type="ml.g6.12xlarge", ready_seconds=1),
        neuron(name="three"),
    )
    document = json.loads((tmp_path / "run" / "run.json").read_text(encoding="utf-8"))
    states = {one["name"]: (one["status"], (one["error"] or {}).get("message", "")) for one in document["deployments"]}
    assert (states["one"], states["three"]) == (("up", ""), ("up", ""))
    assert states["bad"][0] == "failed"
    assert told in states["bad"][1]
    by_status = result.records.groupby("status").size().to_dict()
    assert by_status == {"ok": 24, "not_sent": 12}
    assert standing(aws) == set()


def test_a_throttled_control_plane_is_asked_again(aws, tmp_path):
    aws.fault("throttle", times=4, rate=1.0)
    result = measured(tmp_path / "run", gpu(), neuron())
    assert set(result.records.status) == {"ok"}
    assert standing(aws) == set()


@pytest.mark.parametrize("operation", ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"])
def test_a_creation_whose_answer_was_lost_is_not_made_twice_and_not_left(aws, tmp_path, operation):
    aws.fault("lost_reply", operation=operation)
    result = measured(tmp_path / "run", gpu())
    assert set(result.records.status) == {"ok"}
    assert standing(aws) == set()


def test_an_endpoint_that_is_not_seen_at_once_is_waited_for(aws, tmp_path):
    aws.fault("unseen", seconds=0.6)
    assert set(measured(tmp_path / "run", gpu()).records.status) == {"ok"}
    assert standing(aws) == set()


@pytest.mark.parametrize("kind", ["delete_ignored", "delete_slow"])
def test_deletion_is_asked_for_until_it_has_happened(aws, tmp_path, kind):
    aws.fault(kind, seconds=0.5)
    measured(tmp_path / "run", gpu())
    assert standing(aws) == set()


def test_an_endpoint_that_must_not_be_deleted_while_creating_is_deleted_after(aws, tmp_path):
    aws.fault("delete_refused", times=3)
    aws.fault("stuck")

    async def cancelled():
        async def up():
            async with gpu(ready_seconds=60).deploy(run_of(tmp_path)):
                raise AssertionError

        task = asyncio.create_task(up())
        while not aws.resources("endpoint"):  # noqa: ASYNC110 - only asking tells
            await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert standing(aws) == set()


def test_what_is_kept_is_found_by_its_tags_and_deleted_by_a_fresh_process(aws, tmp_path):
    async def keep():
        async with gpu(keep=True, name="kept").deploy(run_of(tmp_path, "run-kept")):
            pass

    async def clean():
        [found] = await find_tagged(run_id="run-kept")
        assert found.usd_per_hour == 7.09
        assert (found.tags["fmbench:owner"], found.tags["fmbench:keep"]) == ("me", "true")
        assert await delete_deployment({**found.handle, "run": "another"}), "what is another run's is nothing of this one"
        assert len(standing(aws)) == 3
        assert await delete_deployment(found.handle)
        assert await delete_deployment(found.handle), "again is no mistake"
        assert await find_tagged(run_id="run-kept") == []

    asyncio.run(keep())
    assert len(standing(aws)) == 3
    asyncio.run(clean())
    assert standing(aws) == set()


def test_an_endpoint_of_the_same_name_that_is_not_ours_is_not_touched(aws, tmp_path):
    async def main():
        mine = gpu(keep=True, endpoint_name="shared-name")
        async with mine.deploy(run_of(tmp_path, "run-first")):
            pass
        before = standing(aws)
        with pytest.raises(DeployError, match="already existing"):
            async with gpu(endpoint_name="shared-name").deploy(run_of(tmp_path, "run-second")):
                raise AssertionError
        assert standing(aws) == before
        for one in await find_tagged():
            await delete_deployment(one.handle)

    asyncio.run(main())


def test_an_endpoint_that_exists_is_measured_and_left_alone(aws, tmp_path):
    async def keep():
        async with gpu(keep=True, endpoint_name="theirs").deploy(run_of(tmp_path, "run-theirs")):
            pass

    asyncio.run(keep())
    before = standing(aws)
    result = measured(tmp_path / "run", SageMakerEndpoint("theirs"))
    assert set(result.records.status) == {"ok"}
    [entry] = json.loads((tmp_path / "run" / "endpoints.json").read_text(encoding="utf-8"))
    assert entry["experiment_name"] == entry["endpoint"]["EndpointName"] == "theirs"
    facts = json.loads((tmp_path / "run" / "run.json").read_text())["deployments"][0]["endpoint"]["facts"]
    assert (facts["instance_type"], facts["usd_per_hour"]) == ("ml.g5.12xlarge", 7.09)
    assert standing(aws) == before
    asyncio.run(delete_deployment({"service": "sagemaker", "region": "us-east-1", "name": "theirs", "run": "run-theirs"}))
    assert standing(aws) == set()


def test_a_model_of_jumpstart_is_deployed_as_its_document_says(aws, tmp_path):
    models = [
        JumpStart("meta-textgeneration-llama-2-7b-f", instance_type="ml.g5.12xlarge", accept_eula=True, role=ROLE, name="gpu"),
        JumpStart(
            "meta-textgenerationneuron-llama-2-13b-f", instance_type="ml.inf2.48xlarge", accept_eula=True, role=ROLE,
            name="neuron", model_version="3.2.0", env={"OPTION_MAX_ROLLING_BATCH_SIZE": "8"},
        ),
        JumpStart("huggingface-llm-mistral-7b", instance_type="ml.g5.2xlarge", role=ROLE, name="free"),
    ]  # fmt: skip
    result = measured(tmp_path / "run", *models)
    assert set(result.records.status) == {"ok"}, result.records.error_message.unique()
    entries = json.loads((tmp_path / "run" / "endpoints.json").read_text(encoding="utf-8"))
    by_name = {entry["experiment_name"]: entry["model_config"] for entry in entries}
    source = by_name["gpu"]["PrimaryContainer"]["ModelDataSource"]["S3DataSource"]
    assert source["S3Uri"].startswith("s3://jumpstart-private-cache-prod-us-east-1/")
    assert source["ModelAccessConfig"] == {"AcceptEula": True}
    assert by_name["gpu"]["EnableNetworkIsolation"] is True
    assert by_name["neuron"]["PrimaryContainer"]["Environment"]["OPTION_MAX_ROLLING_BATCH_SIZE"] == "8"
    assert "ModelAccessConfig" not in by_name["free"]["PrimaryContainer"]["ModelDataSource"]["S3DataSource"]
    assert standing(aws) == set()


@pytest.mark.parametrize(
    ("model", "given", "told"),
    [
        ("meta-textgeneration-llama-2-7b-f", {}, "has a licence .* give accept_eula=True"),
        ("meta-textgeneration-llama-9", {}, "JumpStart has no model 'meta-textgeneration-llama-9'"),
        ("huggingface-llm-mistral-7b", {"model_version": "0.0.1"}, r"of version 0\.0\.1"),
        ("huggingface-llm-mistral-7b", {"instance_type": "ml.inf2.48xlarge"}, "is built for gpu, but ml.inf2.48xlarge"),
    ],
)
def test_what_cannot_be_deployed_is_refused_before_anything_is_made(aws, tmp_path, model, given, told):
    before = len(aws.state()["gone"])
    measured(tmp_path / "run", JumpStart(model, **{"instance_type": "ml.g5.12xlarge", "role": ROLE} | given))
    [one] = json.loads((tmp_path / "run" / "run.json").read_text())["deployments"]
    assert one["status"] == "failed"
    assert re.search(told, one["error"]["message"])
    assert standing(aws) == set()
    assert len(aws.state()["gone"]) == before
    assert (
        not (tmp_path / "run" / "journal.jsonl").exists() or "creating" not in (tmp_path / "run" / "journal.jsonl").read_text()
    )


def test_role_and_region_are_told_at_the_start(aws, tmp_path, caplog):
    with caplog.at_level("INFO", logger="fmbench.deployers"):
        measured(tmp_path / "run", gpu(name="g"), loads=Concurrency(1, requests=2))
    assert f"g: region us-east-1, role {ROLE}" in caplog.messages


def test_an_endpoint_that_is_not_there_is_told_so(aws, tmp_path):
    measured(tmp_path / "run", SageMakerEndpoint("nowhere"))
    [one] = json.loads((tmp_path / "run" / "run.json").read_text())["deployments"]
    assert one["error"]["message"] == "there is no endpoint 'nowhere' in us-east-1"


def test_wrong_credentials_are_told_before_anything_is_made(aws, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")

    async def main():
        async with gpu().deploy(run_of(tmp_path)):
            raise AssertionError

    with pytest.raises((ConfigError, DeployError), match=r"credentials|Signature"):
        asyncio.run(main())
    assert standing(aws) == set()


@pytest.mark.parametrize(("engine", "dialect"), [("lmi", "lmi"), ("tgi", "tgi"), ("vllm", "openai"), ("sglang", "openai")])
def test_every_container_is_spoken_to_in_its_own_words(aws, tmp_path, engine, dialect):
    result = measured(tmp_path / "run", gpu(engine=engine), loads=Concurrency(1, requests=2))
    records = result.records
    assert set(records.status) == {"ok"}, records.error_message.unique()
    assert set(records.clock) == {"kernel"}
    assert (records.sign_ns > 0).all()
    payload = json.loads((tmp_path / "run" / "payload.jsonl").read_text().splitlines()[0])
    body = payload.get("payload", payload)
    assert ("messages" in json.dumps(body)) == (dialect == "openai")


def test_each_services_own_address_is_honoured(aws, tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    for service in ("SAGEMAKER", "SAGEMAKER_RUNTIME"):
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", aws.url)
    for service in ("STS", "PRICING"):  # nobody is there: what they would tell is known otherwise
        monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", "http://127.0.0.1:9")
    result = measured(tmp_path / "run", gpu(), loads=Concurrency(1, requests=2))
    assert set(result.records.status) == {"ok"}


def test_things_whose_tags_may_not_be_read_are_passed_over_unless_that_is_all(aws, tmp_path, caplog):
    async def look():
        async with gpu(endpoint_name="fmbench-readable").deploy(run_of(tmp_path, "run-readable")):
            aws.fault("denied", operation="ListTags", times=1)
            [found] = await find_tagged(run_id="run-readable")
            assert found.handle["name"] == "fmbench-readable"
            aws.fault("denied", operation="ListTags", times=None)
            with pytest.raises(DeployError, match="AccessDenied"):
                await find_tagged(run_id="run-readable")
            aws.mend()

    asyncio.run(look())
    assert "is passed over, for its tags may not be read" in caplog.text


def test_two_deployers_of_one_endpoint_name_are_refused_before_anything_is_made(aws, tmp_path):
    twins = [gpu(name="a", endpoint_name="same-name"), gpu(name="b", endpoint_name="Same-Name", region="us-east-1")]
    with pytest.raises(ConfigError, match=r"^a and b would both create the endpoint same-name in us-east-1: give each a name"):
        measured(tmp_path / "run", *twins)
    measured(tmp_path / "elsewhere", twins[0], loads=Concurrency(1, requests=2))
    assert Benchmark(
        deployers=[twins[0], gpu(name="b", endpoint_name="same-name", region="eu-west-1")],
        prompts=PROMPTS,
        loads=Concurrency(1, requests=2),
    )


def test_the_journal_does_not_call_gone_what_stands_under_a_name_that_was_refused(aws, tmp_path):
    async def main():
        async with gpu(endpoint_name="same-name").deploy(run_of(tmp_path)):
            with pytest.raises(DeployError, match="already existing"):
                async with gpu(endpoint_name="same-name").deploy(run_of(tmp_path)):
                    raise AssertionError
            assert len(Journal(tmp_path).standing()) == 1
            assert len(standing(aws)) == 3
        assert Journal(tmp_path).standing() == []

    asyncio.run(main())
    assert standing(aws) == set()


def test_a_secret_that_aws_quotes_is_not_told_on(aws, tmp_path):
    secret = "hf_SECRET" + "x" * 2000  # more than a variable may hold, so that it is refused and quoted
    measured(tmp_path / "run", gpu(env={"HF_TOKEN": secret}), loads=Concurrency(1, requests=2))
    [one] = json.loads((tmp_path / "run" / "run.json").read_text())["deployments"]
    assert one["error"]["message"].startswith("create_model: ")
    assert "***" in one["error"]["message"]
    assert len(one["error"]["message"]) < 700
    assert "SECRET" not in "".join(
        path.read_text(encoding="utf-8", errors="replace") for path in (tmp_path / "run").rglob("*") if path.is_file()
    )


def test_a_model_that_may_have_been_made_is_looked_for_whatever_the_repeat_came_to(aws, tmp_path, monkeypatch):
    asked, ask = [], Aws.ask

    def losing(self, service, operation, parameters):
        if operation != "create_model":
            return ask(self, service, operation, parameters)
        asked.append(operation)
        if len(asked) == 1:
            ask(self, service, operation, parameters)
            raise AwsError("ReadTimeoutError", "no answer", operation=operation, unsure=True)
        raise AwsError("AccessDeniedException", "no", operation=operation)

    monkeypatch.setattr(Aws, "ask", losing)
    measured(tmp_path / "run", gpu(), loads=Concurrency(1, requests=2))
    assert len(asked) == 2
    assert standing(aws) == set()
