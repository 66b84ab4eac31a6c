"""Benchmark foundation-model endpoints: latency, throughput and cost, with the error of the measurement shown.

>>> from fmbench import Benchmark, Concurrency, Parameters, SLO
"""

# The layers. Imports run one way only: a room stands above all that it imports.
#
#   errors ← types ← options, plugins, load, metrics, pricing, recording, journal, wire ← validity, advice ← result ← interfaces
#     ← engine ← workers ← benchmark ← config ← this face ← invokers, prompts, reporters, simulator ← deployers, testing
#     ← calibration ← cli
#
# Adapters stand above the face: the built-in ones use what a stranger's may use, and are found like a stranger's.

from __future__ import annotations

from fmbench.advice import SLO, Advice, AdviceTable, Candidate, Capacity, CapacityAnswer, Comparison, Point
from fmbench.benchmark import Benchmark, Case, Plan, Progress, load_tokenizer
from fmbench.config import load_config
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
from fmbench.load import Concurrency, ConstantRate, Gamma, Load, Poisson, Ramp, Replay
from fmbench.metrics import Distribution
from fmbench.options import checked
from fmbench.pricing import HostingPrice, PriceBook, price_in_list, price_list_query
from fmbench.result import Experiment, Result
from fmbench.types import Completion, Delta, Facts, Found, Head, Parameters, Prompt, Record, Request, Usage
from fmbench.validity import Check

__all__ = [
    "SLO",
    "Advice",
    "AdviceTable",
    "Benchmark",
    "Candidate",
    "Capacity",
    "CapacityAnswer",
    "Case",
    "Check",
    "Comparison",
    "Completion",
    "Concurrency",
    "ConfigError",
    "ConstantRate",
    "Decoder",
    "Delta",
    "DeployError",
    "Deployer",
    "Distribution",
    "Endpoint",
    "Exchange",
    "Experiment",
    "Facts",
    "FmbenchError",
    "Found",
    "Gamma",
    "Head",
    "HostingPrice",
    "InvokeError",
    "Invoker",
    "Load",
    "Parameters",
    "Plan",
    "PluginBroken",
    "PluginError",
    "PluginNotFound",
    "Point",
    "Poisson",
    "PriceBook",
    "Progress",
    "Prompt",
    "PromptSource",
    "Ramp",
    "Record",
    "Replay",
    "ReportError",
    "Reporter",
    "Request",
    "Result",
    "Run",
    "RunDirectoryError",
    "Session",
    "Tokenizer",
    "Usage",
    "checked",
    "load_config",
    "load_tokenizer",
    "price_in_list",
    "price_list_query",
]
