"""Benchmark foundation-model endpoints: latency, throughput and cost, with the error of the measurement shown.

>>> from fmbench import Benchmark, Concurrency, Parameters, SLO
"""

# The layers. Imports run one way only: a room stands above all that it imports.
#
#   errors ← types ← plugins, load, metrics, recording, journal, wire ← validity, advice ← result ← interfaces
#     ← engine ← benchmark ← config ← this face ← invokers, prompts, reporters ← deployers, testing ← cli
#
# Adapters stand above the face: the built-in ones use what a stranger's may use, and are found like a stranger's.

from __future__ import annotations

from fmbench.errors import (
    ConfigError,
    DeployError,
    FmbenchError,
    InvokeError,
    PluginBroken,
    PluginError,
    PluginNotFound,
    ReportError,
    RunDirectoryError,
)
from fmbench.interfaces import Decoder, Deployer, Endpoint, Exchange, Invoker, PromptSource, Reporter, Run, Session, Tokenizer
from fmbench.load import Concurrency, ConstantRate, Load, Poisson
from fmbench.types import Completion, Delta, Facts, Head, Parameters, Prompt, Record, Request, Usage

__all__ = [
    "Completion",
    "Concurrency",
    "ConfigError",
    "ConstantRate",
    "Decoder",
    "Delta",
    "DeployError",
    "Deployer",
    "Endpoint",
    "Exchange",
    "Facts",
    "FmbenchError",
    "Head",
    "InvokeError",
    "Invoker",
    "Load",
    "Parameters",
    "PluginBroken",
    "PluginError",
    "PluginNotFound",
    "Poisson",
    "Prompt",
    "PromptSource",
    "Record",
    "ReportError",
    "Reporter",
    "Request",
    "Run",
    "RunDirectoryError",
    "Session",
    "Tokenizer",
    "Usage",
]
