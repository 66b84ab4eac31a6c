"""The embedded default: a real engine, a model made here, and natural prompts, so that a first run needs nothing else."""

from __future__ import annotations

from fmbench import SLO, Benchmark, Concurrency, ConfigError, Parameters
from fmbench.deployers import LlamaCpp
from fmbench.invokers import OpenAI
from fmbench.prompts import PythonTopics

__all__ = ["REQUESTS_PER_MINUTE", "quickstart_benchmark"]

REQUESTS_PER_MINUTE = 6000
"""The rate that the advice is asked for."""
REQUESTS = 140
"""What a 95th percentile needs, 130, and some for arrivals that have no time of their own."""
PROMPTS = 150
NEW_TOKENS = 32
LOADS = (1, 2, 4, 8)
LIMIT_SECONDS = 0.5


def quickstart_benchmark() -> Benchmark:
    """Two serving configurations of one small model, each at four concurrencies.

    Raises:
        ConfigError: the ``local`` extra is not installed.
    """
    # Replies of one length, so that the two configurations can be compared; no prompt from a cache.
    invoker = OpenAI(extra={"ignore_eos": True, "cache_prompt": False, "timings_per_token": True}, keep_alive=False)
    deployers = [LlamaCpp(slots=1, name="one-slot", invoker=invoker), LlamaCpp(slots=8, name="eight-slots", invoker=invoker)]
    try:
        deployers[0].describe()
    except ConfigError as error:
        raise ConfigError(f"quickstart: {error}") from None
    return Benchmark(
        name="quickstart",
        deployers=deployers,
        prompts=PythonTopics(PROMPTS),
        loads=[Concurrency(n, requests=REQUESTS) for n in LOADS],
        parameters=Parameters(max_new_tokens=NEW_TOKENS, temperature=0.8, seed=7),
        slo=SLO(latency_p95_seconds=LIMIT_SECONDS),
        reporters=["csv", "json", "markdown", "charts", "html"],
    )
