"""Run by ``nox -s bare`` where no extra is installed: fmbench imports, measures, and says which extra is missing."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from fmbench import Benchmark, Concurrency, ConfigError, Prompt
from fmbench.deployers import SageMakerEndpoint
from fmbench.testing import Echo, InProcess


def main() -> None:
    """Check it."""
    extras = ("xllamacpp", "gguf", "transformers", "torch", "boto3")
    there = [name for name in extras if importlib.util.find_spec(name) is not None]
    assert not there, f"an extra is installed: {there}"
    with tempfile.TemporaryDirectory() as folder:
        prompts = [Prompt(id=str(number), text=f"prompt {number}") for number in range(20)]
        benchmark = Benchmark(
            deployers=InProcess(), prompts=prompts, loads=Concurrency(2, requests=20), invoker=Echo(), reporters="html"
        )
        result = benchmark.run(Path(folder) / "run")
        assert result.experiments[0].counts["ok"] == 22
        assert not result.problems
        for deployer, extra in (("llamacpp", "local"), (SageMakerEndpoint("any", region="us-east-1"), "aws")):
            told = ""
            try:
                Benchmark(deployers=deployer, prompts=prompts, loads=Concurrency(1)).run(Path(folder) / "other")
            except ConfigError as error:
                told = str(error)
            assert f'pip install "fmbench-harness[{extra}]"' in told, told
    print("the wheel works without extras")


if __name__ == "__main__":
    main()
