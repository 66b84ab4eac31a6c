"""Question-answering prompts out of the documentation topics that Python brings along: natural text without a download."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import ConfigDict, PositiveInt
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, Prompt, checked

__all__ = ["PythonTopics"]

TEMPLATE = """Use the following part of the Python language reference to answer the question. Use three sentences at most.

{passage}

Question: What does the Python language reference say about {topic}?
Answer:"""
LENGTHS = (300, 600, 900, 1200, 1500)
"""Characters of a passage, in turn: about 100 to 400 tokens."""
LEAST = 200


@checked
@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class PythonTopics:
    """Distinct questions, each with a passage to answer it from.

    Args:
        count: How many.
        name: What people call the prompt set.
    """

    count: PositiveInt = 150
    name: str = "python-topics"

    def __iter__(self) -> Iterator[Prompt]:
        """The prompts.

        Raises:
            ConfigError: there are not so many.
        """
        passages = list(_passages())
        if len(passages) < self.count:
            raise ConfigError(f"count: the topics give {len(passages)} prompts, not {self.count}")
        # Spread over the whole text, so that any number of prompts covers it.
        for number in range(self.count):
            topic, passage = passages[number * len(passages) // self.count]
            text = TEMPLATE.format(passage=passage, topic=topic)
            yield Prompt(id=f"topic-{number:04d}", text=text, labels={"topic": topic, "language": "en"})


def _passages() -> Iterator[tuple[str, str]]:
    """Every topic's text, cut between lines into passages of several lengths."""
    from pydoc_data.topics import topics  # noqa: PLC0415 - half a megabyte of text

    number = 0
    for topic, text in sorted(topics.items()):
        passage = ""
        for line in text.splitlines(keepends=True):
            passage += line
            if len(passage) >= LENGTHS[number % len(LENGTHS)]:
                yield topic, passage.strip("\n")
                passage, number = "", number + 1
        if len(passage) >= LEAST:
            yield topic, passage.strip("\n")
            number += 1
