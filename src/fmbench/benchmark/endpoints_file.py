"""``endpoints.json``: one entry a deployment; its endpoint, endpoint configuration and model as the platform describes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from fmbench.benchmark.run_file import RunFile

__all__ = ["SEED_PATHS", "column_name", "endpoint_entries", "look_up", "write_endpoints"]

_CONTAINER = "model_config.PrimaryContainer"
SEED_PATHS = (
    "endpoint.EndpointName",
    "model_config.ModelName",
    f"{_CONTAINER}.Image",
    f"{_CONTAINER}.ModelDataSource.S3DataSource.S3Uri",
    f"{_CONTAINER}.Environment.OPTION_DTYPE",
    f"{_CONTAINER}.Environment.OPTION_MAX_ROLLING_BATCH_SIZE",
    f"{_CONTAINER}.Environment.OPTION_NEURON_OPTIMIZE_LEVEL",
    f"{_CONTAINER}.Environment.OPTION_N_POSITIONS",
    f"{_CONTAINER}.Environment.OPTION_ROLLING_BATCH",
    f"{_CONTAINER}.Environment.OPTION_TENSOR_PARALLEL_DEGREE",
    f"{_CONTAINER}.Environment.SAGEMAKER_MODEL_SERVER_WORKERS",
)
"""Where the seed's columns of interest come from."""


def write_endpoints(run_file: RunFile) -> None:
    """Write the entries of all deployments that came up."""
    entries = endpoint_entries(run_file.document)
    path = run_file.directory / "endpoints.json"
    path.write_bytes(orjson.dumps(entries, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str))


def endpoint_entries(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The entries, from ``run.json``; AWS's own words where there are some, else the same shape filled from the facts."""
    return [
        _entry(deployment["name"], deployment["endpoint"])
        for deployment in document["deployments"]
        if deployment["endpoint"] is not None
    ]


def _entry(name: str, endpoint: Mapping[str, Any]) -> dict[str, Any]:
    facts = endpoint["facts"]
    if described := facts.get("sagemaker"):
        return {
            "experiment_name": name,
            **{part: described.get(part) for part in ("endpoint", "endpoint_config", "model_config")},
        }
    others = {key: value for key, value in facts.items() if key not in {"image", "model_source", "environment"}}
    container = {
        "Image": facts.get("image"),
        "ModelDataSource": {"S3DataSource": {"S3Uri": facts.get("model_source")}},
        "Environment": dict(facts.get("environment") or {}),
    }
    return {
        "experiment_name": name,
        "endpoint": {"EndpointName": endpoint["name"], "Url": endpoint["url"]},
        "endpoint_config": others,
        "model_config": {"ModelName": endpoint["model"], "PrimaryContainer": container},
    }


def look_up(entry: Mapping[str, Any] | None, path: str) -> Any:
    """The value at a dotted path; ``None`` where the path leads nowhere."""
    value: Any = entry
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def column_name(path: str) -> str:
    """What a dotted path is called as a column: its last part, as in the seed."""
    return path.rsplit(".", 1)[-1]
