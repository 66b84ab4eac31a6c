"""The charts of a result, drawn by matplotlib, each with its numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fmbench.reporters.charts.chart import Chart, Panel
from fmbench.reporters.charts.decision import cost_by_requests, latency_throughput, price_performance
from fmbench.reporters.charts.distributions import itl_distribution, latency_distribution, prompt_lengths, ttft_distribution
from fmbench.reporters.charts.lengths import across_deployments, latency_by_prompt_tokens, token_length_effect
from fmbench.reporters.charts.loads import latency_by_load, throughput_by_load
from fmbench.reporters.charts.view import View

if TYPE_CHECKING:
    from fmbench import Result

__all__ = ["Chart", "Panel", "charts_of"]


def charts_of(result: Result, *, bin_tokens: int | None = None) -> list[Chart]:
    """Every chart of a result, in the order in which a reader wants them; one without panels says why it has none.

    Args:
        result: The result.
        bin_tokens: The width of the bins of prompt lengths; chosen by the lengths unless given.
    """
    view = View(result)
    across = across_deployments(view, bin_tokens)
    cost = cost_by_requests(view)
    return [
        latency_throughput(view),
        price_performance(view),
        *([] if cost is None else [cost]),
        *throughput_by_load(view),
        *latency_by_load(view),
        prompt_lengths(view, bin_tokens),
        latency_distribution(view),
        latency_by_prompt_tokens(view),
        token_length_effect(view, bin_tokens),
        *([] if across is None else [across]),
        ttft_distribution(view),
        itl_distribution(view),
    ]
