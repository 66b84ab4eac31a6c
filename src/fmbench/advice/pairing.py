"""Which experiments of two runs had one workload, and in what others differ."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from fmbench.advice.observed import Observed, Workload
from fmbench.errors import ConfigError

__all__ = ["Matching", "Paired", "Run", "length_differences", "paired", "workload_differences"]

_LENGTHS = ("requests", "seconds")
"""How long a load goes on does not change what is measured, but how surely."""
_IN_COMMON = 0.5
_ABSENT = object()

Run = Sequence[Observed]


class Paired(NamedTuple):
    """One experiment, as every run of both sides measured it."""

    name: str
    baseline: Sequence[Observed]
    candidate: Sequence[Observed]


class Matching(NamedTuple):
    """What was paired, and what was not."""

    pairs: list[Paired]
    alone: list[str]
    """What has no partner, in words."""


def paired(baseline: Sequence[Run], candidate: Sequence[Run]) -> Matching:
    """Pair the experiments of two sides: by name, else where exactly one on each side had that workload.

    Args:
        baseline: The runs of the one side.
        candidate: The runs of the other.

    Raises:
        ConfigError: there is no pair.
    """
    one, two = _by_name(baseline), _by_name(candidate)
    pairs = [Paired(name, one[name], two[name]) for name in one if name in two]
    left = [seen for name, seen in one.items() if name not in two]
    right = [seen for name, seen in two.items() if name not in one]
    for mine in left:
        alike = [theirs for theirs in right if not workload_differences(mine[0], theirs[0])]
        rivals = [other for other in left if not workload_differences(mine[0], other[0])]
        if len(alike) == 1 and len(rivals) == 1:
            pairs.append(Paired(f"{mine[0].name} → {alike[0][0].name}", mine, alike[0]))
    taken = {id(seen) for pair in pairs for seen in (pair.baseline[0], pair.candidate[0])}
    alone = [f"{seen[0].name} ({side} only)" for side, some in (("baseline", left), ("candidate", right)) for seen in some
             if id(seen[0]) not in taken]  # fmt: skip
    if not pairs:
        raise ConfigError(_why_none(one, two))
    order = list(one)
    return Matching(sorted(pairs, key=lambda pair: order.index(pair.baseline[0].name)), alone)


def _by_name(runs: Sequence[Run]) -> dict[str, list[Observed]]:
    """Each experiment of a side, as its runs measured it; all have the first run's experiments, or it is said."""
    seen: dict[str, list[Observed]] = {one.name: [one] for one in runs[0]}
    for run in runs[1:]:
        for one in run:
            if one.name in seen:
                seen[one.name].append(one)
    return seen


def _why_none(one: Mapping[str, Sequence[Observed]], two: Mapping[str, Sequence[Observed]]) -> str:
    if not one or not two:
        return f"compare: the {'candidate' if one else 'baseline'} has no experiment"
    tried = [(workload_differences(mine[0], theirs[0]), mine[0], theirs[0]) for mine in one.values() for theirs in two.values()]
    differences, mine, theirs = min(tried, key=lambda each: len(each[0]))
    if not differences:
        return (
            f"compare: several experiments have the workload of {mine.name!r}, and none has its name on both sides: give "
            "deployments and prompt sets the same names"
        )
    return (
        f"compare: no workload was measured on both sides; {mine.name!r} and {theirs.name!r} differ in {'; '.join(differences)}"
    )


def workload_differences(one: Observed, two: Observed) -> list[str]:
    """In what two workloads differ, in words; nothing where they are one."""
    mine, theirs = one.workload, two.workload
    return [
        *_prompts(one, two),
        *_fields("", mine.parameters, theirs.parameters, ()),
        *_fields("load ", mine.load, theirs.load, _LENGTHS),
    ]


def length_differences(one: Workload, two: Workload) -> list[str]:
    """In what two loads differ that only decides how much was measured."""
    lengths = [{name: each.load.get(name) for name in _LENGTHS} for each in (one, two)]
    return list(_fields("load ", lengths[0], lengths[1], ()))


def _prompts(one: Observed, two: Observed) -> Iterable[str]:
    mine, theirs = one.workload, two.workload
    if mine.prompts_digest is not None and theirs.prompts_digest is not None:
        if mine.prompts_digest != theirs.prompts_digest:
            same = mine.prompts == theirs.prompts
            yield (
                f"prompts (the texts of {mine.prompts!r})" if same else f"prompts ({mine.prompts!r} against {theirs.prompts!r})"
            )
        return
    if mine.prompts != theirs.prompts:
        yield f"prompts ({mine.prompts!r} against {theirs.prompts!r})"
    elif len(one.keys) and len(two.keys):
        common = len(np.intersect1d(one.keys, two.keys))
        if common < _IN_COMMON * min(len(one.keys), len(two.keys)):
            yield f"prompts (of {len(one.keys)} and {len(two.keys)} requests, {common} had the same prompt)"


def _fields(kind: str, one: Mapping[str, Any], two: Mapping[str, Any], without: Sequence[str]) -> Iterable[str]:
    for name in dict.fromkeys([*one, *two]):
        mine, theirs = one.get(name, _ABSENT), two.get(name, _ABSENT)
        if name not in without and _plain(mine) != _plain(theirs):
            yield f"{kind}{name} ({_told(mine)} against {_told(theirs)})"


def _plain(value: object) -> str:
    return "" if value is _ABSENT else json.dumps(value, sort_keys=True, default=str)


def _told(value: object) -> str:
    return "not given" if value is _ABSENT else str(value)
