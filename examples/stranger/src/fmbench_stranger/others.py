"""A prompt source and a reporter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

from fmbench import Prompt, Result


@dataclass(frozen=True)
class Alphabet:
    """The alphabet, from each of its letters on.

    Args:
        count: How many prompts.
    """

    count: int = 26

    def __iter__(self) -> Iterator[Prompt]:
        """The prompts."""
        for number in range(self.count):
            start = number % 26
            yield Prompt(id=f"letter-{number}", text=ascii_lowercase[start:] + ascii_lowercase[:start])


@dataclass(frozen=True)
class Postcard:
    """A line for each experiment."""

    file_name: str = "postcard.txt"

    def report(self, result: Result, directory: Path) -> Sequence[Path]:
        """Write it."""
        lines = [f"{experiment.name}: {experiment.counts['ok']} letters came back" for experiment in result.experiments]
        path = directory / self.file_name
        path.write_text("\n".join(["Greetings!", *lines]) + "\n", encoding="utf-8")
        return [path]
