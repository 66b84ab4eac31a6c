"""What a comparison looks at: one experiment's requests as columns, in the order in which they were due."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fmbench.metrics import Distribution

    Numbers = NDArray[np.float64]
    Places = NDArray[np.int64]

__all__ = ["Observed", "Spread", "Workload"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What was asked of an endpoint: what has to be equal for two measurements of it to be compared.

    Args:
        prompts: The prompt set's name.
        prompts_digest: A digest of its prompts in their order; ``None`` where the run did not note one.
        parameters: The generation parameters.
        load: The load's type and fields.
    """

    prompts: str
    prompts_digest: str | None
    parameters: Mapping[str, Any]
    load: Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """A metric's values, and the request (its place in the order) that each belongs to."""

    values: Numbers
    places: Places


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Observed:
    """One experiment, as far as a comparison looks at one. Columns have one entry a request, in the order of due times.

    Args:
        name: The experiment's.
        run: Its run's folder.
        deployment: Its deployment's name.
        workload: What was asked of it.
        facts: What is known of its endpoint.
        verdict: What validity says of it.
        reason: Why nothing was measured, where nothing was.
        keys: A number for which prompt each request had, and for which time: equal numbers of two runs are one prompt.
        spreads: The latencies by metric: ``latency``, ``ttft``, ``itl`` …
        distributions: The same as the experiment tells them.
        figures: ``tps``, ``output_throughput``, ``error_rate``; ``None`` where not known.
        reasons: Why a figure is not known.
        ended: Which requests ended by themselves.
        failed: Which of these failed.
        in_flight: How many requests were in flight, on average: so many neighbours share one state of the server.
        turns: For rates: what each turn (of a closed load: a request from due to its end; of an open one: the time since the
            last reply) brought in ``replies`` and in ``tokens``, and the ``seconds`` it took.
        turns_paired: Whether turns are requests, and so can be paired by their prompts.
    """

    name: str
    run: str
    deployment: str
    workload: Workload
    facts: Mapping[str, Any]
    verdict: str
    reason: str | None
    keys: NDArray[np.uint64]
    spreads: Mapping[str, Spread]
    distributions: Mapping[str, Distribution]
    figures: Mapping[str, float | None]
    reasons: Mapping[str, str]
    ended: NDArray[np.bool_]
    failed: NDArray[np.bool_]
    in_flight: float
    turns: Mapping[str, Numbers]
    turns_paired: bool
