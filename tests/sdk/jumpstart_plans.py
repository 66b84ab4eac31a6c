"""Whether our plan for a JumpStart model is what the `sagemaker` SDK itself sends for the same document; `nox -s jumpstart`.

The SDK reads JumpStart's specifications from local files here and sends its requests to the offline AWS, which keeps what was
asked for. The same specification, in the words of the hub's documents, is planned by us. Names and tags are each one's own;
``SAGEMAKER_REGION``, which version 3 of the SDK sets and version 2 does not, is left out.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fmbench.deployers.sagemaker.hub import Choices, wanted_from_hub
from fmbench.deployers.sagemaker.plan import plan
from fmbench.simulator.aws import OfflineAWS

ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"
REGION = "us-east-1"
REGISTRY = f"763104351884.dkr.ecr.{REGION}.amazonaws.com"
GPU = f"{REGISTRY}/huggingface-pytorch-tgi-inference:2.1.1-tgi1.4.5-gpu-py310-cu121-ubuntu22.04"
NEURON = f"{REGISTRY}/djl-inference:0.24.0-neuronx-sdk2.14.1"
BUCKETS = {False: f"jumpstart-cache-prod-{REGION}", True: f"jumpstart-private-cache-prod-{REGION}"}


def variables(*, neuron: bool) -> list[dict[str, Any]]:
    """A model's variables, those among them that the SDK's own containers alone need."""
    told = {"SAGEMAKER_PROGRAM": ("inference.py", False), "SAGEMAKER_MODEL_SERVER_WORKERS": ("1", True)}
    told |= {"HF_MODEL_ID": ("/opt/ml/model", True), "ENDPOINT_SERVER_TIMEOUT": ("3600", True)}
    if neuron:
        told |= {"OPTION_N_POSITIONS": ("4096", True), "OPTION_DTYPE": ("fp16", True)}
    return [
        {"name": name, "type": "text", "default": default, "scope": "container", "required_for_model_class": required}
        for name, (default, required) in told.items()
    ]


def specification(model_id: str, *, gated: bool, neuron: bool) -> dict[str, Any]:
    """A model's specification, as JumpStart's own files have it. Made up; the shape is the SDK's."""
    family, image = ("inf2", NEURON) if neuron else ("g5", GPU)
    special = f"ml.{family}.48xlarge"
    variable = "OPTION_TENSOR_PARALLEL_DEGREE" if neuron else "SM_NUM_GPUS"
    return {
        "model_id": model_id,
        "version": "1.0.0",
        "url": "https://example.invalid",
        "min_sdk_version": "2.189.0",
        "incremental_training_supported": False,
        "training_supported": False,
        "hosting_ecr_specs": {"framework": "djl-neuronx" if neuron else "huggingface-llm", "framework_version": "0.24.0"},
        "hosting_artifact_key": f"made-up/{model_id}/artifacts/",
        "hosting_script_key": "made-up/code.tar.gz",
        "hosting_prepacked_artifact_key": f"made-up/{model_id}/prepack/",
        "hosting_use_script_uri": False,
        "hosting_eula_key": "made-up/eula.txt" if gated else None,
        "gated_bucket": gated,
        "inference_environment_variables": variables(neuron=neuron),
        "inference_enable_network_isolation": True,
        "default_inference_instance_type": f"ml.{family}.{'24xlarge' if neuron else '12xlarge'}",
        "supported_inference_instance_types": [f"ml.{family}.{size}" for size in ("12xlarge", "24xlarge", "48xlarge")],
        "deploy_kwargs": {"model_data_download_timeout": 1200, "container_startup_health_check_timeout": 900},
        "model_kwargs": {},
        "predictor_specs": {
            "default_content_type": "application/json", "supported_content_types": ["application/json"],
            "default_accept_type": "application/json", "supported_accept_types": ["application/json"],
        },
        "hosting_instance_type_variants": {
            "regional_aliases": {REGION: {"image": image}},
            "variants": {
                family: {
                    "regional_properties": {"image_uri": "$image"},
                    "properties": {"environment_variables": {variable: "4", "MAX_BATCH_PREFILL_TOKENS": "8192"}},
                },
                special: {"properties": {"environment_variables": {variable: "8"}}},
            },
        },
    }  # fmt: skip


