"""Prompts of your own: anything that yields `Prompt`, the same ones each time. A list of them will do.

Usage: python custom_prompts.py FOLDER
"""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from fmbench import Benchmark, Concurrency, Prompt
from fmbench.testing import InProcess, check_prompt_source


@dataclass(frozen=True)
class Sums:
    """Arithmetic of chosen length, from a seed."""

    count: int
    terms: int
    seed: int = 0

    def __iter__(self) -> Iterator[Prompt]:
        """The prompts."""
        draw = random.Random(self.seed)
        for number in range(self.count):
            terms = " + ".join(str(draw.randrange(100)) for _ in range(self.terms))
            yield Prompt(id=f"sum-{number}", text=f"What is {terms} ?", labels={"terms": self.terms})


def main(folder: str) -> None:
    """Measure two prompt sets against one endpoint."""
    check_prompt_source(Sums(20, 3))
    benchmark = Benchmark(
        deployers=InProcess(), prompts={"short": Sums(20, 3), "long": Sums(20, 30)}, loads=Concurrency(2, requests=20)
    )
    for experiment in benchmark.run(folder).experiments:
        print(f"{experiment.name}: prompts of {experiment.prompt_tokens.p50} tokens take {experiment.latency.p50} s")


if __name__ == "__main__":
    main(sys.argv[1])
