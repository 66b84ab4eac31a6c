"""From rows to prompts: template, language, length, order, limit; what is left out is counted by reason."""

from __future__ import annotations

import logging
import random
import threading
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field, replace
from fnmatch import fnmatchcase
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, Self

from pydantic import ConfigDict, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass

from fmbench import ConfigError, Prompt, Tokenizer, checked, load_tokenizer
from fmbench.prompts.rows import Row, RowError
from fmbench.prompts.talks import Conversation, conversation_of
from fmbench.prompts.template import Template, load_template

__all__ = ["RowSource"]

logger: logging.Logger = logging.getLogger("fmbench.prompts")
LANGUAGE = "language"
CONVERSATION = "conversation"
BATCH = 1000
"""Rows that are held at once and counted in one go."""
LONGEST_LABEL = 100
MOST_WARNINGS = 10
"""Broken rows that are told one by one."""

Span = tuple[int, int]


class _Candidate(NamedTuple):
    """A prompt, its place in the seed's order, and the later turns where it begins a conversation."""

    order: float
    prompt: Prompt
    later: tuple[Prompt, ...] = ()


class _Reading(NamedTuple):
    """What one pass over the rows gave: prompts in the seed's order, the lengths of all, and what was left out before."""

    candidates: list[_Candidate]
    lengths: Counter[int]
    dropped: Counter[str]


class _Pass:
    """One pass over the rows, shared by buckets of one source, so that rows are read and counted once.

    It is made when first asked for, and again for another tokenizer or template.
    """

    def __init__(self, spans: Sequence[Span] | None) -> None:
        self.spans = spans
        self._lock = threading.Lock()
        self._known: list[tuple[Any, Any, _Reading]] = []

    def of(self, source: RowSource) -> _Reading:
        with self._lock:
            for tokenizer, template, reading in self._known:
                if tokenizer == source.tokenizer and template == source.template:
                    return reading
            reading = source._read(self.spans)  # noqa: SLF001 - the two are one mechanism
            self._known.append((source.tokenizer, source.template, reading))
            return reading


