"""Comparing two measurements of the same workloads: what changed, how surely, and whether chance alone would do."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from fmbench.advice.chance import holm
from fmbench.advice.comparison import Comparison, Difference, facts_that_differ
from fmbench.advice.differing import METRICS, Change, Pair, change_between_runs, parsed, value_of
from fmbench.advice.observed import Observed
from fmbench.advice.pairing import Matching, Paired, Run, length_differences, paired, workload_differences
from fmbench.errors import ConfigError

__all__ = ["Asked", "compare"]

_LONGER = 0.02
"""Replies whose mean length differs by more than this share are other work."""


_FEW_BLOCKS = 15
"""Where the requests make fewer blocks than these, the bootstrap knows too little of how they hang together."""


class _Claim(NamedTuple):
    difference: Difference
    worse: float
    better: float


class Asked(NamedTuple):
    """What to compare, and how strictly.

    Args:
        metrics: Which; ``METRICS`` unless given.
        margin: A change counts where it is shown to be more than this; an evident one of ``error_rate`` always does.
        confidence: Of intervals, and of all claims together.
        seed: For the draws.
        unequal: Whether to compare workloads that differ; the comparison says in what.
    """

    metrics: Sequence[str] | None = None
    margin: float = 0.0
    confidence: float = 0.95
    seed: int = 0
    unequal: bool = False


def compare(baseline: Sequence[Run], candidate: Sequence[Run], asked: Asked) -> Comparison:
    """Compare the runs of one side with those of another, experiment by experiment.

    With one run a side, chance is judged by a block bootstrap over requests; with more, by Student's t over runs. With the
    confidence, not one ``worse`` or ``better`` of the whole comparison is false (Holm over experiments and metrics).

    Args:
        baseline: What is compared with: runs, each its experiments.
        candidate: What is compared.
        asked: What to compare, and how strictly.

    Raises:
        ConfigError: the workloads differ, there is nothing to compare, or an option cannot be.
    """
    _check(asked.margin, asked.confidence, candidate)
    names = list(dict.fromkeys(asked.metrics or METRICS))
    for name in names:
        parsed(name)
    matching = paired(baseline, candidate)
    differing = [f"{pair.name} differs in {'; '.join(told)}" for pair in matching.pairs if (told := _differences(pair))]
    if differing and not asked.unequal:
        raise ConfigError(f"compare: not one workload on both sides: {differing[0]}; to compare all the same: unequal=True")
    claims = [claim for pair in matching.pairs for claim in _claims(pair, names, asked)]
    found = _found(matching, claims, asked.margin, asked.confidence)
    return replace(found, baseline=_folders(baseline), candidate=_folders(candidate), unequal=tuple(differing))


def _found(matching: Matching, claims: Sequence[_Claim], margin: float, confidence: float) -> Comparison:
    single = all(len(pair.baseline) == len(pair.candidate) == 1 for pair in matching.pairs)
    return Comparison(
        baseline=(),
        candidate=(),
        differences=tuple(_judged(claims, confidence)),
        margin=margin,
        confidence=confidence,
        remarks=(*_remarks(matching.pairs, matching.alone, single=single), *_too_short(claims)),
        method=_method(single=single, confidence=confidence, claims=sum(claim.difference.p is not None for claim in claims)),
    )


def _check(margin: float, confidence: float, candidate: Sequence[Run]) -> None:
    if not candidate:
        raise ConfigError("compare: there is no candidate")
    if isinstance(margin, bool) or not 0 <= margin < math.inf:
        raise ConfigError(f"margin: {margin!r} is not a share from 0 on, such as 0.05 for 5 %")
    if isinstance(confidence, bool) or not 0.5 <= confidence < 1:
        raise ConfigError(f"confidence: {confidence!r} is not a share from 0.5 to below 1, such as 0.95")


def _folders(runs: Sequence[Run]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(one.run for run in runs for one in run))


def _differences(pair: Paired) -> list[str]:
    first = pair.baseline[0]
    found = (told for other in (*pair.baseline[1:], *pair.candidate) for told in workload_differences(first, other))
    return list(dict.fromkeys(found))


def _claims(pair: Paired, names: Sequence[str], asked: Asked) -> Iterator[_Claim]:
    _, margin, confidence, seed, _ = asked
    single = len(pair.baseline) == len(pair.candidate) == 1
    drawn = Pair(pair.baseline[0], pair.candidate[0], confidence=confidence, seed=seed) if single else None
    for name in names:
        sides = [[value_of(one, name) for one in side] for side in (pair.baseline, pair.candidate)]
        values = [[value for value, _ in side if value is not None] for side in sides]
        reason = next((why for side in sides for value, why in side if value is None), None)
        shown = Difference(
            experiment=pair.name,
            metric=name,
            baseline=_middle(name, values[0]),
            candidate=_middle(name, values[1]),
            reason=reason,
            runs=(len(pair.baseline), len(pair.candidate)),
        )
        change = None
        if reason is None:
            change = drawn.change(name) if drawn else change_between_runs(name, values[0], values[1], confidence)
        superiority = drawn.superiority(name) if drawn and change else None
        yield _claim(shown, change, margin, superiority)


def _middle(name: str, values: Sequence[float]) -> float | None:
    if not values:
        return None
    if name == "error_rate" or min(values) <= 0:
        return math.fsum(values) / len(values)
    return math.exp(math.fsum(map(math.log, values)) / len(values))


def _claim(shown: Difference, change: Change | None, margin: float, superiority: float | None) -> _Claim:
    if change is None:
        return _Claim(replace(shown, reason=shown.reason or "it is nought on one side"), 1.0, 1.0)
    worse, better = change.worse(margin), change.better(margin)
    shown = replace(
        shown, change=change.change, low=change.low, high=change.high, p=min(1.0, 2 * min(worse, better)),
        superiority=superiority, block_length=change.block_length, blocks=change.blocks,
    )  # fmt: skip
    return _Claim(shown, worse, better)


def _judged(claims: Sequence[_Claim], confidence: float) -> Iterator[Difference]:
    """The differences with their verdicts, all claims together held to one rate of error."""
    adjusted = iter(holm([claim.difference.p for claim in claims if claim.difference.p is not None]))
    for shown, worse, better in claims:
        if shown.p is None:
            yield shown
            continue
        p = next(adjusted)
        evident = p <= 1 - confidence
        yield replace(shown, adjusted_p=p, verdict=("worse" if worse < better else "better") if evident else "no evidence")


def _remarks(pairs: Sequence[Paired], alone: Sequence[str], *, single: bool) -> Iterator[str]:
    if alone:
        yield f"without a partner, and not compared: {', '.join(alone)}"
    for pair in pairs:
        one, two = pair.baseline[0], pair.candidate[0]
        yield from (f"{pair.name}: {told}" for told in _doubts(one, two))
    if any(one.workload.prompts_digest is None for pair in pairs for one in (*pair.baseline, *pair.candidate)):
        yield "the texts of the prompts were not compared, only their names: a run was written without a digest of them"
    facts = dict.fromkeys(told for pair in pairs for told in facts_that_differ(pair.baseline[0].facts, pair.candidate[0].facts))
    if facts:
        yield f"the endpoints differ in {'; '.join(facts)}"
    if single:
        yield (
            "one run on each side: this tells chance among requests, and not how runs differ from hour to hour; for that, "
            "repeat runs on both sides"
        )


def _too_short(claims: Sequence[_Claim]) -> Iterator[str]:
    short = dict.fromkeys(shown.experiment for shown, _, _ in claims if shown.blocks is not None and shown.blocks < _FEW_BLOCKS)
    if short:
        told = ", ".join(short)
        yield f"{told}: latencies hang together for so long that intervals may be too narrow; measure for longer"


def _doubts(one: Observed, two: Observed) -> Iterator[str]:
    for side, seen in (("baseline", one), ("candidate", two)):
        if seen.verdict == "fail":
            yield f"the {side}'s measurement failed a validity check: do not rely on it"
    lengths = [seen.distributions["completion_tokens"].mean for seen in (one, two) if "completion_tokens" in seen.distributions]
    if len(lengths) == 2 and None not in lengths:
        before, now = float(lengths[0] or 0), float(lengths[1] or 0)
        if before > 0 and abs(now / before - 1) > _LONGER:
            yield f"replies had {before:.4g} and {now:.4g} tokens on average: latencies are of unequal work"
    lengths_of_load = length_differences(one.workload, two.workload)
    if lengths_of_load:
        yield f"not equally much was measured: {'; '.join(lengths_of_load)}"


def _method(*, single: bool, confidence: float, claims: int) -> str:
    how = (
        "a circular block bootstrap over requests, blocks as long as the series asks for (Politis and White 2004), the two "
        "sides drawn together where they had the same prompts"
        if single
        else "Student's t over runs, whose scatter is taken to be the same on both sides"
    )
    return (
        f"Intervals: {confidence:.0%}, each taken alone, by {how}. Verdicts: with a probability of {confidence:.0%} none of "
        f"the {claims} is a false claim (Holm)."
    )
