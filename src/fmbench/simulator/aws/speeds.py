"""How fast each instance type serves. MADE UP: the shape is that of the hardware, the figures are nobody's measurements.

A decode step reads the weights once, so it takes their bytes over the memory's bandwidth; a prompt takes two operations for
each weight and token. Both are spread over the accelerators that tensor parallelism uses, with a share lost.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from fmbench.simulator.models import Batching

__all__ = ["MADE_UP", "Device", "Served", "served"]


class Device(NamedTuple):
    """The accelerators of an instance type."""

    accelerators: int
    gigabytes: float
    gigabytes_per_second: float
    teraflops: float
    kind: str


def _gpus(count: int, gigabytes: float, bandwidth: float, teraflops: float) -> Device:
    return Device(count, gigabytes, bandwidth, teraflops, "gpu")


_T4, _A10G, _L4, _L40S = (16.0, 300.0, 50.0), (24.0, 600.0, 110.0), (24.0, 300.0, 110.0), (48.0, 860.0, 330.0)
_A100, _H100, _H200, _V100 = (40.0, 1500.0, 290.0), (80.0, 3300.0, 900.0), (141.0, 4800.0, 900.0), (16.0, 900.0, 100.0)
_NEURON = (16.0, 400.0, 90.0)
_SIZES = {"xlarge": 1, "2xlarge": 1, "4xlarge": 1, "8xlarge": 1, "16xlarge": 1, "12xlarge": 4, "24xlarge": 4, "48xlarge": 8}
MADE_UP: Mapping[str, Device] = {
    **{f"ml.g5.{size}": _gpus(count, *_A10G) for size, count in _SIZES.items()},
    **{f"ml.g6.{size}": _gpus(count, *_L4) for size, count in _SIZES.items()},
    **{f"ml.g6e.{size}": _gpus(count, *_L40S) for size, count in _SIZES.items()},
    "ml.g4dn.xlarge": _gpus(1, *_T4),
    "ml.g4dn.12xlarge": _gpus(4, *_T4),
    "ml.p3.2xlarge": _gpus(1, *_V100),
    "ml.p3.8xlarge": _gpus(4, *_V100),
    "ml.p4d.24xlarge": _gpus(8, *_A100),
    "ml.p4de.24xlarge": _gpus(8, 80.0, 2000.0, 290.0),
    "ml.p5.48xlarge": _gpus(8, *_H100),
    "ml.p5e.48xlarge": _gpus(8, *_H200),
    "ml.p5en.48xlarge": _gpus(8, *_H200),
    "ml.inf2.xlarge": Device(2, *_NEURON, "neuron"),
    "ml.inf2.8xlarge": Device(2, *_NEURON, "neuron"),
    "ml.inf2.24xlarge": Device(12, *_NEURON, "neuron"),
    "ml.inf2.48xlarge": Device(24, *_NEURON, "neuron"),
    "ml.trn1.2xlarge": Device(2, *_NEURON, "neuron"),
    "ml.trn1.32xlarge": Device(32, *_NEURON, "neuron"),
}
"""Instance types; the count is of GPUs, or of Neuron cores. A type that is not here is a slow processor without any."""
PROCESSOR = Device(1, 32.0, 60.0, 1.0, "cpu")
USED = 0.6
STEP_SECONDS = 0.004
SEQUENCE_SECONDS = 0.00025
_BILLIONS = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)b(?![a-z0-9])")
_BYTES = {"fp32": 4.0, "float32": 4.0, "int8": 1.0, "fp8": 1.0}
_DEGREES = (
    "OPTION_TENSOR_PARALLEL_DEGREE",
    "TENSOR_PARALLEL_DEGREE",
    "SM_NUM_GPUS",
    "SM_VLLM_TENSOR_PARALLEL_SIZE",
    "HF_NUM_CORES",
    "SM_SGLANG_TP_SIZE",
)
_BATCHES = ("OPTION_MAX_ROLLING_BATCH_SIZE", "MAX_BATCH_SIZE", "MAX_CONCURRENT_REQUESTS", "SM_VLLM_MAX_NUM_SEQS")
_POSITIONS = ("OPTION_N_POSITIONS", "OPTION_MAX_MODEL_LEN", "MAX_TOTAL_TOKENS", "SM_VLLM_MAX_MODEL_LEN")


class Served(NamedTuple):
    """A container on an instance: how it spends its time, and the most tokens of a request."""

    service: Batching
    positions: int | None
    failure: str | None = None
    """Why it would not start."""


def served(instance_type: str, container: Mapping[str, Any], speed: float) -> Served:
    """What serves a model there.

    Args:
        instance_type: Where it runs.
        container: ``Image``, ``Environment`` and the model's address.
        speed: How many times faster than made up.
    """
    device = MADE_UP.get(instance_type, PROCESSOR)
    environment = container.get("Environment", {})
    degree = _number(environment, _DEGREES)
    failure = None
    if degree is not None and degree > device.accelerators:
        failure = f"tensor parallel degree {degree} is more than the {device.accelerators} accelerators of {instance_type}"
    used = min(degree or device.accelerators, device.accelerators)
    billions = _billions(container)
    weights = billions * _BYTES.get(environment.get("OPTION_DTYPE", "fp16").lower(), 2.0)
    room = used * device.gigabytes * 0.9 - weights
    if room <= 0 and failure is None and device.kind != "cpu":
        failure = f"{weights:.0f} GB of weights do not fit into the memory of {instance_type}"
    service = Batching(
        prefill_tokens_per_second=speed * used * device.teraflops * 1e12 * USED / (2 * billions * 1e9),
        decode_seconds=(STEP_SECONDS + weights / (used * device.gigabytes_per_second * USED)) / speed,
        decode_seconds_per_sequence=SEQUENCE_SECONDS / speed,
        batch_limit=_number(environment, _BATCHES) or (4 if device.kind == "neuron" else 32),
        kv_tokens=max(2048, round(room * 1e9 / (billions * 75_000))),
        jitter=0.02,
    )
    return Served(service, _number(environment, _POSITIONS), failure)


def _billions(container: Mapping[str, Any]) -> float:
    environment = container.get("Environment", {})
    source = container.get("ModelDataSource", {}).get("S3DataSource", {}).get("S3Uri", "")
    named = " ".join([environment.get("HF_MODEL_ID", ""), environment.get("SM_VLLM_MODEL", ""), source]).lower()
    found = [float(size) for size in _BILLIONS.findall(named.replace("_", "-"))]
    return max(found, default=7.0)


def _number(environment: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        if environment.get(name, "").isdecimal():
            return max(1, int(environment[name]))
    return None
