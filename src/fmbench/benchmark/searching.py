"""A capacity search over deployed endpoints: each probe is an experiment of one run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from anyio import to_thread

from fmbench.advice import SLO, CapacityAnswer, Probe, Search, Trial, answer_of, requests_for, trial_of
from fmbench.benchmark.cases import Asked
from fmbench.benchmark.conducting import Conductor
from fmbench.errors import ConfigError
from fmbench.interfaces import Endpoint
from fmbench.load import Concurrency, ConstantRate, Load, Poisson
from fmbench.result import Result

if TYPE_CHECKING:
    from fmbench.metrics.sample import Sample

__all__ = ["Hunt", "Searcher", "Wanted", "hunted", "kind_of"]

WARMUP_SHARE = 0.1
"""Of a probe's requests, that go first and do not count: a queue needs time to settle."""
_KINDS: Mapping[str, type[Concurrency | Poisson | ConstantRate]] = {
    "concurrency": Concurrency,
    "poisson": Poisson,
    "constant": ConstantRate,
}
_UNITS = {Concurrency: "concurrency", Poisson: "requests/s (Poisson)", ConstantRate: "requests/s (constant rate)"}

Kind = type[Concurrency | Poisson | ConstantRate]


def kind_of(over: Any) -> Kind:
    """The kind of load to raise, by class or by name.

    Raises:
        ConfigError: it is neither.
    """
    for name, kind in _KINDS.items():
        if over in (name, kind):
            return kind
    raise ConfigError(f"over must be Concurrency, Poisson or ConstantRate, not {over!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is searched for, and how."""

    slo: SLO
    kind: Kind
    start: float | None
    most: float | None
    tolerance: float
    confidence: float
    max_requests: int

    @property
    def whole(self) -> bool:
        return self.kind is Concurrency

    @property
    def unit(self) -> str:
        return _UNITS[self.kind]

    def search(self, begin: float) -> Search:
        """The search, begun where ``start`` says, else at ``begin``."""
        start = self.start if self.start is not None else min(begin, self.most or begin)
        return Search(
            whole=self.whole,
            start=start,
            least=1.0 if self.whole else start / 1024,
            most=self.most if self.most is not None else 4096.0 if self.whole else start * 2**20,
            requests=requests_for(self.slo),
            tolerance=self.tolerance,
            confidence=self.confidence,
            max_requests=self.max_requests,
        )

    def load(self, probe: Probe, number: int) -> Load:
        """The load of a probe; each Poisson probe has arrivals of its own."""
        if self.kind is Concurrency:
            return Concurrency(round(probe.load), requests=probe.requests)
        if self.kind is Poisson:
            return Poisson(probe.load, seed=number, requests=probe.requests)
        return ConstantRate(probe.load, requests=probe.requests)

    def as_dict(self) -> dict[str, Any]:
        """For ``run.json``; a resumed search must ask for the same."""
        return {
            "slo": self.slo.as_dict(),
            "over": self.unit,
            "start": self.start,
            "most": self.most,
            "tolerance": self.tolerance,
            "confidence": self.confidence,
            "max_requests": self.max_requests,
        }


class Hunt:
    """The search on one combination: what was tried, and how it ended."""

    def __init__(self, asked: Asked, wanted: Wanted) -> None:
        self.asked = asked
        self._wanted = wanted
        self.search: Search = wanted.search(1.0)
        self.trials: list[Trial] = []
        self.alone: Trial | None = None
        """One request at a time, where rates are searched: what breaks the SLO there breaks it at every rate."""
        self.ending: str | None = None
        self.number = 0

    @property
    def first_alone(self) -> bool:
        """Whether the rate that one request at a time reaches must be found first."""
        return not self._wanted.whole and self._wanted.start is None and self.alone is None

    def take_alone(self, trial: Trial) -> None:
        """Begin from what one request at a time reaches, unless that breaks the SLO already."""
        self.alone = trial
        if not trial.known:
            self.ending = "unknown"
        elif trial.holds(0.9) is False:
            self.ending = "unmet"
        else:
            self.search = self._wanted.search(trial.load / 2)

    def answer(self, ended: str) -> CapacityAnswer:
        """The answer, should the search end now.

        Args:
            ended: What ended it, where it did not end by itself.
        """
        about = {
            "deployment": self.asked.deployment.name,
            "prompts": self.asked.prompts.name,
            "parameters": self.asked.parameters.given(),
        }
        trials = self.trials or ([self.alone] if self.alone is not None and self.ending is not None else [])
        made = answer_of(self.search, trials, self.ending or ended, about=about, over=self._wanted.unit)
        if trials and trials[0] is self.alone and made.standing == "unmet":
            return replace(made, note="That was one request at a time.")
        return made


class Searcher(Conductor):
    """A run whose experiments are chosen while it goes on."""

    def __init__(self, asked: Sequence[Asked], wanted: Wanted, **parts: Any) -> None:
        self._asked: list[Asked]
        super().__init__(list(asked), **parts)
        self._wanted = wanted
        self._warmup: int | None = self._settings.warmup
        self.hunts: dict[str, Hunt] = {one.name: Hunt(one, wanted) for one in asked}

    def answers(self) -> tuple[CapacityAnswer, ...]:
        """One for each combination."""
        stops = [problem["message"] for problem in self._file.document["problems"] if problem["where"] == "limits"]
        ended = stops[0].partition(";")[0] if stops else "the run was ended from outside"
        return tuple(hunt.answer(ended) for hunt in self.hunts.values())

    def _is_open(self, one: Asked) -> bool:
        return one.name in self.hunts

    def _not_sent(self, one: Asked, reason: str) -> None:
        if one.name in self.hunts:
            self.hunts[one.name].ending = reason
        else:
            super()._not_sent(one, reason)

    def _leave_out(self, reason: str) -> None:
        """Hunts that a limit has ended say so in their answers."""

    async def _experiments(self, experiments: Sequence[Asked], endpoint: Endpoint) -> None:
        for one in experiments:
            await self._hunt(self.hunts[one.name], endpoint)

    async def _hunt(self, hunt: Hunt, endpoint: Endpoint) -> None:
        if hunt.first_alone:
            alone = Concurrency(1, requests=requests_for(self._wanted.slo))
            hunt.take_alone(await self._try(hunt, alone, endpoint, None))
        while hunt.ending is None:
            step = hunt.search.next(hunt.trials)
            if isinstance(step, str):
                hunt.ending = step
            else:
                load = self._wanted.load(step, hunt.number)
                hunt.trials.append(await self._try(hunt, load, endpoint, step.load))

    async def _try(self, hunt: Hunt, load: Load, endpoint: Endpoint, level: float | None) -> Trial:
        """Measure one probe, unless an earlier sitting did, and read what it says from its records."""
        hunt.number += 1
        one = replace(hunt.asked, name=f"{hunt.asked.name}, {load}, probe {hunt.number}", load=load)
        self._asked.append(one)
        entry = self._file.add_experiment(one)
        self.used[one.name] = self.used[hunt.asked.name]
        if super()._is_open(one):
            first = math.ceil(WARMUP_SHARE * (load.requests or 0))
            self._settings = replace(self._settings, warmup=max(load.warmup(self._warmup), first))
            await self._experiment(one, endpoint)
        trial = await to_thread.run_sync(self._read, one.name, level)
        if not trial.known and entry["reason"] is not None:
            hunt.ending = entry["reason"]
        return trial

    def _read(self, name: str, level: float | None) -> Trial:
        self._file.document["capacity"]["answers"] = [answer.as_dict() for answer in self.answers()]
        self._file.save()
        experiment = next(one for one in Result.load(self._file.directory).experiments if one.name == name)
        sample = experiment.sample()
        return trial_of(_pace(sample) if level is None else level, sample, self._wanted.slo)


def _pace(sample: Sample) -> float:
    """How many requests a second went one after another, failed ones too; NaN where none did."""
    if not sample.due.any():
        return math.nan
    first, last = sample.numbers("due_ns")[sample.due].min(), sample.numbers("end_ns")[sample.due].max()
    return float(sample.due.sum() / max(last - first, 1) * 1e9)


def hunted(asked: Sequence[Asked]) -> list[Asked]:
    """What is searched one by one: each combination of deployment, prompt set and parameters, whatever loads it was given."""
    seen: dict[tuple[Any, ...], Asked] = {}
    for one in asked:
        seen.setdefault((one.deployment, one.prompts, repr(one.parameters), id(one.invoker), id(one.tokenizer)), one)
    sets, parameters = {one.prompts.name for one in asked}, {repr(one.parameters) for one in asked}
    named: list[Asked] = []
    for one in seen.values():
        words = [one.deployment.name, *([one.prompts.name] if len(sets) > 1 else [])]
        if len(parameters) > 1:
            words.append(" ".join(f"{name}={value}" for name, value in one.parameters.given().items()))
        name = ", ".join(words)
        twins = sum(other.name.partition(" #")[0] == name for other in named)
        named.append(replace(one, name=f"{name} #{twins + 1}" if twins else name, load=Concurrency(1)))
    return named
