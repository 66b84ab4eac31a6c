"""SageMaker's public hub, with JumpStart models that are MADE UP.

The ids and the documents' shape follow the real ones (``HubModelDocument`` of sagemaker-python-sdk); images, addresses,
variables and timeouts are invented, and every document says so in ``MadeUp``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from fmbench.simulator.aws.account import Call
from fmbench.simulator.aws.options import ACCOUNT
from fmbench.simulator.aws.paging import page
from fmbench.simulator.aws.problems import AwsError

__all__ = ["HUB", "OPERATIONS", "document_of"]

HUB = "SageMakerPublicHub"
VERSIONS = ("4.0.0", "3.2.0", "1.0.0")
"""Of every model, the newest first."""
CREATED = 1767225600.0
REGISTRY = "763104351884.dkr.ecr.{region}.amazonaws.com"
TGI = "huggingface-pytorch-tgi-inference:2.1.1-tgi1.4.5-gpu-py310-cu121-ubuntu22.04"
LMI_NEURON = "djl-inference:0.24.0-neuronx-sdk2.14.1"
MODELS: Mapping[str, tuple[float, bool, bool]] = {
    # the model's billions of parameters, whether for Neuron, whether its licence has to be accepted
    **{f"meta-textgeneration-llama-2-{size}b{chat}": (size, False, True) for size in (7, 13, 70) for chat in ("", "-f")},
    **{f"meta-textgenerationneuron-llama-2-{size}b{chat}": (size, True, True) for size in (7, 13, 70) for chat in ("", "-f")},
    "huggingface-llm-mistral-7b": (7, False, False),
    "huggingface-llm-mistral-7b-instruct": (7, False, False),
    "huggingface-llm-falcon-7b-bf16": (7, False, False),
}
"""Every model that there is, by its id."""
GPU_TYPES = {"2xlarge": 1, "12xlarge": 4, "24xlarge": 4, "48xlarge": 8}
NEURON_CORES = {
    "ml.inf2.xlarge": 2,
    "ml.inf2.8xlarge": 2,
    "ml.inf2.24xlarge": 12,
    "ml.inf2.48xlarge": 24,
    "ml.trn1.32xlarge": 32,
}


def document_of(model_id: str, region: str) -> dict[str, Any] | None:
    """A model's document; ``None`` where there is none."""
    if model_id not in MODELS:
        return None
    billions, neuron, gated = MODELS[model_id]
    kinds = _neuron_types(billions) if neuron else _gpu_types(billions)
    bucket = f"jumpstart-{'private-' * gated}cache-prod-{region}"
    provider = "meta" if model_id.startswith("meta") else "huggingface"
    folder = f"s3://{bucket}/{provider}-textgeneration/{model_id}/artifacts/inference"
    image = f"{REGISTRY.format(region=region)}/{LMI_NEURON if neuron else TGI}"
    told: dict[str, Any] = {
        "MadeUp": "by fmbench's offline AWS; the shape is JumpStart's, the contents are not",
        "Url": f"https://example.invalid/{model_id}",
        "MinSdkVersion": "2.189.0",
        "TrainingSupported": False,
        "IncrementalTrainingSupported": False,
        "HostingEcrUri": image,
        "HostingArtifactS3DataType": "S3Prefix",
        "HostingArtifactCompressionType": "None",
        "HostingArtifactUri": f"{folder}/v1.0.0/",
        "HostingPrepackedArtifactUri": f"{folder}-prepack/v1.0.0/",
        "HostingPrepackedArtifactVersion": "1.0.0",
        "HostingUseScriptUri": False,
        "InferenceDependencies": [],
        "InferenceEnvironmentVariables": _variables(neuron=neuron),
        "HostingInstanceTypeVariants": _variants(kinds, image, neuron=neuron),
        "DefaultInferenceInstanceType": next(iter(kinds)),
        "SupportedInferenceInstanceTypes": list(kinds),
        "InferenceEnableNetworkIsolation": True,
        "InferenceVolumeSize": 256,
        "ModelDataDownloadTimeout": 1200 if billions < 70 else 3600,
        "ContainerStartupHealthCheckTimeout": 3600 if neuron or billions >= 70 else 1200,
        "FineTuningSupported": False,
        "ValidationSupported": False,
        "ResourceNameBase": model_id.replace("textgeneration", "tg"),
        "GatedBucket": gated,
        "Task": "textgeneration",
        "Framework": provider,
    }
    return told | ({"HostingEulaUri": f"s3://{bucket}/fmhMetadata/eula/made-up.txt"} if gated else {})


