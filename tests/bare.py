"""Run by ``nox -s bare`` where no extra is installed: fmbench imports, measures, and says which extra is missing."""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

from fmbench import Benchmark, Concurrency, ConfigError, Prompt
from fmbench.testing import Echo, InProcess


def main() -> None:
    """Check it."""
    absent = [name for name in ("xllamacpp", "gguf", "transformers", "torch") if importlib.util.find_spec(name) is None]
    assert len(absent) == 4, f"an extra is installed: {absent}"
    with tempfile.TemporaryDirectory() as folder:
        prompts = [Prompt(id=str(number), text=f"prompt {number}") for number in range(20)]
        benchmark = Benchmark(
            deployers=InProcess(), prompts=prompts, loads=Concurrency(2, requests=20), invoker=Echo(), reporters="html"
        )
        result = benchmark.run(Path(folder) / "run")
        assert result.experiments[0].counts["ok"] == 22
        assert not result.problems
        told = ""
        try:
            Benchmark(deployers="llamacpp", prompts=prompts, loads=Concurrency(1)).run(Path(folder) / "other")
        except ConfigError as error:
            told = str(error)
        assert 'pip install "fmbench-harness[local]"' in told, told
    print("the wheel works without extras")


if __name__ == "__main__":
    main()
