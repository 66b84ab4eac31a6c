"""The only concurrent code: send what is planned when it is due, and write down what happened.

``flight`` follows one request from its sending to its record, ``decoding`` reads replies in short slices between the
sockets' reads, ``pacing`` waits for due times, ``sending`` keeps the load, ``conversing`` one of conversations, whose turns
``talking`` makes, ``accounting`` looks at the process that does all this.
"""

from __future__ import annotations

from fmbench.engine.accounting import accounted, worst_of
from fmbench.engine.flight import Assignment
from fmbench.engine.outcome import Log, Outcome
from fmbench.engine.pacing import Alarm, alarm
from fmbench.engine.sending import Engine
from fmbench.engine.starting import engine_for, measure
from fmbench.engine.talking import as_planned

__all__ = [
    "Alarm",
    "Assignment",
    "Engine",
    "Log",
    "Outcome",
    "accounted",
    "alarm",
    "as_planned",
    "engine_for",
    "measure",
    "worst_of",
]
