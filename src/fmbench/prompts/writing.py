"""Texts of an exact length in tokens, for any tokenizer: words are drawn, counted, and put right at the end."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from fmbench import ConfigError, Tokenizer

__all__ = ["Draft", "Writer"]

WORDS = """
able about above across action active actor adult after again agent agree ahead allow alone along already also always among
amount animal answer apple area argue arm around arrive art aside ask author autumn away baby back bad bag ball bank bar basic
beach bear beat beautiful become bed before begin behind believe below best better between beyond big bird black blood blue
board boat body book born both bottom box boy branch bread break bridge bright bring brother brown build burn business buy call
camera camp capital car care carry case catch cause cell center central century certain chair chance change character charge
check chief child choice church circle citizen city claim class clean clear climb clock close cloud coast coat coffee cold
college color come common company compare computer condition consider contain continue control cook cool copy corner cost
cotton count country couple course court cover create crop cross crowd culture cup current cut daily dance danger dark daughter
day dead deal dear death decade decide deep degree depend describe desert design desk develop dinner direct discuss distance
doctor dog door double doubt down draw dream dress drink drive drop dry during dust early earn earth ease east easy eat edge
effect effort egg eight either electric eleven else empty end energy engine enjoy enough enter equal escape even evening event
ever every exact example except exercise expect explain eye face fact factory fair fall family famous far farm fast father
favor fear feel few field fight figure fill final find fine finger finish fire first fish five flat floor flow flower fly
follow food foot force foreign forest forget form forward four free fresh friend front fruit full game garden gas gather
general gentle girl give glass gold good govern grand grass gray great green ground group grow guard guess guide hair half hall
hand happen happy hard hat head health hear heart heat heavy help high hill history hold hole home honor hope horse hospital
hot hotel hour house huge human hundred hunt hurry idea image important inch include increase industry inside instead interest
iron island issue item job join journey judge jump keep key kill kind king kitchen know lady lake land language large last late
laugh law lead learn least leave left leg lesson letter level life lift light like line list listen little live local long look
lose loud love low lunch machine main major make man manner map mark market master matter meal mean measure meat meet member
memory mention metal method middle mile milk million mind mine minute mirror miss modern moment money month moon morning mother
motor mountain mouth move music name narrow nation nature near neck need nerve never new news next nice night nine noise none
north nose note nothing notice number object ocean offer office often oil old once one open order other outside over own page
paint pair paper parent park part party pass past path pattern pay peace people perfect perhaps period person picture piece
place plain plan plane plant plate play please point police poor popular port position possible post power practice prepare
present press pretty price print prison problem process product program promise proud prove public pull purpose push put
quality quarter queen question quick quiet quite race radio rain raise range rate reach read ready real reason receive record
red region remain remember repeat report rest result return rich ride right ring rise river road rock roll roof room root
""".split()  # noqa: SIM905 - a list of 800 strings would be no better
FILLERS = tuple(f" {sign}" for sign in "abcdefghijklmnopqrstuvwxyz0123456789.,;:!?") + tuple("aeiou.,;:!?0123456789")
"""What the last few tokens are made of where no word fits."""
ROUNDS = 12
ATTEMPTS = 100


@dataclass(slots=True)
class Draft:
    """A text to be written.

    Args:
        tokens: How long it is to be.
        prefix: What it begins with.
    """

    tokens: int
    prefix: str = ""
    words: list[str] = field(default_factory=list)
    tail: str = ""

    @property
    def text(self) -> str:
        """As far as it is written."""
        words = " ".join(self.words)
        return (f"{self.prefix} {words}" if self.prefix and words else self.prefix or words) + self.tail


class Writer:
    """Writes texts that a tokenizer counts as exactly so many tokens.

    Args:
        tokenizer: Counts.
        chat: Whether it counts a text as one user message, after its chat template.
    """

    def __init__(self, tokenizer: Tokenizer, *, chat: bool) -> None:
        self._tokenizer = tokenizer
        self._chat = chat
        self.overhead: int = self.count([""])[0]
        """What is counted of no text at all: special tokens, and the chat template."""
        single, five = (self.count([" ".join([word] * times) for word in WORDS]) for times in (1, 5))
        self._costs = [(many - one) / 4 for one, many in zip(single, five, strict=True)]
        self._cost: dict[str, float] = dict(zip(WORDS, self._costs, strict=True))

    def count(self, texts: Sequence[str]) -> list[int]:
        """The texts' lengths."""
        if not self._chat:
            return self._tokenizer.count(texts)
        tokenizer: Any = self._tokenizer
        counts: list[int] = tokenizer.count_messages([[{"role": "user", "content": text}] for text in texts])
        return counts

    def write(self, drafts: Sequence[Draft], draw: random.Random) -> list[str]:
        """The texts of the drafts, each of its length, no two alike.

        Raises:
            ConfigError: a length is too short for the tokenizer or for texts that differ, or it counts in such steps that
                the length cannot be hit.
        """
        seen: set[str] = set()
        open_ones = list(drafts)
        for _ in range(ATTEMPTS):
            self._fill(open_ones, draw)
            again = []
            for draft in open_ones:
                if draft.text in seen:
                    again.append(draft)
                seen.add(draft.text)
            if not again:
                return [draft.text for draft in drafts]
            for draft in again:
                draft.words, draft.tail = [], ""
            open_ones = again
        raise ConfigError(f"there are not {len(drafts)} different prompts of {open_ones[0].tokens} tokens: ask for longer ones")

    def _fill(self, drafts: Sequence[Draft], draw: random.Random) -> None:
        prefixes = list(dict.fromkeys(draft.prefix for draft in drafts))
        spent = dict(zip(prefixes, self.count(prefixes), strict=True))
        for draft in drafts:
            if draft.tokens <= spent[draft.prefix]:
                raise ConfigError(self._too_short(draft, spent[draft.prefix]))
            self._append(draft, draft.tokens - spent[draft.prefix], draw)
        wrong = list(drafts)
        for number in range(ROUNDS):
            counts = self.count([draft.text for draft in wrong])
            lacking = [(draft, draft.tokens - count) for draft, count in zip(wrong, counts, strict=True)]
            wrong = [draft for draft, lack in lacking if lack]
            if not wrong:
                return
            for draft, lack in lacking:
                if lack:
                    self._correct(draft, lack, draw, fine=number >= 2)
        counts = self.count([draft.text for draft in wrong])
        for draft, count in zip(wrong, counts, strict=True):
            if count != draft.tokens:
                raise ConfigError(
                    f"a prompt of exactly {draft.tokens} tokens cannot be written with this tokenizer: try others"
                )

    def _append(self, draft: Draft, tokens: float, draw: random.Random) -> None:
        words = draw.choices(WORDS, k=max(1, int(tokens)))
        most = next((n for n, sum_ in enumerate(accumulate(self._cost[word] for word in words)) if sum_ > tokens), len(words))
        draft.words += words[:most]

    def _correct(self, draft: Draft, lack: int, draw: random.Random, *, fine: bool) -> None:
        if lack < 0:
            draft.tail = ""
            while lack < 0 and draft.words:
                lack += max(1, round(self._cost[draft.words.pop()]))
        elif not fine:
            self._append(draft, lack, draw)
        if lack > 0 and fine:
            self._finish(draft, draw)

    def _finish(self, draft: Draft, draw: random.Random) -> None:
        """Add the filler, or the short word, that comes nearest to the length without going beyond it."""
        added = [f" {word}" for word in draw.sample(WORDS, 40)]
        texts = [draft.text + more for more in (*FILLERS, *added)]
        counts = self.count([draft.text, *texts])
        best = max(
            (pair for pair in zip(counts[1:], (*FILLERS, *added), strict=True) if pair[0] <= draft.tokens),
            default=None,
            key=lambda pair: pair[0],
        )
        if best is not None and best[0] > counts[0]:
            draft.tail += best[1]
        elif draft.words and draw.random() < 0.5:
            draft.words.pop()
        elif draft.words:
            draft.words[-1] = draw.choice(WORDS)

    def _too_short(self, draft: Draft, spent: int) -> str:
        what = "its shared prefix" if draft.prefix else "the chat template" if self._chat else "the special tokens"
        return f"prompt_tokens: {draft.tokens} tokens leave no room for text: {what} alone takes {spent}"
