"""From options to requests: golden plans, each request against botocore's service model, and what is refused."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from fmbench import ConfigError
from fmbench.deployers import JumpStart, SageMakerGPU, SageMakerNeuron
from fmbench.deployers.sagemaker.catalogue import accelerator_of_image, ami_version, engine_of_image, image_uri, instance
from fmbench.deployers.sagemaker.hub import Choices, wanted_from_hub
from fmbench.deployers.sagemaker.plan import plan

ROLE = "arn:aws:iam::123456789012:role/SageMakerRole"
TAGS = {"fmbench:run": "r1", "fmbench:deadline": "2026-11-24T18:00:00Z", "fmbench:owner": "somebody"}
DJL = "763104351884.dkr.ecr.us-east-1.amazonaws.com/djl-inference"
NEURON_IMAGE = f"{DJL}:0.24.0-neuronx-sdk2.14.1"
GOLDEN = json.loads((Path(__file__).parent / "golden_plans.json").read_text(encoding="utf-8"))
LLAMA = {
    "HostingEcrUri": f"{DJL}:0.23.0-deepspeed0.9.5-cu118",
    "HostingArtifactUri": "s3://jumpstart-private-cache-prod-us-east-1/meta/artifacts/",
    "HostingPrepackedArtifactUri": "s3://jumpstart-private-cache-prod-us-east-1/meta/prepack/",
    "HostingEulaUri": "s3://jumpstart-cache-prod-us-east-1/fmhMetadata/eula/llamaEula.txt",
    "GatedBucket": True,
    "HostingUseScriptUri": False,
    "InferenceEnvironmentVariables": [
        {"Name": "HF_MODEL_ID", "Type": "text", "Default": "/opt/ml/model", "RequiredForModelClass": True},
        {"Name": "SAGEMAKER_MODEL_SERVER_WORKERS", "Type": "int", "Default": 1, "RequiredForModelClass": True},
        {"Name": "SAGEMAKER_PROGRAM", "Type": "text", "Default": "inference.py", "RequiredForModelClass": False},
    ],
    "HostingInstanceTypeVariants": {
        "Aliases": {"gpu": f"{DJL}:0.27.0-deepspeed0.12.6-cu121", "neuron": NEURON_IMAGE},
        "Variants": {
            "g5": {"Properties": {"ImageUri": "$gpu", "EnvironmentVariables": {"OPTION_DTYPE": "fp16", "SM_NUM_GPUS": "1"}}},
            "ml.g5.12xlarge": {"Properties": {"EnvironmentVariables": {"SM_NUM_GPUS": "4"}}},
            "inf2": {"Properties": {"ImageUri": "$neuron", "PrepackedArtifactKey": "meta/neuron/"}},
        },
    },
    "SupportedInferenceInstanceTypes": ["ml.g5.12xlarge", "ml.inf2.24xlarge"],
    "InferenceEnableNetworkIsolation": True,
    "ContainerStartupHealthCheckTimeout": 900,
}
NO_VARIANTS = {"HostingInstanceTypeVariants": {}}


def choices(**given):
    usual = {"model_id": "meta", "instance_type": "ml.g5.12xlarge", "region": "us-east-1", "accept_eula": True}
    usual |= {"instance_count": 1, "image_uri": None, "env": {}, "download_timeout_seconds": None}
    usual |= {"startup_timeout_seconds": None, "ami_version": None, "provision_timeout_seconds": None}
    return Choices(**usual | given)


def gpu(**given):
    return SageMakerGPU(**{"model_id": "meta-llama/Llama-2-13b-hf", "instance_type": "ml.g5.12xlarge", **given})


def neuron(**given):
    return SageMakerNeuron(**{"model_id": "meta-llama/Llama-2-13b-hf", "instance_type": "ml.inf2.48xlarge", **given})


WANTED = {
    "jumpstart-g5": lambda: wanted_from_hub(LLAMA, choices()),
    "jumpstart-inf2": lambda: wanted_from_hub(LLAMA, choices(instance_type="ml.inf2.24xlarge")),
    "lmi-g5": lambda: gpu()._in_region("us-east-1"),
    "tgi-g6": lambda: gpu(engine="tgi", instance_type="ml.g6.48xlarge", tensor_parallel_degree=4)._in_region("us-west-2"),
    "vllm-p5": lambda: gpu(engine="vllm", instance_type="ml.p5.48xlarge", max_batch_size=64, dtype="bfloat16")._in_region(
        "us-east-1"
    ),
    "sglang-p4d": lambda: gpu(engine="sglang", instance_type="ml.p4d.24xlarge")._in_region("eu-west-1"),
    "lmi-inf2": lambda: neuron(
        tensor_parallel_degree=12, n_positions=2048, rolling_batch="tnx", optimize_level=2, max_batch_size=4, dtype="fp16"
    )._in_region("us-east-1"),
    "tgi-trn1": lambda: neuron(engine="tgi", instance_type="ml.trn1.32xlarge", max_batch_size=8)._in_region("us-east-1"),
    "own-files": lambda: gpu(
        model_id=None, model_data="s3://bucket/model.tar.gz", provision_timeout_seconds=600, instance_count=2
    )._in_region("us-east-1"),
}


@pytest.fixture(scope="module")
def service_model():
    return pytest.importorskip("botocore.session").Session().get_service_model("sagemaker")


@pytest.mark.parametrize("name", WANTED)
def test_the_plan_is_the_golden_one_and_fits_the_service_model(name, service_model):
    from botocore.validate import ParamValidator

    made = plan(WANTED[name](), name="fmbench-r1-x", role=ROLE, tags=TAGS)
    requests = {"CreateModel": made.model, "CreateEndpointConfig": made.endpoint_config, "CreateEndpoint": made.endpoint}
    for operation, request in requests.items():
        shape = service_model.operation_model(operation).input_shape
        report = ParamValidator().validate(request, shape)
        assert not report.has_errors(), report.generate_report()
        assert {tag["Key"]: tag["Value"] for tag in request["Tags"]} == TAGS
    [variant] = made.endpoint_config["ProductionVariants"]
    for key in ("InstanceType", "InferenceAmiVersion"):
        kinds = service_model.shape_for("ProductionVariant").members[key].enum
        assert variant.get(key) is None or variant[key] in kinds
    assert {"model": made.model["PrimaryContainer"], "variant": variant} == GOLDEN[name]


def test_every_instance_type_that_is_known_exists_for_the_service_model(service_model):
    from fmbench.deployers.sagemaker.catalogue import _instances

    kinds = set(service_model.shape_for("ProductionVariantInstanceType").enum)
    assert set(_instances()["types"]) <= kinds
    known = 0
    for kind in kinds:
        try:
            known += instance(kind).name == kind
        except ValueError:
            continue
    assert known / len(kinds) > 0.95  # all but a few kinds that nobody serves language models on


def test_a_jumpstart_models_instance_type_changes_image_environment_and_files():
    wanted = wanted_from_hub(LLAMA, choices())
    assert wanted.image_uri.endswith("0.27.0-deepspeed0.12.6-cu121")
    assert wanted.environment == {
        "HF_MODEL_ID": "/opt/ml/model",
        "SAGEMAKER_MODEL_SERVER_WORKERS": "1",
        "OPTION_DTYPE": "fp16",
        "SM_NUM_GPUS": "4",
        "SAGEMAKER_REGION": "us-east-1",
    }
    assert wanted.model_data.uri == "s3://jumpstart-private-cache-prod-us-east-1/meta/prepack/"
    assert wanted.startup_timeout_seconds == 900
    other = wanted_from_hub(LLAMA, choices(instance_type="ml.inf2.24xlarge"))
    assert other.model_data.uri == "s3://jumpstart-private-cache-prod-us-east-1/meta/neuron/"


def test_what_is_given_wins_over_what_is_looked_up():
    wanted = wanted_from_hub(
        LLAMA,
        choices(
            image_uri="image", env={"SM_NUM_GPUS": "2", "NEW": "1"}, instance_count=3, startup_timeout_seconds=3600,
            download_timeout_seconds=61, ami_version="al2-ami-sagemaker-inference-gpu-2",
        ),
    )  # fmt: skip
    assert (wanted.image_uri, wanted.instance_count) == ("image", 3)
    assert (wanted.environment["SM_NUM_GPUS"], wanted.environment["NEW"]) == ("2", "1")
    assert (wanted.startup_timeout_seconds, wanted.download_timeout_seconds) == (3600, 61)
    made = plan(wanted, name="n", role=ROLE, tags={})
    assert made.endpoint_config["ProductionVariants"][0]["InferenceAmiVersion"] == "al2-ami-sagemaker-inference-gpu-2"
    own = gpu(env={"OPTION_TENSOR_PARALLEL_DEGREE": "2"})._in_region("us-east-1")
    assert own.environment["OPTION_TENSOR_PARALLEL_DEGREE"] == "2"


def test_the_best_ranked_configuration_that_runs_on_the_instance_type_is_taken():
    configured = LLAMA | {
        "InferenceConfigRankings": {"overall": {"Rankings": ["fast", "plain"]}},
        "InferenceConfigs": {"fast": {"ComponentNames": ["a"]}, "plain": {"ComponentNames": ["b"]}},
        "InferenceConfigComponents": {
            "a": {
                "SupportedInferenceInstanceTypes": ["ml.p5.48xlarge"],
                "HostingInstanceTypeVariants": {},
                "HostingEcrUri": "A",
            },
            "b": {
                "SupportedInferenceInstanceTypes": ["ml.g5.12xlarge"],
                "HostingInstanceTypeVariants": {},
                "HostingEcrUri": "B",
            },
        },
    }
    assert wanted_from_hub(configured, choices()).image_uri == "B"
    assert wanted_from_hub(configured, choices(instance_type="ml.p5.48xlarge")).image_uri == "A"


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: gpu(tensor_parallel_degree=8), "8 is more than the 4 GPUs of ml.g5.12xlarge"),
        (lambda: gpu(tensor_parallel_degree=3), "cannot spread a model over 3 of its GPUs: give 1, 2, 4"),
        (lambda: gpu(env={"SM_NUM_GPUS": "16"}), "SM_NUM_GPUS: 16 is more than the 4 GPUs"),
        (lambda: gpu(env={"OPTION_TENSOR_PARALLEL_DEGREE": "all"}), "'all' is no number of GPUs"),
        (lambda: gpu(instance_type="ml.inf2.48xlarge"), "use SageMakerNeuron"),
        (lambda: gpu(instance_type="ml.g5.13xlarge"), "did you mean 'ml.g5.1"),
        (lambda: gpu(instance_type="g5.12xlarge"), "did you mean 'ml.g5.12xlarge'"),
        (lambda: gpu(image_uri=NEURON_IMAGE), "is built for neuron, but ml.g5.12xlarge has NVIDIA A10G"),
        (lambda: gpu(model_id=None), "give model_id, model_data or image_uri"),
        (lambda: gpu(engine="tgi", version="0.1"), "known: 3.3.6"),
        (lambda: gpu(startup_timeout_seconds=7200), "less than or equal to 3600"),
        (lambda: gpu(endpoint_name="under_score"), "letters, digits and hyphens"),
        (lambda: neuron(tensor_parallel_degree=6), "give 1, 2, 4, 8, 12, 24"),
        (lambda: neuron(instance_type="ml.inf2.24xlarge", tensor_parallel_degree=24), "more than the 12 NeuronCores"),
        (lambda: neuron(instance_type="ml.p4d.24xlarge"), "use SageMakerGPU"),
        (
            lambda: JumpStart("m", instance_type="ml.inf2.24xlarge", env={"OPTION_TENSOR_PARALLEL_DEGREE": "24"}),
            "24 is more than the 12 NeuronCores of ml.inf2.24xlarge",
        ),
        (lambda: JumpStart("m", instance_type="ml.g5.xlarge", image_uri=NEURON_IMAGE), "is built for neuron"),
    ],
)
def test_what_is_known_not_to_work_is_refused_before_anything_is_deployed(make, told):
    with pytest.raises(ConfigError, match=told) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_licence_must_be_accepted_before_anything_is_made():
    with pytest.raises(ValueError, match=r"meta has a licence \(at s3://.*\): read it, and give accept_eula=True"):
        wanted_from_hub(LLAMA, choices(accept_eula=False))
    free = {key: value for key, value in LLAMA.items() if key not in {"GatedBucket", "HostingEulaUri"}}
    source = wanted_from_hub(free, choices(accept_eula=True)).model_data.source()
    assert "ModelAccessConfig" not in source["S3DataSource"]


def test_a_gpu_model_of_jumpstart_is_not_put_on_inferentia():
    only_gpu = LLAMA | NO_VARIANTS
    with pytest.raises(ValueError, match=r"is built for gpu, but ml\.inf2\.24xlarge has AWS Inferentia2"):
        plan(wanted_from_hub(only_gpu, choices(instance_type="ml.inf2.24xlarge")), name="n", role=ROLE, tags={})


@pytest.mark.parametrize(
    ("image", "engine", "accelerator"),
    [
        ("djl-inference:0.38.0-lmi29.0.0-cu130", "lmi", "gpu"),
        ("djl-inference:0.24.0-neuronx-sdk2.14.1", "lmi", "neuron"),
        ("djl-inference:0.27.0-tensorrtllm0.8.0-cu122", "lmi", "gpu"),
        ("huggingface-pytorch-tgi-inference:2.7.0-tgi3.3.6-gpu-py311-cu124-ubuntu22.04", "tgi", "gpu"),
        ("huggingface-pytorch-tgi-inference:2.7.0-optimum3.3.6-inf2-py310-ubuntu22.04", "tgi", "neuron"),
        ("vllm:server-sagemaker-cuda-v2.6", "vllm", "gpu"),
        ("huggingface-vllm:0.29.0-transformers5.15.0-gpu-py312-cu130-ubuntu24.04-v1.0", "vllm", "gpu"),
        ("sglang:0.5.20-gpu-py312-cu130-ubuntu24.04-sagemaker", "sglang", "gpu"),
        ("my-server:latest", None, None),
    ],
)
def test_an_images_name_tells_what_serves_and_on_what(image, engine, accelerator):
    address = f"763104351884.dkr.ecr.us-east-1.amazonaws.com/{image}"
    assert (engine_of_image(address), accelerator_of_image(address)) == (engine, accelerator)


def test_images_for_cuda_13_get_machines_whose_driver_knows_it():
    image = image_uri("lmi", "gpu", "us-east-1")
    assert ami_version(image, instance("ml.g5.xlarge")) == "al2023-ami-sagemaker-inference-gpu-4-1"
    assert ami_version(image_uri("tgi", "gpu", "us-east-1"), instance("ml.g5.xlarge")) is None
    assert image_uri("lmi", "gpu", "cn-north-1").startswith("727897471807.dkr.ecr.cn-north-1.amazonaws.com.cn/")


def test_a_version_that_is_not_known_is_looked_up_where_the_sdk_is_installed(monkeypatch):
    asked = []

    class Sdk(ModuleType):
        @staticmethod
        def retrieve(framework, region, **given):
            asked.append((framework, region, given))
            if given["version"] == "0.1":
                raise ValueError("unsupported version")
            return "found"

    for name in ("sagemaker", "sagemaker.core"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, "sagemaker.core.image_uris", Sdk("sagemaker.core.image_uris"))
    assert image_uri("lmi", "gpu", "eu-west-1", "0.30.0") == "found"
    assert asked == [
        ("djl-lmi", "eu-west-1", {"version": "0.30.0", "instance_type": "ml.g5.12xlarge", "image_scope": "inference"})
    ]
    with pytest.raises(ValueError, match=r"known: 0\.38\.0"):
        image_uri("lmi", "gpu", "eu-west-1", "0.1")
