"""The decision: service-level objectives, which configuration meets them, how many instances of it."""

from __future__ import annotations

from fmbench.advice.advice import Advice, advise
from fmbench.advice.choosing import Candidate, Judged, Measured
from fmbench.advice.slo import SLO

__all__ = ["SLO", "Advice", "Candidate", "Judged", "Measured", "advise"]
