"""The one table of metrics: name, unit, formula, what it means, what peers call it. The documentation is made from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fmbench.metrics import formulas, money, prices
from fmbench.metrics.distribution import Distribution, Figure

__all__ = ["METRICS", "RULES", "Metric"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric.

    Args:
        name: The attribute of ``Experiment`` (``cost``: of ``Result``).
        unit: Its unit.
        over: What there is one value of: ``request``, ``gap`` (a distribution), or ``experiment``, ``run`` (one figure).
        formula: In columns of ``records.arrow``; nanoseconds become seconds.
        definition: What it means, and for whom.
        peers: What other tools call it, and where they differ.
        function: The code; a ``Sample`` comes first where it takes one.
    """

    name: str
    unit: str
    over: str
    formula: str
    definition: str
    peers: str
    function: Callable[..., Distribution | Figure | float]


RULES = (
    (
        "A request is *counted* when its phase is measured or drain, its due_ns lies in a window (both ends included) and its "
        "status is ok. Every distribution is over the counted requests that have the value."
    ),
    (
        "A rate counts what happened inside the windows, whatever the phase of the request it belongs to: a warm-up request "
        "still in flight when the window opens occupies the endpoint too. It is divided by the length of all windows "
        "together."
    ),
    "A failed request has no latency. It counts in error_rate, and never as good in goodput.",
    (
        "Quantiles are exact and interpolate linearly between the two nearest values (numpy's and pandas's default). One that "
        "stands on fewer requests than its early-stopping bound is None: p50 needs 11, p90 64, p95 130, p99 662."
    ),
    "A quantile's confidence interval is that of the binomial order statistics at 95 %, whatever the distribution.",
    "last_ns stands for last_token_ns, or last_byte_ns where a reply brought no token.",
)
"""What holds for all of them."""

