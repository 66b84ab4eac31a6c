"""The answer of a capacity search: the highest load that keeps to an SLO, how sure that is, and where and by what it broke."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from fmbench.advice.search import Ending, Estimate, Search, Trial
from fmbench.advice.slo import SLO

__all__ = ["Broken", "Capacity", "CapacityAnswer", "answer_of"]

Standing = Literal["found", "at least", "unmet", "unknown"]

_ENDED = {
    "found": "the interval is narrow enough",
    "most": "the highest load to try was reached",
    "unmet": "the lowest load breaks it",
    "requests": "the search had all the requests it may send",
    "unknown": "a limit's figure is not known",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Broken:
    """One load at which the SLO did not hold."""

    load: float
    limit: str
    """The limit that was broken by most, relative to itself."""
    allowed: float
    value: float | None
    """What was measured there, failures counted as longer than any limit; ``None`` where that is a failure."""
    sure: bool
    """Whether the probes at this load show it by themselves, at the stated confidence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapacityAnswer:
    """What one deployment can take on one prompt set with one set of parameters.

    Args:
        deployment: Its name.
        prompts: The prompt set.
        parameters: The generation parameters.
        over: What was raised: ``concurrency``, or ``requests/s`` with the arrivals' kind.
        standing: ``found``; ``at least``, where no load that was tried broke the SLO; ``unmet``, where even the lowest did;
            ``unknown``.
        load: The highest load that holds; ``None`` where it is not known, or none does.
        low: The lower end of its interval.
        high: The upper end; ``None`` where no load that was tried broke the SLO.
        confidence: The interval's probability.
        broke: The lowest load above ``load`` at which it was seen broken; for ``unmet``, the lowest load tried.
        ended: Why the search ended.
        note: What else to know: a response that is not monotone, a load that was not tried longer.
        probes: How many experiments stand behind it.
        requests: How many measured requests they had.
    """

    deployment: str
    prompts: str
    parameters: Mapping[str, Any]
    over: str
    standing: Standing
    ended: str
    confidence: float
    load: float | None = None
    low: float | None = None
    high: float | None = None
    broke: Broken | None = None
    note: str | None = None
    probes: int = 0
    requests: int = 0

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self) | {"parameters": dict(self.parameters), "sentence": self.sentence}

    @property
    def sentence(self) -> str:
        """The answer in one sentence."""
        return f"{self.deployment} on {self.prompts} {self._middle()}{'' if self.note is None else f' {self.note}'}"

    def _middle(self) -> str:
        if self.standing == "unknown":
            return f"has no answer: {self.ended}."
        if self.standing == "unmet":
            return f"does not keep to the SLO even at {self._at(self.broke.load if self.broke else 0.0)}{self._how_far()}."
        if self.standing == "at least":
            return f"keeps to the SLO up to {self._at(self.load or 0.0)} at least: {self.ended}."
        interval = f"{self.confidence:.0%} interval {_figure(self.low)} to {_figure(self.high)}"
        end = "" if self.ended == _ENDED["found"] else f"; the search ended early: {self.ended}"
        return f"keeps to the SLO up to {self._at(self.load or 0.0)} ({interval}){self._broke()}{end}."

    def _at(self, load: float) -> str:
        return f"concurrency {load:.0f}" if self.over == "concurrency" else f"{_figure(load)} {self.over}"

    def _broke(self) -> str:
        return "" if self.broke is None else f"; at {self._at(self.broke.load)} it broke{self._how_far()}"

    def _how_far(self) -> str:
        broke = self.broke
        if broke is None:
            return ""
        name = broke.limit.removesuffix("_seconds").replace("_", " ")
        unit = "" if broke.limit == "error_rate" else " s"
        if broke.value is None:
            return f": {name} has no value, as too many requests failed"
        over = f", {broke.value / broke.allowed - 1:.0%} over the {broke.allowed:g}{unit} allowed" if broke.allowed else ""
        return f": {name} was {broke.value:.3g}{unit}{over}"