@checked
@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class RowSource:
    """Prompts made of rows, whatever the rows come from; ``Dataset`` and ``HuggingFace`` are two.

    Args:
        template: A text with fields in braces, or a file of it; or, where models differ, a mapping of deployment or model
            names (``*`` stands for anything) to those. Without one, the column ``prompt`` is the prompt.
        fields: Which column a template's field comes from, where it has another name (LongBench's ``input`` is found
            as ``question``); ``language`` and ``conversation`` name the columns of those.
        language: Keep only rows of this language.
        tokens: Keep only prompts of so many tokens, both ends included; of a conversation its first turn counts.
        tokenizer: Counts tokens: a folder, or a ``Tokenizer``; the benchmark's where none is given.
        turns: How many turns of a row's conversation are sent, each after the reply to the one before; ``None`` for all.
        pause_seconds: Think time before each turn but the first.
        limit: Keep only so many prompts; a conversation counts as one.
        seed: Shuffles the rows, in an order that no filter changes; ``None`` keeps the rows' own order.
        on_broken_row: ``stop`` at a row that cannot be used, or ``skip`` it, tell of it and count it.
        name: What people call the prompt set.
    """

    path_fields: ClassVar[tuple[str, ...]] = ("template", "tokenizer")

    template: str | Path | Mapping[str, str | Path] | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    language: str | None = None
    tokens: Span | None = None
    tokenizer: Any = None
    turns: PositiveInt | None = 1
    pause_seconds: NonNegativeFloat = 0.0
    limit: PositiveInt | None = None
    seed: int | None = 0
    on_broken_row: Literal["stop", "skip"] = "stop"
    name: str | None = None

    def __iter__(self) -> Iterator[Prompt]:
        """The prompts.

        Raises:
            ConfigError: a file, a row or the template is wrong, or the filters leave nothing.
        """
        return iter(self._drawn[0])

    @property
    def dropped(self) -> Mapping[str, int]:
        """How many rows were left out, by reason; with the prompts they make all rows."""
        return self._drawn[1]

    @property
    def needs_tokenizer(self) -> bool:
        """Whether nothing can be drawn before there is a tokenizer, which an endpoint may bring along."""
        return self.tokens is not None and self.tokenizer is None

    def check(self) -> None:
        """Look for what is missing without reading the rows.

        Raises:
            ConfigError: the filters make no sense, or a template or a file is not there.
        """
        self._check_span()
        templates = self.template.values() if isinstance(self.template, Mapping) else (self.template,)
        for template in templates:
            load_template(template, self.fields, also=(LANGUAGE, CONVERSATION))
        self._find()

    def counted_by(self, tokenizer: Tokenizer) -> Self:
        """The same prompts, counted by ``tokenizer`` unless this source has one of its own."""
        return self if self.tokenizer is not None else self._with(tokenizer=tokenizer)

    def for_model(self, names: Sequence[str]) -> Self:
        """The same rows in the template of a model.

        Args:
            names: What the model and its deployment are called; the first pattern of ``template`` that fits one counts.

        Raises:
            ConfigError: no pattern fits.
        """
        if not isinstance(self.template, Mapping):
            return self
        for pattern, template in self.template.items():
            if any(fnmatchcase(name, pattern) for name in names):
                return self._with(template=template)
        known, asked = ", ".join(self.template), " or ".join(dict.fromkeys(names))
        raise ConfigError(f"template: none is given for {asked}; there are: {known} (* fits any)")

    def split(self, buckets: Sequence[Span]) -> dict[str, Self]:
        """A named source for each range of prompt lengths in tokens; a row on a boundary is in both.

        The rows are read and counted once for all of them.
        """
        spans = [(low, high) for low, high in buckets]
        shared = _Pass(spans)
        made: dict[str, Self] = {}
        for low, high in spans:
            name = f"{low}-{high}" if self.name is None else f"{self.name} {low}-{high}"
            made[name] = replace(self, tokens=(low, high), name=name)
            object.__setattr__(made[name], "_pass", shared)
        return made

    def _with(self, **changes: Any) -> Self:
        changed = replace(self, **changes)
        if (shared := self.__dict__.get("_pass")) is not None:
            object.__setattr__(changed, "_pass", shared)
        return changed

    def _rows(self) -> Iterator[Row | RowError]:
        raise NotImplementedError

    def _id(self, row: Row) -> str:
        raise NotImplementedError

    @cached_property
    def _drawn(self) -> tuple[tuple[Prompt, ...], Mapping[str, int]]:
        self._check()
        shared: _Pass | None = self.__dict__.get("_pass")
        spans = None if self.tokens is None else [self.tokens]
        reading = self._read(spans) if shared is None else shared.of(self)
        dropped = reading.dropped.copy()
        kept = reading.candidates
        if self.tokens is not None:
            low, high = self.tokens
            dropped[f"shorter than {low} tokens"] += sum(n for length, n in reading.lengths.items() if length < low)
            dropped[f"longer than {high} tokens"] += sum(n for length, n in reading.lengths.items() if length > high)
            kept = [one for one in kept if low <= (one.prompt.tokens or 0) <= high]
        taken = kept[: self.limit]
        prompts = tuple(prompt for one in taken for prompt in (one.prompt, *one.later))
        dropped[f"over the limit of {self.limit}"] = len(kept) - len(taken)
        told = {reason: count for reason, count in dropped.items() if count}
        if not prompts:
            raise ConfigError(self._nothing_left(told))
        reasons = "".join(f"; {count} dropped because {reason}" for reason, count in told.items())
        logger.info("%s: %d prompts%s", self.name or type(self).__name__.lower(), len(prompts), reasons)
        return prompts, told

    def _find(self) -> None:
        """Find what the rows come from."""
        raise NotImplementedError

    def _check_span(self) -> None:
        if self.tokens is not None and self.tokens[0] > self.tokens[1]:
            raise ConfigError(f"tokens={self.tokens}: the least must not be above the most; turn them round")

    def _check(self) -> None:
        self._check_span()
        if self.tokens is not None and self.tokenizer is None:
            raise ConfigError(f"tokens={self.tokens} needs a tokenizer to count with: give tokenizer=")

    def _read(self, spans: Sequence[Span] | None) -> _Reading:
        """Read and count all rows, and keep those whose length is in one of the spans."""
        template = self._template()
        counter = None if self.tokenizer is None else load_tokenizer(self.tokenizer)
        if counter is not None:
            logger.info("prompt template length=%d tokens", counter.count([template.empty()])[0])
        reading = _Reading([], Counter(), Counter())
        candidates = self._candidates(template, reading.dropped)
        while batch := list(islice(candidates, BATCH)):
            counted = batch if counter is None else _counted(batch, counter, reading.lengths)
            reading.candidates.extend(
                one for one in counted if spans is None or any(low <= (one.prompt.tokens or 0) <= high for low, high in spans)
            )
        reading.candidates.sort(key=lambda candidate: candidate.order)
        return reading

    def _template(self) -> Template:
        if isinstance(self.template, Mapping):
            raise ConfigError(f"template: there is one for each of {', '.join(self.template)}: choose with for_model([name])")
        template = load_template(self.template, self.fields, also=(LANGUAGE, CONVERSATION))
        logger.info("prompt template ->\n%s", template.text)
        return template

    def _candidates(self, template: Template, dropped: Counter[str]) -> Iterator[_Candidate]:
        draw = random.Random(self.seed)  # noqa: S311 - an order, not cryptography
        broken = 0
        for number, row in enumerate(self._rows()):
            order = float(number) if self.seed is None else draw.random()
            try:
                made = self._prompt(row, template)
            except RowError as error:
                if self.on_broken_row == "stop":
                    raise
                broken += 1
                dropped[f"broken: {error.kind}"] += 1
                if broken <= MOST_WARNINGS:
                    logger.warning("skipped: %s", error)
                continue
            if made is None:
                dropped[f"language is not {self.language}"] += 1
            else:
                yield _Candidate(order, *made)
        if broken > MOST_WARNINGS:
            logger.warning("skipped: %d broken rows in all", broken)

    def _prompt(self, row: Row | RowError, template: Template) -> tuple[Prompt, tuple[Prompt, ...]] | None:
        """What a row makes, and its later turns; ``None`` where it is of another language."""
        if isinstance(row, RowError):
            raise row
        if not self._has_language(row):
            return None
        named = self.fields.get(CONVERSATION)
        said = conversation_of(row, named) if named is not None or "prompt" in template.columns else None
        if said is not None:
            told = {} if said.answer is None else {"answer": said.answer}
            row = row._replace(values={**row.values, "prompt": said.questions[0], **told})
        text = unicodedata.normalize("NFC", template.fill(row))
        first = Prompt(id=self._id(row), text=text, labels=_labels(row, template))
        return (first, ()) if said is None else self._turns(first, text, said)

    def _turns(self, first: Prompt, text: str, said: Conversation) -> tuple[Prompt, tuple[Prompt, ...]]:
        """The prompts of a conversation; where there is but one turn, a system message is left out, as ever."""
        later: list[Prompt] = []
        last = first.id
        for number, question in enumerate(said.questions[1 : self.turns], 2):
            asked = unicodedata.normalize("NFC", question)
            turn = Prompt(
                id=f"{first.id}.{number}", text=asked, after=last, pause_seconds=self.pause_seconds, labels=first.labels
            )
            last = turn.id
            later.append(turn)
        if later and said.system is not None:
            messages = [{"role": "system", "content": said.system}, {"role": "user", "content": text}]
            first = replace(first, text=None, messages=messages)
        return first, tuple(later)

    def _has_language(self, row: Row) -> bool:
        if self.language is None:
            return True
        column = self.fields.get(LANGUAGE, LANGUAGE)
        if column not in row.values:
            raise RowError(
                row.place,
                f"no field {column!r}",
                f"language={self.language!r} is asked for, but the row has no field {column!r} "
                f"(it has: {', '.join(row.values)}); name another with fields={{'language': …}}",
            )
        return bool(row.values[column] == self.language)

    def _nothing_left(self, dropped: Mapping[str, int]) -> str:
        if not dropped:
            return "paths: there are no rows"
        told = ", ".join(f"{count} dropped because {reason}" for reason, count in dropped.items())
        return f"no prompt is left of {sum(dropped.values())} rows: {told}; widen language= or tokens="


def _counted(batch: Sequence[_Candidate], counter: Tokenizer, lengths: Counter[int]) -> list[_Candidate]:
    counts = counter.count([_text(candidate.prompt) for candidate in batch])
    lengths.update(counts)
    return [one._replace(prompt=replace(one.prompt, tokens=count)) for one, count in zip(batch, counts, strict=True)]


def _text(prompt: Prompt) -> str:
    return "\n".join(message["content"] for message in prompt.messages or ()) if prompt.text is None else prompt.text


def _labels(row: Row, template: Template) -> dict[str, Any]:
    """The row's small fields: data set, language, length and the like."""
    return {
        name: value
        for name, value in row.values.items()
        if name not in template.columns and isinstance(value, str | int | float | bool) and len(str(value)) <= LONGEST_LABEL
    }