METRICS: tuple[Metric, ...] = (
    Metric(
        name="service_latency",
        unit="s",
        over="request",
        formula="last_ns - sent_ns",
        definition="From the moment the request's first byte was written to the arrival of its last token (for an unstreamed "
        "reply, of its last piece). The headline `latency` of a closed load.",
        peers="AIPerf: request latency; GuideLLM: request latency; vLLM: E2EL, up to the last chunk; LLMeter: time to last "
        "token.",
        function=formulas.service_latency,
    ),
    Metric(
        name="response_latency",
        unit="s",
        over="request",
        formula="last_ns - due_ns",
        definition="From the moment the request was due: waiting for a free connection, for a signature or for a client that "
        "is late counts. The headline `latency` of an open load.",
        peers="MLPerf's Server latency starts there too; most peers start at sending, which hides queueing in the client.",
        function=formulas.response_latency,
    ),
    Metric(
        name="latency",
        unit="s",
        over="request",
        formula="response_latency under an open load, else service_latency",
        definition="The headline, and what an SLO's `latency` limits.",
        peers="See the two above.",
        function=formulas.latency,
    ),
    Metric(
        name="ttft",
        unit="s",
        over="request",
        formula="first_token_ns - sent_ns",
        definition="Time to first token, reasoning included. None for an unstreamed reply, and for one whose first token "
        "shares a read with a later piece.",
        peers="TTFT everywhere; vLLM counts a chunk that carries only a role; LLMPerf and SGLang open a connection for each "
        "request, so theirs holds its set-up.",
        function=formulas.ttft,
    ),
    Metric(
        name="itl",
        unit="s",
        over="gap",
        formula="arrivals_ns[i+1] - arrivals_ns[i], where neither is coalesced",
        definition="Inter-token latency: each gap between consecutive content arrivals. An arrival may bring several tokens. "
        "The number of requests, not of gaps, decides which quantiles are reported and how wide their intervals are.",
        peers="vLLM, SGLang: ITL; AIPerf: inter-chunk latency (its ITL is TPOT here); GuideLLM's ITL is one mean a request.",
        function=formulas.itl,
    ),
    Metric(
        name="tpot",
        unit="s",
        over="request",
        formula="(service_latency - ttft) / (completion_tokens - 1), from two tokens on",
        definition="Time per output token after the first: how fast one reply runs on.",
        peers="vLLM, SGLang, MLPerf: TPOT; AIPerf: ITL; LLMeter: time per output token; GuideLLM's TPOT includes TTFT.",
        function=formulas.tpot,
    ),
    Metric(
        name="token_throughput",
        unit="tokens/s",
        over="request",
        formula="completion_tokens / service_latency",
        definition="Tokens a second as one user sees them, the wait for the first included.",
        peers="AIPerf: end-to-end output token throughput; its TPS per user leaves TTFT out.",
        function=formulas.token_throughput,
    ),
    Metric(
        name="tps",
        unit="1/s",
        over="experiment",
        formula="count(status = ok and end_ns in a window) / window seconds",
        definition="Transactions a second: the requests that the endpoint got done.",
        peers="AIPerf, vLLM: request throughput, over the time to the last reply, ramp and drain included; GuideLLM: requests "
        "per second.",
        function=formulas.tps,
    ),
    Metric(
        name="output_throughput",
        unit="tokens/s",
        over="experiment",
        formula="sum of the tokens that arrived in a window / window seconds",
        definition="Completion tokens a second from the whole endpoint. An arrival brings arrival_tokens where the server "
        "tells, else completion_tokens / number of the request's arrivals; an unstreamed reply's all come at last_ns. Tokens "
        "of replies broken off later count, where they were counted.",
        peers="AIPerf, vLLM: output token throughput, over the time to the last reply.",
        function=formulas.output_throughput,
    ),
    Metric(
        name="error_rate",
        unit="1",
        over="experiment",
        formula="count(error, timeout) / count(ok, error, timeout), due in a window, warm-up left out",
        definition="The share of requests that failed. Those cancelled at the end, or never sent, are in neither number; "
        "validity tells of them.",
        peers="AIPerf: error request count; GuideLLM: errored requests.",
        function=formulas.error_rate,
    ),
    Metric(
        name="goodput",
        unit="1/s",
        over="experiment",
        formula="count(status = ok, end_ns in a window, within every limit of the SLO) / window seconds",
        definition="Requests a second that were served well. Each limit is applied to the single request; a limit on ITL to "
        "the same statistic of the request's own gaps. A value that is not known is not within a limit; a reply of one "
        "token has no TPOT and no gap, and is.",
        peers="vLLM, AIPerf, GuideLLM: goodput (vLLM: TTFT, TPOT and E2EL).",
        function=formulas.goodput,
    ),
    Metric(
        name="good_share",
        unit="1",
        over="experiment",
        formula="count(status = ok, within every limit) / count(sent), due in a window, warm-up left out",
        definition="The share of requests that were served well; failed and cancelled ones were not.",
        peers="AIPerf: good request fraction.",
        function=formulas.good_share,
    ),
    Metric(
        name="client_delay",
        unit="s",
        over="request",
        formula="client_delay_ns",
        definition="The worst delay between the kernel's arrival stamp and the reader's of each request: what a client that "
        "stamps in user space would have added to its figures. It is not in these.",
        peers="No peer looked at reports it: it is inside their TTFT and ITL.",
        function=formulas.client_delay,
    ),
    Metric(
        name="prompt_tokens",
        unit="tokens",
        over="request",
        formula="prompt_tokens",
        definition="The prompts' lengths, by the server's count, else the tokenizer's, else an estimate "
        "(prompt_tokens_source).",
        peers="AIPerf: ISL.",
        function=formulas.prompt_tokens,
    ),
    Metric(
        name="completion_tokens",
        unit="tokens",
        over="request",
        formula="completion_tokens",
        definition="The replies' lengths, reasoning included, by the same sources (completion_tokens_source).",
        peers="AIPerf: OSL.",
        function=formulas.completion_tokens,
    ),
    Metric(
        name="cost_per_1000_requests_usd",
        unit="USD",
        over="experiment",
        formula="usd_per_hour x instance_count / 3600 / tps x 1000; or the counted requests' mean token price x 1000",
        definition="What 1,000 successful requests cost on an endpoint kept as busy as it was measured, start-up left out.",
        peers="LLMeter's cost model; others leave it to a spreadsheet.",
        function=money.usd_per_1000_requests,
    ),
    Metric(
        name="usd_per_million_output_tokens",
        unit="USD",
        over="experiment",
        formula="usd_per_hour x instance_count / 3600 / output_throughput x 1,000,000; or token prices / completion tokens",
        definition="What a million completion tokens cost, their prompts included, start-up left out.",
        peers="The providers' price lists quote output tokens without their prompts.",
        function=money.usd_per_million_output_tokens,
    ),
    Metric(
        name="cost",
        unit="USD",
        over="run",
        formula="usd_per_hour x instance_count x hours from started_ns (without start-up: from ready_ns) to ended_ns; or "
        "tokens x prices",
        definition="What the run itself cost, told with and without start-up, by deployment and in all.",
        peers="No peer looked at tells what the measurement cost.",
        function=prices.usd_of_time,
    ),
)
"""Every metric, in the order in which a reader wants them."""
