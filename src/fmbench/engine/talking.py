"""A conversation as it goes on: what was said, and the next turn, which carries the model's own answer."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from anyio import Event

from fmbench.interfaces import Session
from fmbench.load import Planned
from fmbench.types import Completion, Parameters, Prompt, Record, Request

__all__ = ["Talk", "Turn", "as_planned"]


class Turn:
    """One turn on its way: the prompt and the request as they are sent, and what became of it."""

    __slots__ = ("answer", "ended", "heard", "prompt", "request")

    def __init__(self, prompt: Prompt, request: Request) -> None:
        self.prompt: Prompt = prompt
        self.request: Request = request
        self.heard: Event = Event()
        self.answer: str | None = None
        self.ended: int = 0

    def hear(self, record: Record, completion: Completion | None, ended: int) -> None:
        """The reply is decoded; only one that is whole can be answered to."""
        self.answer = completion.text if completion is not None and record.status == "ok" else None
        self.ended = ended
        self.heard.set()


class Talk:
    """One session.

    Args:
        turns: What is planned of it, its first turn first.
        prompts: What the plan's numbers of prompts mean.
        request: The first turn's.
    """

    def __init__(self, turns: Sequence[Planned], prompts: Sequence[Prompt], request: Request) -> None:
        self.coming: deque[Planned] = deque(turns)
        self._prompts = prompts
        first = prompts[turns[0].prompt]
        self._said = _messages(first)
        self.turn: Turn = Turn(first, request)
        """The one to be sent, or under way."""

    def go_on(self, session: Session, parameters: Parameters) -> str | None:
        """Make the next turn out of the last one's answer; the reason where there can be none."""
        if self.turn.answer is None:
            return "the turn before it has no answer"
        prompt = _grown(self._said, self.turn.answer, self._prompts[self.coming[0].prompt])
        self._said = list(prompt.messages or ())
        try:
            self.turn = Turn(prompt, session.encode(prompt, parameters))
        except Exception as error:  # noqa: BLE001 - a turn that cannot be said is a value in its record
            return f"it cannot be encoded: {type(error).__name__}: {error}"
        return None


def as_planned(prompts: Sequence[Prompt]) -> Iterator[Prompt]:
    """Arranged prompts as they will be sent, a name standing for each answer that is not known yet."""
    said: list[Mapping[str, Any]] = []
    for prompt in prompts:
        grown = prompt if prompt.after is None else _grown(said, f"<the answer to {prompt.after}>", prompt)
        said = _messages(grown)
        yield grown


def _grown(said: Sequence[Mapping[str, Any]], answer: str, prompt: Prompt) -> Prompt:
    """A turn with all that was said before it; how long that is the server tells."""
    messages = [*said, {"role": "assistant", "content": answer}, *_messages(prompt)]
    return replace(prompt, text=None, messages=messages, tokens=None)


def _messages(prompt: Prompt) -> list[Mapping[str, Any]]:
    return [{"role": "user", "content": prompt.text}] if prompt.messages is None else list(prompt.messages)
