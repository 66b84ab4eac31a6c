"""Models of one's own choice in AWS's serving containers, on GPUs and on Inferentia or Trainium."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import PositiveInt, model_validator
from pydantic.dataclasses import dataclass

from fmbench import checked
from fmbench.deployers.masking import shown_variables
from fmbench.deployers.priced import STRICT
from fmbench.deployers.sagemaker.catalogue import Accelerator, Engine, engine_of_image, image_uri, instance
from fmbench.deployers.sagemaker.control import Aws
from fmbench.deployers.sagemaker.deployed import Deployed
from fmbench.deployers.sagemaker.plan import ModelData, Wanted, refuse_degree, refuse_misfit

__all__ = ["SageMakerGPU", "SageMakerNeuron"]

MOUNTED = "/opt/ml/model"
"""Where a container finds the files of ``model_data``."""
STARTUP_SECONDS = 1200
COMPILING_SECONDS = 3600


@checked
@dataclass(frozen=True, kw_only=True, config=STRICT)
class _Container(Deployed):
    """A model in a serving container.

    Args:
        model_id: The model's name on the Hugging Face hub.
        model_data: Where its files are instead: a folder of S3, or a ``.tar.gz`` there.
        version: The version of the serving software; the newest that is known by default.
        dtype: The weights' number format, such as ``fp16``.
        tensor_parallel_degree: Over how many GPUs or NeuronCores one copy of the model is spread; all by default.
        max_batch_size: How many requests are worked on at once.
    """

    model_id: str | None = None
    model_data: str | None = None
    version: str | None = None
    dtype: str | None = None
    tensor_parallel_degree: PositiveInt | Literal["max"] | None = None
    max_batch_size: PositiveInt | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        kind = instance(self.instance_type)
        if kind.accelerator != self._accelerator():
            raise ValueError(f"{kind.name} has {kind.device}: {self._remedy()}")
        if self.model_id is None and self.model_data is None and self.image_uri is None:
            raise ValueError("give model_id, model_data or image_uri")
        if isinstance(self.tensor_parallel_degree, int):
            refuse_degree("tensor_parallel_degree", str(self.tensor_parallel_degree), kind)
        refuse_misfit(self._in_region("us-east-1"))  # any region will do
        return self

    def _accelerator(self) -> Accelerator:
        raise NotImplementedError

    def _remedy(self) -> str:
        raise NotImplementedError

    def _engine(self) -> Engine | None:
        """What serves: as given, or by the image; ``None`` for an image of one's own."""
        raise NotImplementedError

    def _variables(self) -> Mapping[str, str | int | None]:
        """What the options mean to the container."""
        raise NotImplementedError

    def _longest_startup(self) -> int:
        return STARTUP_SECONDS

    def _stem(self) -> str:
        source = self.model_id or self.model_data or (self.image_uri or "").rpartition("/")[2]
        return source.rstrip("/").rpartition("/")[2]

    def _known(self, region: str) -> dict[str, Any]:
        wanted = self._in_region(region)
        told = {"image": wanted.image_uri, "environment": shown_variables(wanted.environment)}
        return told | {"model_source": self.model_data or self.model_id}

    async def _wanted(self, aws: Aws) -> Wanted:
        return self._in_region(aws.region)

    def _in_region(self, region: str) -> Wanted:
        given = {name: str(value) for name, value in self._variables().items() if value is not None}
        return Wanted(
            image_uri=self.image_uri or image_uri(self._engine() or "lmi", self._accelerator(), region, self.version),
            instance_type=self.instance_type,
            instance_count=self.instance_count,
            environment=given | dict(self.env),
            model_data=None if self.model_data is None else ModelData(uri=self.model_data),
            ami_version=self.ami_version,
            download_timeout_seconds=self.download_timeout_seconds or STARTUP_SECONDS,
            startup_timeout_seconds=self.startup_timeout_seconds or self._longest_startup(),
            provision_timeout_seconds=self.provision_timeout_seconds,
        )

    @property
    def _source(self) -> str | None:
        """What the container is to load."""
        return self.model_id if self.model_data is None else MOUNTED


