"""What an answer does not know, and what it takes for granted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fmbench.advice.choosing import Candidate

__all__ = ["remarks_on"]


def remarks_on(candidates: Sequence[Candidate]) -> Iterator[str]:
    """Each thing said once, with the candidates it is true of."""
    met = [one for one in candidates if one.standing == "met"]
    yield from _room(met)
    for one in met:
        yield from _doubts(one)
    closed = [one for one in met if one.load is not None and one.load.startswith("concurrency")]
    if closed:
        yield (
            f"measured with a fixed number of requests in flight: {_names(closed)}; requests that come at random times also "
            "wait for one another, which an open load (Poisson) measures"
        )
    if any(one.instances is not None and one.instances > 1 for one in met):
        yield "several instances are taken to serve as many times what one was measured to serve, requests spread evenly"
    for one in candidates:
        if one.standing in ("unknown", "unmeasured"):
            yield f"not known of {one.deployment} on {one.prompts}: {one.reason or 'nothing was measured'}"
    unpriced = [one for one in met if one.usd_per_1000_requests is None]
    if unpriced and len(unpriced) < len(met):
        yield f"the price is not known of: {_names(unpriced)}"


def _room(met: Sequence[Candidate]) -> Iterator[str]:
    room = [one for one in met if one.highest]
    if room:
        yield f"no higher load was measured, so there may be room for more: {_names(room)}"
    for one in met:
        if not one.highest and one.limited_by:
            yield f"{_at(one)} is limited: {one.limited_by}"


def _doubts(one: Candidate) -> Iterator[str]:
    for judged in one.judged:
        if judged.interval is not None and judged.met and not judged.sure:
            yield (
                f"{_at(one)} keeps to the limit by what was measured, but the 95% interval of {judged.name} reaches to "
                f"{judged.interval[1]:.3g} s"
            )


def _names(some: Sequence[Candidate]) -> str:
    return ", ".join(dict.fromkeys(map(_at, some)))


def _at(one: Candidate) -> str:
    return f"{one.deployment} at {one.load}"
