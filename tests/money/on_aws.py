"""A run of two SageMaker endpoints, as a process of its own: DIRECTORY SECONDS PREFIX_OF_NAMES."""

import sys
from pathlib import Path

from fmbench import Benchmark, Concurrency, Parameters, Prompt
from fmbench.benchmark import undoing
from fmbench.cli.running import run_benchmark
from fmbench.deployers import SageMakerGPU, SageMakerNeuron

ROLE = "arn:aws:iam::000000000000:role/SageMakerRole"


def main():
    prefix = sys.argv[3]
    told = {"role": ROLE, "ready_seconds": 60, "env": {"HF_TOKEN": "hf_very_secret"}}
    llama = "meta-llama/Llama-2-7b-hf"
    gpu = SageMakerGPU(name=f"{prefix}gpu", model_id=llama, instance_type="ml.g5.12xlarge", **told)
    neuron = SageMakerNeuron(
        name=f"{prefix}neuron", model_id=llama, instance_type="ml.inf2.48xlarge", tensor_parallel_degree=24, **told
    )
    benchmark = Benchmark(
        deployers=[gpu, neuron],
        prompts=[Prompt(id=f"p{number}", text=f"Tell me about {number} things, please.", tokens=8) for number in range(12)],
        loads=Concurrency(2, seconds=float(sys.argv[2])),
        parameters=Parameters(max_new_tokens=6),
        max_hours=1,
    )
    undoing.LEFTOVER_SECONDS = 1.0 if prefix else 30.0
    return run_benchmark(benchmark, Path(sys.argv[1]), as_json=False)


if __name__ == "__main__":
    sys.exit(main())
