"""What a recorded probe says of an SLO: each limit's values out of the records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmbench.advice.evidence import Evidence, Values, evidence_of, limits_of
from fmbench.advice.search import Trial
from fmbench.advice.slo import SLO, statistic_of

if TYPE_CHECKING:
    from fmbench.metrics.sample import Booleans, Sample

__all__ = ["trial_of"]


def trial_of(load: float, sample: Sample, slo: SLO) -> Trial:
    """Hold a probe's requests against every limit of an SLO.

    Args:
        load: The probe's load.
        sample: Its records.
        slo: The limits; failures count against each percentile.
    """
    limits = limits_of(slo)
    evidence = [_against(name, limit, sample) for name, limit in limits.items()]
    return Trial(load, int(sample.due.sum()), tuple(evidence))


def _against(name: str, limit: float, sample: Sample) -> Evidence:
    import numpy as np  # noqa: PLC0415 - loading numpy starts threads, and `import fmbench` starts none

    order = np.argsort(sample.numbers("due_ns"), kind="stable")
    failed = sample.due & sample.among("status", "error", "timeout")
    if name == "error_rate":
        ended = failed | sample.counted
        return evidence_of(name, limit, Values(np.empty(0), failed[order][ended[order]]))
    metric, statistic = statistic_of(name)
    if metric == "itl":
        return evidence_of(name, limit, _gaps(sample, failed))
    from fmbench.metrics.formulas import seconds_of  # noqa: PLC0415 - as above

    seconds = seconds_of(sample, metric)
    # What was cancelled when waiting for it was over took at least as long; where that is within the limit, it tells nothing.
    waited = (sample.numbers("end_ns") - sample.numbers("due_ns")) / 1e9
    cut = sample.due & sample.among("status", "cancelled") & np.isnan(seconds)
    if statistic == "mean":
        seconds = np.where(cut, waited, seconds)
        over = failed
    else:
        over = failed | (cut & (waited > limit))
    known = (sample.due & sample.among("status", "ok", "cancelled") & ~np.isnan(seconds) & ~over)[order]
    chosen = known | over[order]
    return evidence_of(name, limit, Values(seconds[order][known], over[order][chosen], open_load=sample.open_load))


def _gaps(sample: Sample, failed: Booleans) -> Values:
    import numpy as np  # noqa: PLC0415 - as above

    counts = np.zeros(len(sample), dtype=np.int64)
    parts = [np.empty(0)]
    for arrivals in sample.arrivals():
        found, counts[arrivals.records] = arrivals.gaps(sample.counted[arrivals.records])
        parts.append(found / 1e9)
    gaps, rows = np.concatenate(parts), np.repeat(np.arange(len(sample)), counts)
    having = counts > 0
    order = np.argsort(sample.numbers("due_ns"), kind="stable")
    chosen = order[(having | failed)[order]]
    place = np.full(len(sample), -1, dtype=np.int64)
    place[chosen] = np.arange(len(chosen))
    return Values(gaps, failed[chosen], owners=place[rows], open_load=sample.open_load)
