"""What each check is for: its limits, why they matter, what to do, and which test proves it. The page is made from this."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fmbench.metrics import MOST_ERRORS, QUANTILES, requests_needed
from fmbench.validity import checks, client, keeping, lengths, steadiness
from fmbench.validity.check import Check
from fmbench.validity.subject import SHARED_HOST_ALLOWANCE, Subject

__all__ = ["EXPLAINED", "Explained"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One check, for people.

    Args:
        look: The check; its docstring is the question that it answers.
        name: What it is called in a result.
        limits: From where on it warns and fails.
        why: Why that matters.
        remedy: What to do.
        proof: The test that holds it.
    """

    look: Callable[[Subject], Check | None]
    name: str
    limits: str
    why: str
    remedy: str
    proof: str


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:g} ms"


_SHARED = f"{SHARED_HOST_ALLOWANCE} times that on a host shared with the engine"
_NEEDED = ", ".join(f"{requests_needed(q)} for p{q * 100:g}" for q in QUANTILES)

EXPLAINED: tuple[Explained, ...] = (
    Explained(
        look=checks.measured,
        name="measured",
        limits="Warns of an experiment that was cut short; fails one that was stopped or never sent.",
        why="Figures of half a plan are not those of the plan.",
        remedy="See the reason, and measure again or resume.",
        proof="tests/validity/test_checks.py::test_only_what_was_measured_to_its_end_passes",
    ),
    Explained(
        look=checks.accounting,
        name="accounting",
        limits="Fails unless scheduled = ok + error + timeout + cancelled + not sent, each once; warns of a killed run.",
        why="A tool that loses requests loses the slow ones.",
        remedy="Resume a killed run; else the records are damaged.",
        proof="tests/validity/test_checks.py::test_each_planned_request_has_one_record",
    ),
    Explained(
        look=client.workers,
        name="workers",
        limits="Fails where one died. Left out with a single process.",
        why="Its streams fall silent: the load is no longer the one asked for.",
        remedy="See why it died; what it had written is kept.",
        proof="tests/validity/test_client.py::test_a_worker_that_died_is_named",
    ),
    Explained(
        look=checks.errors,
        name="error_rate",
        limits=f"Warns above 0; fails above {MOST_ERRORS:.0%}.",
        why="Latencies are of the requests that succeeded, and an endpoint that refuses some is quicker with the others.",
        remedy="See the errors by kind.",
        proof="tests/validity/test_checks.py::test_each_check_says_from_where_on_it_doubts",
    ),
    Explained(
        look=checks.unfinished,
        name="unfinished",
        limits=f"Warns above 0; fails above {MOST_ERRORS:.0%} of the requests sent.",
        why="Those that were cancelled when the drain ended were the slowest, and are missing from the latencies.",
        remedy="Raise drain_seconds, or lower the load.",
        proof="tests/validity/test_checks.py::test_each_check_says_from_where_on_it_doubts",
    ),
    Explained(
        look=checks.percentile_requests,
        name="percentile_requests",
        limits=f"Warns below {_NEEDED}; fails without any successful request.",
        why="Below them a percentile stands on one or two requests. It is None then (MLPerf's early stopping).",
        remedy="Measure more requests.",
        proof="tests/validity/test_provoked.py::test_too_few_requests_are_flagged",
    ),
    Explained(
        look=keeping.schedule_slip,
        name="schedule_slip",
        limits=f"Open loads. Warns above {_ms(keeping.SLIP_SECONDS[0])} (99th percentile); fails above "
        f"{_ms(keeping.SLIP_SECONDS[1])} that are also more than {keeping.SLIP_SHARE:.0%} of the median response latency. "
        "The figure is the client's own lateness: sent - due, without connecting and signing, of the requests that did not "
        "wait under max_concurrency; the wait of those is told beside it.",
        why="A client that sends late lowers the load. Response latency counts from due, and holds the delay.",
        remedy="Give the client a core of its own.",
        proof="tests/validity/test_keeping.py::test_requests_that_are_sent_late_are_told_of",
    ),
    Explained(
        look=keeping.achieved_concurrency,
        name="achieved_concurrency",
        limits=f"Closed loads. Warns below {keeping.HELD[0]:.0%} of the streams asked for; fails below {keeping.HELD[1]:.0%}. "
        "The figure is the time-averaged number of requests between sent and their last byte's arrival; with conversations "
        "that of sessions between their first turn's sending and the last byte of their last one.",
        why="A client that takes long between requests leaves the endpoint idle: throughput is then the client's.",
        remedy="Give the client a core of its own, or measure for longer, so that uneven ends weigh less.",
        proof="tests/validity/test_keeping.py::test_streams_that_were_not_kept_busy_are_told_of",
    ),
    Explained(
        look=keeping.achieved_rate,
        name="achieved_rate",
        limits=f"Open loads. Warns where less than {keeping.SENT[0]:.0%} of the requests due in the window were sent in it "
        f"(or within {keeping.GRACE:.0%} of its length after it); fails below {keeping.SENT[1]:.0%}. The rates asked for, "
        "offered, sent and completed are told.",
        why="The endpoint has not seen the rate in the experiment's name.",
        remedy="Raise max_concurrency, or lower the rate.",
        proof="tests/validity/test_keeping.py::test_requests_that_were_held_back_are_missing_from_the_rate",
    ),
    Explained(
        look=keeping.littles_law,
        name="littles_law",
        limits=f"Warns where tps x mean service latency is more than {keeping.LITTLE[0]:.0%} from the mean number in flight; "
        f"fails at {keeping.LITTLE[1]:.0%}. Mean latency / window is added to both limits, for requests that are partly in "
        "the window.",
        why="The three are counted apart, and must agree: L = λ W. Where they do not, some requests are in no figure, or the "
        "client read replies long after they came.",
        remedy="Look at errors, cancelled requests and client_delay; measure for longer.",
        proof="tests/validity/test_keeping.py::test_requests_in_flight_that_no_latency_tells_of_break_little_s_law",
    ),
    Explained(
        look=steadiness.steady_state,
        name="steady_state",
        limits=f"Warns where latency drifts (see below) and its mean changes by more than {steadiness.MOVED:.0%} from the "
        f"first third of the window to the last, or where the window is shorter than {steadiness.SHORT_WINDOW} mean latencies.",
        why="Caches that fill, clocks that throttle, replicas that start: the figures are then an average of several states.",
        remedy="More warm-up, or a longer window. Prompts in the order of their length look the same: shuffle them.",
        proof="tests/validity/test_trend.py::test_values_that_hang_together_are_taken_for_a_drift_in_one_of_a_hundred_runs_or_so",
    ),
    Explained(
        look=steadiness.growing_queue,
        name="growing_queue",
        limits=f"Open loads of one rate. Warns where response latency drifts upward and grows by more than "
        f"{steadiness.GREW:.0%}; fails where it also grows by more than {steadiness.BEHIND:g} s a second. Requests that were "
        "given up count with the time they had waited.",
        why="The endpoint cannot keep up. Latency is then a measure of the window's length, and no percentile means anything.",
        remedy="Offer less, or measure the capacity with closed loads.",
        proof="tests/validity/test_provoked.py::test_a_queue_that_grows_is_flagged",
    ),
    Explained(
        look=client.error_bound,
        name="error_bound",
        limits=f"Warns above {_ms(client.ERROR_SECONDS[0])}; fails above {_ms(client.ERROR_SECONDS[1])} that are also more "
        f"than {client.ERROR_SHARE:.0%} of the median TTFT (latency, where nothing was streamed). The formula is below.",
        why="It is what may be wrong in a single TTFT or latency by the client's doing.",
        remedy="Use an invoker on fmbench.wire, on Linux.",
        proof="tests/validity/test_client.py::test_the_error_bound_is_the_sum_of_what_may_be_off",
    ),
    Explained(
        look=client.kernel_stamps,
        name="kernel_stamps",
        limits="Warns unless every request has the kernel's arrival times.",
        why="Without them a busy client shows up as a slow server.",
        remedy="Use an invoker on fmbench.wire, on Linux.",
        proof="tests/validity/test_checks.py::test_each_check_says_from_where_on_it_doubts",
    ),
    Explained(
        look=checks.coalesced,
        name="coalesced",
        limits=f"Warns above {checks.COALESCED[0]:.1%} of the arrivals; fails above {checks.COALESCED[1]:.0%} ({_SHARED}).",
        why="The kernel merges what queues up before a read, and keeps the last time. Such tokens are left out of TTFT and "
        "ITL, and those that are left out are not any: they came when the client was busy.",
        remedy="A core of its own for the client, or a lower load. A server that sends several tokens at once does it too.",
        proof="tests/validity/test_provoked.py::test_a_client_that_blocks_its_loop_is_flagged",
    ),
    Explained(
        look=client.delay,
        name="client_delay",
        limits=f"Warns above {_ms(client.DELAY_SECONDS[0])} (99th percentile of each request's worst); fails above "
        f"{_ms(client.DELAY_SECONDS[1])} ({_SHARED}).",
        why="It is what a client without kernel times would have added to its figures. It is not in these, but a client that "
        "is late in reading is late in sending the next request too.",
        remedy="A core of its own for the client.",
        proof="tests/validity/test_provoked.py::test_a_client_that_blocks_its_loop_is_flagged",
    ),
    Explained(
        look=client.loop_lag,
        name="loop_lag",
        limits=f"Warns above {_ms(client.LAG_SECONDS[0])} (99th percentile, beyond the timers' own 1.1 ms); fails above "
        f"{_ms(client.LAG_SECONDS[1])} ({_SHARED}).",
        why="What the loop is late for is sent late, timed out late and, without kernel times, stamped late.",
        remedy="Keep slow work out of send and of callbacks; give the client a core of its own.",
        proof="tests/validity/test_provoked.py::test_a_client_that_blocks_its_loop_is_flagged",
    ),
    Explained(
        look=client.clock_mapping,
        name="clock_mapping",
        limits=f"Warns above {client.CLOCK_STEP_SECONDS * 1e6:g} µs between two samples, a second apart.",
        why="The kernel stamps with the wall clock; a step of it moves the stamps between two samples.",
        remedy="Let time synchronisation settle, and measure again.",
        proof="tests/validity/test_client.py::test_a_clock_that_steps_is_warned_of",
    ),
    Explained(
        look=client.client_cpu,
        name="client_cpu",
        limits=f"Warns above {client.BUSY:.0%} of one core.",
        why="Beyond it the client is the bottleneck.",
        remedy="Lower the load, or use more workers.",
        proof="tests/validity/test_client.py::test_a_busy_client_and_a_busy_machine_are_warned_of",
    ),
    Explained(
        look=client.core_contention,
        name="core_contention",
        limits=f"Warns where the measuring thread waited for a processor in more than {client.CONTENDED:.0%} of the time in "
        f"which it could run, and in {client.CONTENDED_LEAST:.0%} of all time at least. Linux only.",
        why="Another process takes its core. Kernel times keep this out of the figures; client_delay tells what it was worth.",
        remedy="Stop the other process, or pin it elsewhere.",
        proof="tests/validity/test_provoked.py::test_a_client_whose_core_others_take_is_flagged",
    ),
    Explained(
        look=client.host_pressure,
        name="host_pressure",
        limits=f"Warns where some task of the machine waited for a processor in more than {client.PRESSURE:.0%} of the time. "
        "Linux only.",
        why="The machine is short of processors. An engine on it is slowed down, too.",
        remedy="Measure from a machine that is idle otherwise.",
        proof="tests/validity/test_client.py::test_a_busy_client_and_a_busy_machine_are_warned_of",
    ),
    Explained(
        look=checks.prompt_repetition,
        name="prompt_repetition",
        limits="Warns above 0.",
        why="A server that remembers prompts answers those sooner.",
        remedy="Give at least as many prompts as requests.",
        proof="tests/validity/test_provoked.py::test_repeated_prompts_are_flagged",
    ),
    Explained(
        look=checks.cached_tokens,
        name="cached_tokens",
        limits="Warns above 0, where the server tells; of conversations only first turns count, since the rest of a history is "
        "meant to be cached.",
        why="Prompts from the cache cost no prefill.",
        remedy="Switch prefix caching off, or see that production is like this.",
        proof="tests/validity/test_checks.py::test_each_check_says_from_where_on_it_doubts",
    ),
    Explained(
        look=checks.completion_tokens_source,
        name="completion_tokens_source",
        limits="Warns where any reply's length is an estimate.",
        why="TPOT and all tokens a second stand on these counts.",
        remedy="Give a tokenizer.",
        proof="tests/validity/test_checks.py::test_each_check_says_from_where_on_it_doubts",
    ),
    Explained(
        look=lengths.output_length,
        name="output_length",
        limits=f"Warns where a reply is longer than its request asked for, where all together are shorter than "
        f"{lengths.SHORT:.0%} of it, and, where the request told the server to fill it (ignore_eos, min_tokens), where any is.",
        why="A short reply is a fast one.",
        remedy="Compare only endpoints whose replies are alike in length; set ignore_eos where the server knows it.",
        proof="tests/validity/test_provoked.py::test_a_server_that_ignores_the_length_asked_for_is_flagged",
    ),
)
"""Every check of an experiment, in the order in which they are told."""
