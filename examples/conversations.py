"""Conversations: each turn carries the model's own answers, and sessions are what the load keeps under way.

Usage: python conversations.py FOLDER
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from fmbench import Benchmark, Concurrency, Prompt
from fmbench.testing import InProcess, check_prompt_source

QUESTIONS = ("What is a monsoon?", "When does it come?", "Who waits for it?")


@dataclass(frozen=True)
class Talks:
    """Conversations of three questions, with time to think before the second and the third."""

    count: int
    pause_seconds: float

    def __iter__(self) -> Iterator[Prompt]:
        """The turns."""
        for number in range(self.count):
            last = None
            for turn, question in enumerate(QUESTIONS, 1):
                name = f"talk-{number}.{turn}"
                pause = 0.0 if last is None else self.pause_seconds
                yield Prompt(id=name, text=f"({number}) {question}", after=last, pause_seconds=pause)
                last = name


def main(folder: str) -> None:
    """Keep four sessions under way, and tell what each turn cost."""
    check_prompt_source(Talks(20, 0.01))
    # `InProcess` stands for an endpoint; `LlamaCpp(slots=4)` or any other deployer goes in its place.
    benchmark = Benchmark(deployers=InProcess(), prompts=Talks(20, 0.01), loads=Concurrency(4, requests=60))
    records = benchmark.run(folder).records
    measured = records[(records["phase"] == "measured") & (records["status"] == "ok")]
    for turn, rows in measured.groupby("turn"):
        print(f"turn {turn}: {len(rows)} requests, {rows['prompt_tokens'].mean():.0f} prompt tokens on average")


if __name__ == "__main__":
    main(sys.argv[1])
