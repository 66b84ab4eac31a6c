"""A simulated inference server: a queueing model, pure, and what runs it in virtual time.

What comes from it is labelled *simulated*.
"""

from __future__ import annotations

from fmbench.simulator.in_process import InProcessInvoker, facts, virtual_now
from fmbench.simulator.models import Batching, Fixed, Queueing, ServiceModel
from fmbench.simulator.service import Dealt, Job, Service
from fmbench.simulator.simulating import Simulated, serve, simulate

__all__ = [
    "Batching",
    "Dealt",
    "Fixed",
    "InProcessInvoker",
    "Job",
    "Queueing",
    "Service",
    "ServiceModel",
    "Simulated",
    "facts",
    "serve",
    "simulate",
    "virtual_now",
]
