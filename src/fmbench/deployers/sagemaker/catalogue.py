"""What is known of instance types and of AWS's container images: dated tables, and rules read off them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Any, Literal

import orjson

__all__ = [
    "Accelerator",
    "Engine",
    "Instance",
    "accelerator_of_image",
    "ami_version",
    "engine_of_image",
    "image_uri",
    "instance",
    "known_images",
    "known_instances",
]

Accelerator = Literal["gpu", "neuron", "cpu"]
Engine = Literal["lmi", "tgi", "vllm", "sglang"]

CUDA_13_FAMILIES = ("g4dn", "g5", "g6", "g6e", "g7e", "p4d", "p4de", "p5", "p5e", "p5en", "p6-b200", "p6-b300")
"""Whose machines boot with a driver too old for CUDA 13, unless told otherwise."""
CUDA_13_AMI = "al2023-ami-sagemaker-inference-gpu-4-1"
_ENGINES: Mapping[str, Engine] = {"tgi-inference": "tgi", "djl-inference": "lmi", "vllm": "vllm", "sglang": "sglang"}
"""What names of AWS's repositories tell; the first that fits counts."""
_FRAMEWORKS: Mapping[tuple[Engine, Accelerator], str] = {
    ("lmi", "gpu"): "djl-lmi",
    ("lmi", "neuron"): "djl-neuronx",
    ("tgi", "gpu"): "huggingface-llm",
    ("tgi", "neuron"): "huggingface-llm-neuronx",
    ("vllm", "gpu"): "vllm",
    ("sglang", "gpu"): "sglang",
}
"""What the SDK calls them."""
_NEURON = re.compile(r"neuron|inf[12]\b|trn[12]")
_GPU = re.compile(r"\bgpu\b|[-:]cu\d{2,3}\b|cuda|lmi\d")
_CPU = re.compile(r"\bcpu\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """An instance type.

    Args:
        name: Such as ``ml.inf2.48xlarge``.
        accelerator: What it computes with.
        device: The accelerator's name.
        cores: How many parts a model can be spread over: GPUs, or NeuronCores; 0 without an accelerator.
        degrees: Those parts' numbers that its compiler takes; empty where any that divides ``cores`` will do.
    """

    name: str
    accelerator: Accelerator
    device: str
    cores: int
    degrees: tuple[int, ...] = ()

    @property
    def family(self) -> str:
        """Such as ``inf2``."""
        return self.name.split(".")[1]

    @property
    def core_name(self) -> str:
        """What a core is called."""
        return "NeuronCores" if self.accelerator == "neuron" else "GPUs"


def instance(name: str) -> Instance:
    """What is known of an instance type.

    Raises:
        ValueError: it is not known; the message names the nearest.
    """
    table = _instances()
    found = table["types"].get(name)
    family = name.split(".")[1] if re.fullmatch(r"ml\.[a-z0-9-]+\.[a-z0-9]+", name) else None
    if found is not None and family is not None:
        degrees = tuple(table["neuron_degrees"].get(family, ()))
        return Instance(name=name, degrees=tuple(one for one in degrees if one <= found["cores"]), **found)
    if family in table["cpu_families"]:
        return Instance(name=name, accelerator="cpu", device="CPU", cores=0)
    near = get_close_matches(name if name.startswith("ml.") else f"ml.{name}", table["types"], n=1, cutoff=0.7)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"there is no instance type {name!r} that endpoints run on{hint}")


def image_uri(engine: Engine, accelerator: Accelerator, region: str, version: str | None = None) -> str:
    """The newest image of an engine that is known, or that of a version.

    Raises:
        ValueError: there is none, or not of that version.
    """
    table = _images()
    fitting = [one for one in table["images"] if (one["engine"], one["accelerator"]) == (engine, accelerator)]
    if not fitting:
        raise ValueError(f"no image of {engine} for {accelerator} is known; give image_uri")
    chosen = next((one for one in fitting if version in {None, one["version"]}), None)
    if chosen is None:
        if (found := _by_the_sdk(engine, accelerator, region, version)) is not None:
            return found
        known = ", ".join(one["version"] for one in fitting)
        raise ValueError(
            f"no image of {engine} {version} for {accelerator} is known (known: {known}); give image_uri, or install "
            'the extra "sagemaker", which knows more'
        )
    account = table["accounts"].get(region, table["account"])
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"{account}.dkr.ecr.{region}.{domain}/{chosen['repository']}:{chosen['tag']}"


def _by_the_sdk(engine: Engine, accelerator: Accelerator, region: str, version: str | None) -> str | None:
    """An image that the SDK knows, where the extra ``sagemaker`` is installed."""
    framework = _FRAMEWORKS.get((engine, accelerator))
    try:
        image_uris: Any = import_module("sagemaker.core.image_uris")  # takes seconds, so only for what is not known here
    except ImportError:
        return None
    kind = "ml.inf2.48xlarge" if accelerator == "neuron" else "ml.g5.12xlarge"
    try:
        return str(image_uris.retrieve(framework, region, version=version, instance_type=kind, image_scope="inference"))
    except ValueError:
        return None


def engine_of_image(image: str) -> Engine | None:
    """What serves in a container; ``None`` where the image's name does not tell."""
    name = image.rpartition("/")[2]
    return next((engine for part, engine in _ENGINES.items() if part in name), None)


def accelerator_of_image(image: str) -> Accelerator | None:
    """What an image is built for; ``None`` where its name does not tell."""
    name = image.rpartition("/")[2]
    if _NEURON.search(name):
        return "neuron"
    if _GPU.search(name):
        return "gpu"
    return "cpu" if _CPU.search(name) else None


def ami_version(image: str, kind: Instance) -> str | None:
    """The ``InferenceAmiVersion`` that an image needs on an instance type; ``None`` for SageMaker's own choice."""
    return CUDA_13_AMI if "cu130" in image.rpartition("/")[2] and kind.family in CUDA_13_FAMILIES else None


def known_instances() -> tuple[Instance, ...]:
    """Every instance type with accelerators."""
    return tuple(instance(name) for name in _instances()["types"])


def known_images() -> tuple[Mapping[str, str], ...]:
    """Every image, the newest of an engine first: ``engine, accelerator, version, repository, tag, source``."""
    table = _images()
    return tuple({**one, "source": table["sources"][one["source"]]} for one in table["images"])


@cache
def _instances() -> Any:
    return orjson.loads((files("fmbench.deployers.sagemaker") / "instances.json").read_bytes())


@cache
def _images() -> Any:
    return orjson.loads((files("fmbench.deployers.sagemaker") / "images.json").read_bytes())