def _gpu_types(billions: float) -> dict[str, int]:
    kinds = {f"ml.{family}.{size}": count for family in ("g5", "g6") for size, count in GPU_TYPES.items()}
    kinds |= {"ml.p4d.24xlarge": 8, "ml.p5.48xlarge": 8}
    least = 1 if billions <= 7 else 4 if billions <= 13 else 8
    return {kind: count for kind, count in kinds.items() if count >= least}


def _neuron_types(billions: float) -> dict[str, int]:
    least = 2 if billions <= 7 else 12 if billions <= 13 else 24
    return {kind: count for kind, count in NEURON_CORES.items() if count >= least}


def _variables(*, neuron: bool) -> list[dict[str, Any]]:
    defaults = {"SAGEMAKER_MODEL_SERVER_WORKERS": "1", "ENDPOINT_SERVER_TIMEOUT": "3600", "MODEL_CACHE_ROOT": "/opt/ml/model"}
    if neuron:
        defaults |= {
            "OPTION_DTYPE": "fp16",
            "OPTION_N_POSITIONS": "4096",
            "OPTION_ROLLING_BATCH": "auto",
            "OPTION_MAX_ROLLING_BATCH_SIZE": "4",
            "OPTION_NEURON_OPTIMIZE_LEVEL": "2",
            "OPTION_TENSOR_PARALLEL_DEGREE": "2",
            "OPTION_ENTRYPOINT": "djl_python.transformers_neuronx",
        }
    else:
        defaults |= {"HF_MODEL_ID": "/opt/ml/model", "MAX_INPUT_LENGTH": "4095", "MAX_TOTAL_TOKENS": "4096", "SM_NUM_GPUS": "1"}
    return [
        {"Name": name, "Type": "text", "Default": value, "Scope": "container", "RequiredForModelClass": True}
        for name, value in defaults.items()
    ]


def _variants(kinds: Mapping[str, int], image: str, *, neuron: bool) -> dict[str, Any]:
    """A family has its image, an instance type its degree of parallelism, as in the real documents."""
    alias, variable = ("neuron_ecr_uri_1", "OPTION_TENSOR_PARALLEL_DEGREE") if neuron else ("gpu_ecr_uri_1", "SM_NUM_GPUS")
    families = dict.fromkeys(kind.split(".")[1] for kind in kinds)
    variants: dict[str, Any] = {family: {"Properties": {"ImageUri": f"${alias}"}} for family in families}
    variants |= {kind: {"Properties": {"EnvironmentVariables": {variable: str(count)}}} for kind, count in kinds.items()}
    return {"Aliases": {alias: image}, "Variants": variants}


def _summary(call: Call, model_id: str, version: str) -> dict[str, Any]:
    arn = f"arn:aws:sagemaker:{call.region}:aws:hub-content/{HUB}/Model/{model_id}/{version}"
    return {
        "HubContentName": model_id,
        "HubContentArn": arn,
        "HubContentVersion": version,
        "HubContentType": "Model",
        "DocumentSchemaVersion": "2.3.0",
        "HubContentDisplayName": f"{model_id} (made up)",
        "HubContentDescription": "Made up by fmbench's offline AWS.",
        "HubContentSearchKeywords": ["@task:textgeneration", f"@account:{ACCOUNT}"],
        "HubContentStatus": "Available",
        "SupportStatus": "Supported",
        "CreationTime": CREATED,
    }


def _check_hub(call: Call) -> None:
    if call.given["HubName"].rpartition("/")[2] != HUB:
        raise AwsError("ResourceNotFound", f"Hub {call.given['HubName']} does not exist.")


def _list(call: Call) -> dict[str, Any]:
    _check_hub(call)
    named = [model for model in MODELS if call.given.get("NameContains", "") in model]
    if call.given["HubContentType"] != "Model":
        named = []
    most = call.account.options.page_size
    shown, token = page(named, call.given.get("MaxResults", 100), call.given.get("NextToken"), most)
    told: dict[str, Any] = {"HubContentSummaries": [_summary(call, model, VERSIONS[0]) for model in shown]}
    return told if token is None else {**told, "NextToken": token}


def _describe(call: Call) -> dict[str, Any]:
    _check_hub(call)
    model, version = call.given["HubContentName"], call.given.get("HubContentVersion", VERSIONS[0])
    document = document_of(model, call.region)
    if document is None or call.given["HubContentType"] != "Model" or version not in VERSIONS:
        raise AwsError("ResourceNotFound", f"Hub content {model} of version {version} does not exist in hub {HUB}.")
    hub = f"arn:aws:sagemaker:{call.region}:aws:hub/{HUB}"
    told = _summary(call, model, version) | {"HubName": HUB, "HubArn": hub, "LastModifiedTime": CREATED}
    return {**told, "HubContentDocument": orjson.dumps(document).decode()}


OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {"ListHubContents": _list, "DescribeHubContent": _describe}
"""The hub's."""
