"""What serving costs, from prices and measured rates."""

from __future__ import annotations

import numpy as np

from fmbench.metrics.distribution import Figure
from fmbench.metrics.formulas import output_throughput, tps
from fmbench.metrics.prices import Prices, usd_of_time
from fmbench.metrics.sample import Booleans, Sample

__all__ = ["usd_of_tokens", "usd_per_1000_requests", "usd_per_million_output_tokens"]


def usd_of_tokens(sample: Sample, prices: Prices, chosen: Booleans) -> Figure:
    """(Prompt tokens x input price + completion tokens x output price) / 1,000,000.

    Tokens that the server had cached are charged in full, so this is an upper bound where caching is cheaper.

    Args:
        sample: The records.
        prices: The two per-token prices.
        chosen: Which records are paid for.
    """
    prompt, completion = (sample.numbers(column)[chosen] for column in ("prompt_tokens", "completion_tokens"))
    if np.isnan(prompt).any() or np.isnan(completion).any():
        return Figure(None, "USD", "some requests' tokens were not counted")
    dear = prompt.sum() * (prices.usd_per_million_input_tokens or 0) + completion.sum() * (
        prices.usd_per_million_output_tokens or 0
    )
    return Figure(float(dear) / 1e6, "USD")


def usd_per_1000_requests(sample: Sample, prices: Prices) -> Figure:
    """What 1,000 successful requests cost at the measured rate, start-up left out.

    By the hour: usd_per_hour x instances / 3,600 / tps x 1,000. By tokens: the mean over the counted requests x 1,000.
    """
    if prices.by_tokens:
        return _per_counted(sample, prices, int(sample.counted.sum()), 1000)
    return _per_rate(prices, tps(sample), 1000)


def usd_per_million_output_tokens(sample: Sample, prices: Prices) -> Figure:
    """What 1,000,000 completion tokens cost at the measured rate, prompts included and start-up left out.

    By the hour: usd_per_hour x instances / 3,600 / output throughput x 1,000,000. By tokens: what the counted requests cost
    / their completion tokens x 1,000,000.
    """
    if prices.by_tokens:
        return _per_counted(sample, prices, float(np.nansum(sample.numbers("completion_tokens")[sample.counted])), 1e6)
    return _per_rate(prices, output_throughput(sample), 1e6)


def _per_rate(prices: Prices, rate: Figure, many: float) -> Figure:
    if prices.usd_per_hour is None:
        return Figure(None, "USD", prices.why_unknown)
    if not rate.value:
        return Figure(None, "USD", rate.reason or "nothing was completed in the window")
    return Figure(usd_of_time(prices.usd_per_hour, prices.instances, many / rate.value), "USD")


def _per_counted(sample: Sample, prices: Prices, count: float, many: float) -> Figure:
    dear = usd_of_tokens(sample, prices, sample.counted)
    if dear.value is None or not count:
        return Figure(None, "USD", dear.reason or sample.why_nothing("no reply had a token"))
    return Figure(dear.value / count * many, "USD")