@dataclass(frozen=True, slots=True)
class Capacity:
    """The highest load at which an SLO holds, for each deployment, prompt set and set of parameters.

    Args:
        slo: The limits.
        answers: One for each combination, in the order asked for.
        directory: The run's folder; ``Result.load`` reads the probes.
        simulated: Whether the figures come from a simulator.
    """

    slo: SLO
    answers: tuple[CapacityAnswer, ...]
    directory: str
    simulated: bool = False

    @property
    def met(self) -> bool:
        """Whether every combination keeps to the SLO at some load."""
        return all(answer.standing in ("found", "at least") for answer in self.answers)

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "slo": self.slo.as_dict(),
            "met": self.met,
            "simulated": self.simulated,
            "directory": self.directory,
            "answers": [answer.as_dict() for answer in self.answers],
        }

    def __str__(self) -> str:
        opening = f"{'Simulated: ' if self.simulated else ''}{self.slo}"
        return "\n".join([opening, *(answer.sentence for answer in self.answers)])


def answer_of(
    search: Search, trials: Sequence[Trial], ending: Ending | str, *, about: Mapping[str, Any], over: str
) -> CapacityAnswer:
    """Make the answer of what was tried.

    Args:
        search: How it was searched.
        trials: What was tried.
        ending: Why the search ended: one of its own endings, or in words, what ended it from outside.
        about: The answer's ``deployment``, ``prompts`` and ``parameters``.
        over: What was raised.
    """
    known = [trial for trial in trials if trial.known]
    shared = {
        **about,
        "over": over,
        "confidence": search.confidence,
        "ended": _ENDED.get(ending, ending),
        "probes": len(trials),
        "requests": sum(trial.requests for trial in trials),
    }
    if ending == "unknown" or not known:
        silent = [one.reason for trial in trials[-1:] for one in trial.evidence if not one.requests]
        why = next(filter(None, silent), None)
        told: dict[str, Any] = {**shared, "ended": _ENDED.get(ending, ending) + (f" ({why})" if why else "")}
        return CapacityAnswer(**told, standing="unknown")
    if all(trial.leans for trial in known):
        return _at_least(known, shared)
    found = search.estimate(known)
    broken = min((trial for trial in known if not trial.leans), key=lambda trial: trial.load)
    if ending == "unmet" or (search.whole and found.middle < 1) or not any(trial.leans for trial in known):
        return CapacityAnswer(**shared, standing="unmet", broke=_broken(broken, search))
    return _found(search, known, found, shared)


def _at_least(known: Sequence[Trial], shared: Mapping[str, Any]) -> CapacityAnswer:
    top = max(trial.load for trial in known)
    sure = any(trial.load == top and trial.holds(0.9) for trial in known)
    note = None if sure else "Its probe at that load was too short to be sure."
    return CapacityAnswer(**shared, standing="at least", load=top, low=top, note=note)


def _found(search: Search, known: Sequence[Trial], found: Estimate, shared: Mapping[str, Any]) -> CapacityAnswer:
    low, load, high = (
        (float(math.floor(load)) if search.whole else float(f"{load:.4g}")) for load in (found.low, found.middle, found.high)
    )
    above = [trial for trial in known if not trial.leans and trial.load > load]
    sure = [trial for trial in above if trial.holds(search.confidence) is False]
    at = min(sure or above, key=lambda trial: trial.load, default=None)
    note = None if found.monotone else "It held again at a higher load than one that broke it: the response is not monotone."
    return CapacityAnswer(
        **shared, standing="found", load=load, low=low, high=high, note=note,
        broke=None if at is None else _broken(at, search),
    )  # fmt: skip


def _broken(trial: Trial, search: Search) -> Broken:
    over = [one for one in trial.evidence if not one.leans]
    worst = max(over, key=lambda one: math.inf if one.value is None or not one.limit else one.value / one.limit)
    value = None if worst.value is None or math.isinf(worst.value) else worst.value
    return Broken(
        load=trial.load, limit=worst.name, allowed=worst.limit, value=value,
        sure=any(one.holds(search.confidence) is False for one in over),
    )  # fmt: skip


def _figure(load: float | None) -> str:
    return "unknown" if load is None else f"{load:.4g}"
