"""Both forms of the seed's configuration, run as they are against the offline AWS."""

import asyncio
import csv
import json
from pathlib import Path

import pytest

from fmbench import Run, load_config
from fmbench.config.seed_files import ALL_METRICS_COLUMNS, PER_INFERENCE_COLUMNS
from fmbench.deployers import SageMakerNeuron
from fmbench.deployers.sagemaker import delete_deployment

DATA = Path(__file__).parents[3].parent / "shared" / "data"
ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"
OFFLINE = {"speed": 2000}
EXISTING = "llama-2-13b-inf2-48xlarge"
IMAGE = "763104351884.dkr.ecr.us-east-1.amazonaws.com/djl-inference:0.24.0-neuronx-sdk2.14.1"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the seed's configurations are not beside the project")


@pytest.fixture
def existing(aws, tmp_path_factory):
    """The endpoint that ``deploy: no`` is about."""
    directory = tmp_path_factory.mktemp("before")

    async def make():
        deployer = SageMakerNeuron(
            model_data="s3://made-up/llama-2-13b/", image_uri=IMAGE, instance_type="ml.inf2.48xlarge", role=ROLE, keep=True,
            endpoint_name=EXISTING, max_batch_size=4, dtype="fp16", env={"SAGEMAKER_MODEL_SERVER_WORKERS": "1"},
        )  # fmt: skip
        async with deployer.deploy(Run(name="before", directory=directory, tags={"fmbench:run": "before"})):
            pass

    asyncio.run(make())
    yield EXISTING
    asyncio.run(delete_deployment({"service": "sagemaker", "region": "us-east-1", "name": EXISTING, "run": "before"}))


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def run_form(letter, directory):
    result = load_config(DATA / f"config-form-{letter}.yml").run(directory)
    assert not result.problems, result.problems
    return result


def only(directory, pattern):
    [path] = directory.glob(pattern)
    return path


def test_the_first_form_is_run(aws, existing, tmp_path):
    result = run_form("a", tmp_path / "run")
    assert [one.concurrency for one in result.experiments] == [1, 2]
    assert set(result.records.status) == {"ok"}, result.records.error_message.unique()
    assert {one["name"] for one in aws.resources("endpoint")} == {EXISTING}, "what existed stands, what was made is gone"
    entries = json.loads((tmp_path / "run" / "endpoints.json").read_text(encoding="utf-8"))
    assert [entry["experiment_name"] for entry in entries] == ["llama-2-13b-inf2-24xlarge", EXISTING]
    assert entries[0]["model_config"]["PrimaryContainer"]["Environment"]["OPTION_TENSOR_PARALLEL_DEGREE"] == "12"
    rows = rows_of(only(tmp_path / "run", "per_inference_request_results_*.csv"))
    assert list(rows[0]) == [*PER_INFERENCE_COLUMNS, "experiment_name", "instance_type"]
    assert all(row["truncate"] == row["prompt_tokens"] for row in rows), "at-prompt-token-length"
    assert {row["experiment_name"] for row in rows} == {"llama-2-13b-inf2-24xlarge", EXISTING}
    metrics = rows_of(only(tmp_path / "run", "all_metrics_*.csv"))
    assert [(row["concurrency"], row["errors"], int(row["successes"])) for row in metrics] == [("1", "0", 390), ("2", "0", 390)]


def test_the_second_form_is_run(aws, existing, tmp_path):
    result = run_form("b", tmp_path / "run")
    names = [f"payload_en_{span}.jsonl" for span in ("1-500", "500-1000", "1000-2000", "2000-3000", "3000-4000", "305-3997")]
    assert len(result.experiments) == 2 * 3 * 5
    assert set(result.records.status) == {"ok"}, result.records.error_message.unique()
    assert {one["name"] for one in aws.resources("endpoint")} == {EXISTING}
    metrics = rows_of(only(tmp_path / "run", "all_metrics_*.csv"))
    assert list(metrics[0]) == list(ALL_METRICS_COLUMNS)
    assert {(row["payload_file"], row["concurrency"]) for row in metrics} == {(n, c) for n in names[:5] for c in "124"}
    assert {row["experiment_name"] for row in metrics} == {one.deployment for one in result.experiments}
    assert all(row["OPTION_N_POSITIONS"] == "4096" and row["Image"] == IMAGE for row in metrics)
    for row in metrics:
        assert int(row["most_times_a_prompt_was_sent"]) == -(-int(row["successes"]) // int(row["distinct_prompts"]))
        assert float(row["transactions_per_minute"]) == pytest.approx(60 * float(row["transactions_per_second"]))
    for name in names:
        first, *_ = lines = (tmp_path / "run" / name).read_text(encoding="utf-8").splitlines()
        low, high = name.removeprefix("payload_en_").removesuffix(".jsonl").split("-")
        request = json.loads(first)
        given = {"do_sample": True, "temperature": 0.1, "top_p": 0.92, "top_k": 120, "max_new_tokens": 100}
        assert request["parameters"] == given | {"truncate": request["parameters"]["truncate"]}
        assert all(int(low) <= json.loads(line)["parameters"]["truncate"] <= int(high) for line in lines)
    assert len(rows_of(tmp_path / "run" / "all_prompts.csv")) == 395
    rows = rows_of(only(tmp_path / "run", "per_inference_request_results_*.csv"))
    assert len(rows) == sum(int(row["successes"]) for row in metrics)
