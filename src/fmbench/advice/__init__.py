"""The decision: service-level objectives, which configuration meets them, how many instances of it; how much one can take."""

from __future__ import annotations

from fmbench.advice.advice import Advice, advise
from fmbench.advice.capacity import Broken, Capacity, CapacityAnswer, answer_of
from fmbench.advice.choosing import Candidate, Judged, Measured
from fmbench.advice.comparison import Comparison, Difference
from fmbench.advice.evidence import Evidence, Values, evidence_of, limits_of, requests_for
from fmbench.advice.front import Point
from fmbench.advice.search import Estimate, Probe, Search, Trial
from fmbench.advice.slo import SLO
from fmbench.advice.table import AdviceTable
from fmbench.advice.trying import trial_of

__all__ = [
    "SLO",
    "Advice",
    "AdviceTable",
    "Broken",
    "Candidate",
    "Capacity",
    "CapacityAnswer",
    "Comparison",
    "Difference",
    "Estimate",
    "Evidence",
    "Judged",
    "Measured",
    "Point",
    "Probe",
    "Search",
    "Trial",
    "Values",
    "advise",
    "answer_of",
    "evidence_of",
    "limits_of",
    "requests_for",
    "trial_of",
]
