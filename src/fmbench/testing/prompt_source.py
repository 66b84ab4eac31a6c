"""What every prompt source promises."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence

from fmbench import Prompt, PromptSource
from fmbench.testing.asserting import require

__all__ = ["check_prompt_source"]


class _Words:
    """A tokenizer of words."""

    def count(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]


def check_prompt_source(source: PromptSource | Sequence[Prompt]) -> None:
    """Check that a source yields prompts, at least one, the same each time, each with an id of its own; and ``counted_by``.

    Args:
        source: The source, or a list of prompts.

    Raises:
        AssertionError: it breaks a promise.
    """
    state = random.getstate()
    prompts = _drawn(source)
    require(random.getstate() == state, "iterating draws from the random module's own state: use random.Random(seed)")
    require(iter(source) is not iter(source), "the source is its own iterator, so that it can be drawn only once")
    require(prompts == _drawn(source), "iterating twice gave different prompts: randomness must come from a seed")
    counted_by = getattr(source, "counted_by", None)
    if counted_by is None:
        return
    counted = _drawn(counted_by(_Words()))
    require([prompt.id for prompt in counted] == [prompt.id for prompt in prompts], "counted_by gave other prompts")
    require(
        all(prompt.tokens is not None for prompt in counted if prompt.text is not None and prompt.after is None),
        "counted_by left prompts uncounted",
    )
    require(_drawn(source) == prompts, "counted_by changed the source instead of returning another")


def _drawn(source: Iterable[Prompt]) -> list[Prompt]:
    prompts = list(source)
    require(prompts, "the source yields no prompt")
    for prompt in prompts:
        require(isinstance(prompt, Prompt), f"the source yields {prompt!r}, which is not a fmbench.Prompt")
    ids = [prompt.id for prompt in prompts]
    require(len(set(ids)) == len(ids), "two prompts have one id")
    lost = {prompt.after for prompt in prompts} - {None, *ids}
    require(not lost, f"a prompt continues {min(map(str, lost), default='')!r}, which the source does not yield")
    return prompts