@checked
@dataclass(frozen=True, kw_only=True, config=STRICT)
class SageMakerGPU(_Container):
    """Deploys a model on GPUs (needs the ``aws`` extra): g5, g6, g6e, p4d, p5 and others.

    Args:
        engine: The serving software: ``lmi`` (AWS's Large Model Inference), ``tgi``, ``vllm`` or ``sglang``; by
            ``image_uri`` where that is given, else ``lmi``.
    """

    engine: Engine | None = None

    def _accelerator(self) -> Accelerator:
        return "gpu"

    def _remedy(self) -> str:
        return "use SageMakerNeuron for Inferentia and Trainium, or an instance with GPUs"

    def _engine(self) -> Engine | None:
        return self.engine or (engine_of_image(self.image_uri) if self.image_uri is not None else "lmi")

    def _variables(self) -> Mapping[str, str | int | None]:
        engine, source, batch = self._engine(), self._source, self.max_batch_size
        whole = self.tensor_parallel_degree in {None, "max"}
        degree = instance(self.instance_type).cores if whole else self.tensor_parallel_degree
        if engine == "lmi":
            return {
                "HF_MODEL_ID": source,
                "OPTION_TENSOR_PARALLEL_DEGREE": "max" if whole else degree,
                "OPTION_MAX_ROLLING_BATCH_SIZE": batch,
                "OPTION_DTYPE": self.dtype,
            }
        if engine == "tgi":
            return {
                "HF_MODEL_ID": source,
                "SM_NUM_GPUS": degree,
                "MAX_CONCURRENT_REQUESTS": batch,
                "DTYPE": self.dtype,
            }
        if engine == "vllm":
            return {
                "SM_VLLM_MODEL": source,
                "SM_VLLM_TENSOR_PARALLEL_SIZE": degree,
                "SM_VLLM_MAX_NUM_SEQS": batch,
                "SM_VLLM_DTYPE": self.dtype,
            }
        if engine == "sglang":
            return {
                "SM_SGLANG_MODEL_PATH": source,
                "SM_SGLANG_TP_SIZE": degree,
                "SM_SGLANG_MAX_RUNNING_REQUESTS": batch,
                "SM_SGLANG_DTYPE": self.dtype,
            }
        return {"HF_MODEL_ID": source}


@checked
@dataclass(frozen=True, kw_only=True, config=STRICT)
class SageMakerNeuron(_Container):
    """Deploys a model on Inferentia or Trainium (needs the ``aws`` extra): inf2, trn1 and others.

    The model is compiled while the endpoint starts, unless it was before; that may take most of an hour.

    Args:
        engine: The serving software: ``lmi`` or ``tgi``; by ``image_uri`` where that is given, else ``lmi``.
        n_positions: The longest prompt and reply together, in tokens. It is compiled in.
        rolling_batch: How LMI batches requests, such as ``auto``, ``vllm`` or ``tnx``.
        optimize_level: How much the compiler is to optimise: 1, 2 or 3.
    """

    engine: Literal["lmi", "tgi"] | None = None
    n_positions: PositiveInt = 4096
    rolling_batch: str = "auto"
    optimize_level: Literal[1, 2, 3] | None = None

    def _accelerator(self) -> Accelerator:
        return "neuron"

    def _remedy(self) -> str:
        return "use SageMakerGPU for GPUs, or an instance with Inferentia or Trainium"

    def _engine(self) -> Engine | None:
        return self.engine or (engine_of_image(self.image_uri) if self.image_uri is not None else "lmi")

    def _longest_startup(self) -> int:
        return COMPILING_SECONDS

    def _variables(self) -> Mapping[str, str | int | None]:
        whole = self.tensor_parallel_degree in {None, "max"}
        degree = instance(self.instance_type).cores if whole else self.tensor_parallel_degree
        if self._engine() == "tgi":
            return {
                "HF_MODEL_ID": self._source,
                "HF_NUM_CORES": degree,
                "HF_SEQUENCE_LENGTH": self.n_positions,
                "MAX_TOTAL_TOKENS": self.n_positions,
                "HF_BATCH_SIZE": self.max_batch_size,
                "MAX_BATCH_SIZE": self.max_batch_size,
                "HF_AUTO_CAST_TYPE": self.dtype,
            }
        return {
            "HF_MODEL_ID": self._source,
            "OPTION_TENSOR_PARALLEL_DEGREE": degree,
            "OPTION_N_POSITIONS": self.n_positions,
            "OPTION_ROLLING_BATCH": self.rolling_batch,
            "OPTION_MAX_ROLLING_BATCH_SIZE": self.max_batch_size,
            "OPTION_DTYPE": self.dtype,
            "OPTION_NEURON_OPTIMIZE_LEVEL": self.optimize_level,
            "OPTION_MODEL_LOADING_TIMEOUT": COMPILING_SECONDS,
        }
