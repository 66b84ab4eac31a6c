"""A simulated inference server: a queueing model, pure; in virtual time, without any, and over real HTTP.

``models`` says how a server spends its time (``batching`` and ``queueing`` do it); ``simulating`` makes a run's records of
that, ``in_process`` puts it under the engine, ``serving`` puts it on a socket (``formats``, ``envelopes`` and ``speaking`` are
its words, ``truth`` its log, ``child`` its process). What comes from it is labelled *simulated*.
"""

from __future__ import annotations

from fmbench.simulator.faults import FAULT_HEADER, Faults
from fmbench.simulator.in_process import InProcessInvoker, facts, virtual_now
from fmbench.simulator.models import Batching, Fixed, Queueing, ServiceModel, model_of, parse_model, spec_of
from fmbench.simulator.service import Dealt, Job, Service
from fmbench.simulator.serving import ServerOptions, SimulatedServer
from fmbench.simulator.simulating import Simulated, serve, simulate
from fmbench.simulator.truth import Truth, read_truth

__all__ = [
    "FAULT_HEADER",
    "Batching",
    "Dealt",
    "Faults",
    "Fixed",
    "InProcessInvoker",
    "Job",
    "Queueing",
    "ServerOptions",
    "Service",
    "ServiceModel",
    "Simulated",
    "SimulatedServer",
    "Truth",
    "facts",
    "model_of",
    "parse_model",
    "read_truth",
    "serve",
    "simulate",
    "spec_of",
    "virtual_now",
]
