"""When requests are due: closed and open loads, as pure, seeded plans.

``planned`` says what a load is, ``closed`` has the one closed load, ``opened`` the open ones, ``replay`` the one that takes
its times from the prompts, ``conversing`` makes any of them one of sessions.
"""

from __future__ import annotations

from fmbench.load.closed import Concurrency
from fmbench.load.conversing import Conversing, conversations, conversing
from fmbench.load.opened import ConstantRate, Gamma, Poisson, Ramp
from fmbench.load.planned import LEAST_REQUESTS, Load, Planned
from fmbench.load.replay import Replay

__all__ = [
    "LEAST_REQUESTS",
    "Concurrency",
    "ConstantRate",
    "Conversing",
    "Gamma",
    "Load",
    "Planned",
    "Poisson",
    "Ramp",
    "Replay",
    "conversations",
    "conversing",
]
