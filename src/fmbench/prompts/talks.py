"""Rows that hold conversations, in ShareGPT's form or as chat messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from fmbench.prompts.rows import Row, RowError

__all__ = ["COLUMNS", "Conversation", "conversation_of"]

COLUMNS = ("conversations", "messages")
"""Where conversations stand, unless another column is named."""
_HUMAN = frozenset({"human", "user"})
_MODEL = frozenset({"gpt", "assistant", "chatgpt", "bing", "bard", "model"})


class Conversation(NamedTuple):
    """What was said in a row."""

    system: str | None
    questions: tuple[str, ...]
    """One a turn; what a person said in several messages is one."""
    answer: str | None
    """The first question's, as it was given then."""


def conversation_of(row: Row, column: str | None) -> Conversation | None:
    """A row's conversation; ``None`` where it holds none.

    Args:
        row: The row.
        column: Where it stands, if not in one of ``COLUMNS``.

    Raises:
        RowError: what stands there is not a list of messages, or nobody asks anything.
    """
    name = column or next((name for name in COLUMNS if name in row.values), None)
    if name is None or (column is None and "prompt" in row.values):
        return None
    said = _said(row, name)
    system = "\n\n".join(text for who, text in said if who == "system") or None
    questions: list[str] = []
    answer, last = None, ""
    for who, text in said:
        if who in _HUMAN and last in _HUMAN:
            questions[-1] += f"\n\n{text}"
        elif who in _HUMAN:
            questions.append(text)
        elif who in _MODEL and len(questions) == 1 and answer is None:
            answer = text
        last = who if who in _HUMAN or who in _MODEL else last
    if not questions:
        raise RowError(row.place, "nobody asks anything", f"the conversation in {name!r} holds no message of a person")
    return Conversation(system, tuple(questions), answer)


def _said(row: Row, name: str) -> list[tuple[str, str]]:
    turns = row.values.get(name)
    if not isinstance(turns, list):
        kind = "nothing" if turns is None else f"a {type(turns).__name__}"
        raise RowError(row.place, "no conversation", f"the field {name!r} is {kind}, not a list of messages")
    said = []
    for number, turn in enumerate(turns, 1):
        who, text = _message(turn)
        if not isinstance(who, str) or not isinstance(text, str):
            told = f"message {number} of {name!r} is not {{'from': …, 'value': …}} nor {{'role': …, 'content': …}} with texts"
            raise RowError(row.place, "no conversation", told)
        said.append((who, text))
    return said


def _message(turn: Any) -> tuple[Any, Any]:
    if not isinstance(turn, Mapping):
        return None, None
    return turn.get("from", turn.get("role")), turn.get("value", turn.get("content"))