def document(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The same in the words of the hub's documents."""
    variants = spec["hosting_instance_type_variants"]
    bucket = BUCKETS[spec["gated_bucket"]]
    return {
        "HostingEcrUri": "none: the variants name one",
        "HostingArtifactUri": f"s3://{bucket}/{spec['hosting_artifact_key']}",
        "HostingPrepackedArtifactUri": f"s3://{bucket}/{spec['hosting_prepacked_artifact_key']}",
        "HostingUseScriptUri": spec["hosting_use_script_uri"],
        "HostingEulaUri": spec["hosting_eula_key"] and f"s3://{bucket}/{spec['hosting_eula_key']}",
        "GatedBucket": spec["gated_bucket"],
        "InferenceEnvironmentVariables": [
            {"Name": one["name"], "Default": one["default"], "RequiredForModelClass": one["required_for_model_class"]}
            for one in spec["inference_environment_variables"]
        ],
        "InferenceEnableNetworkIsolation": spec["inference_enable_network_isolation"],
        "SupportedInferenceInstanceTypes": spec["supported_inference_instance_types"],
        "ModelDataDownloadTimeout": spec["deploy_kwargs"]["model_data_download_timeout"],
        "ContainerStartupHealthCheckTimeout": spec["deploy_kwargs"]["container_startup_health_check_timeout"],
        "HostingInstanceTypeVariants": {
            "Aliases": variants["regional_aliases"][REGION],
            "Variants": {
                name: {
                    "Properties": {
                        **({"ImageUri": one["regional_properties"]["image_uri"]} if "regional_properties" in one else {}),
                        "EnvironmentVariables": one["properties"]["environment_variables"],
                    }
                }
                for name, one in variants["variants"].items()
            },
        },
    }


CASES = [
    (specification("made-up-llama-7b", gated=True, neuron=False), "ml.g5.12xlarge", {}),
    (specification("made-up-llama-7b", gated=True, neuron=False), "ml.g5.48xlarge", {"SM_NUM_GPUS": "2"}),
    (specification("made-up-falcon-7b", gated=False, neuron=False), "ml.g5.24xlarge", {}),
    (specification("made-up-neuron-13b", gated=True, neuron=True), "ml.inf2.24xlarge", {}),
    (specification("made-up-neuron-13b", gated=True, neuron=True), "ml.inf2.48xlarge", {"OPTION_N_POSITIONS": "2048"}),
]


def files(folder: Path) -> None:
    """JumpStart's files, where the SDK looks for them."""
    specs = {spec["model_id"]: spec for spec, _, _ in CASES}
    manifest = []
    for model_id, spec in specs.items():
        key = f"specs/{model_id}.json"
        manifest.append({"model_id": model_id, "version": "1.0.0", "min_version": "2.0.0", "spec_key": key})
        (folder / "specs").mkdir(exist_ok=True)
        (folder / key).write_text(json.dumps(spec), encoding="utf-8")
    (folder / "models_manifest.json").write_text(json.dumps(manifest), encoding="utf-8")


def sent_by_the_sdk(aws: OfflineAWS, spec: Mapping[str, Any], kind: str, env: Mapping[str, str]) -> dict[str, Any]:
    """What the SDK asks of AWS."""
    import boto3
    from sagemaker import Session
    from sagemaker.jumpstart.model import JumpStartModel

    known = {one["arn"] for one in aws.resources()}
    session = Session(boto3.session.Session(region_name=REGION), default_bucket="made-up")
    model = JumpStartModel(
        model_id=spec["model_id"], model_version="1.0.0", instance_type=kind, role=ROLE, env=dict(env) or None,
        sagemaker_session=session,
    )  # fmt: skip
    model.deploy(accept_eula=True if spec["gated_bucket"] else None, wait=False)
    made = {one["kind"]: one["asked"] for one in aws.resources() if one["arn"] not in known}
    return _compared(made["model"], made["endpoint-config"])


def planned(spec: Mapping[str, Any], kind: str, env: Mapping[str, str]) -> dict[str, Any]:
    """What we ask of AWS."""
    choices = Choices(
        model_id=spec["model_id"], instance_type=kind, region=REGION, accept_eula=spec["gated_bucket"], instance_count=1,
        image_uri=None, env=env, download_timeout_seconds=None, startup_timeout_seconds=None, ami_version=None,
        provision_timeout_seconds=None,
    )  # fmt: skip
    made = plan(wanted_from_hub(document(spec), choices), name="n", role=ROLE, tags={})
    return _compared(made.model, made.endpoint_config)


def _compared(model: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    [variant] = config["ProductionVariants"]
    parts = {"ExecutionRoleArn", "PrimaryContainer", "EnableNetworkIsolation"}
    container = model["PrimaryContainer"]
    environment = {key: value for key, value in container["Environment"].items() if key != "SAGEMAKER_REGION"}
    model = {**model, "PrimaryContainer": container | {"Environment": environment}}
    return {key: value for key, value in model.items() if key in parts} | {
        "variant": {key: value for key, value in variant.items() if key != "ModelName"}
    }


def differences(ours: Any, theirs: Any, place: str = "") -> Iterator[str]:
    """Where two JSON values differ."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in sorted({*ours, *theirs}):
            yield from differences(ours.get(key), theirs.get(key), f"{place}.{key}")
    elif ours != theirs:
        yield f"{place}: ours {ours!r}, the SDK's {theirs!r}"


def main() -> int:
    """Compare each case."""
    bad = 0
    with tempfile.TemporaryDirectory() as name, OfflineAWS(create_seconds=0.05) as aws:
        folder = Path(name)
        files(folder)
        config = folder / "sdk.yaml"
        config.write_text(
            "SchemaVersion: '1.0'\nSageMaker: {PythonSDK: {Modules: {TelemetryOptOut: true}}}\n", encoding="utf-8"
        )
        os.environ |= aws.environment | {
            "AWS_JUMPSTART_MANIFEST_LOCAL_ROOT_DIR_OVERRIDE": str(folder),
            "AWS_JUMPSTART_SPECS_LOCAL_ROOT_DIR_OVERRIDE": str(folder),
            "SAGEMAKER_USER_CONFIG_OVERRIDE": str(config),
            "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
        }
        for spec, kind, env in CASES:
            told = list(differences(planned(spec, kind, env), sent_by_the_sdk(aws, spec, kind, env)))
            print(f"{spec['model_id']} on {kind}: {'as the SDK' if not told else '; '.join(told)}")
            bad += bool(told)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
