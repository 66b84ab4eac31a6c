import numpy as np
import pyarrow as pa
import pytest

from fmbench.metrics import Sample
from fmbench.recording import schema
from fmbench.types import Record
from fmbench.validity.checks import assess
from fmbench.validity.subject import Subject

MS = 1_000_000

OK = dict.fromkeys(Record._fields) | {
    "experiment": "e", "worker": 0, "phase": "measured", "status": "ok", "client_delay_ns": 1000,
    "arrival_coalesced": [False, False], "coalesced": 0, "clock": "kernel", "sent_source": "adapter", "streamed": True,
    "prompt_tokens": 50, "completion_tokens": 100, "cached_tokens": 0, "completion_tokens_source": "server",
    "max_new_tokens": 100,
}  # fmt: skip

OBSERVED = {
    "cpu": {"process_seconds": 2.0, "wall_seconds": 10.0, "pressure_percent": 3.0},
    "queue": {"waited_seconds": 0.1, "ran_seconds": 2.0, "timeslices": 1000},
    "loop_lag": {"samples": 500, "p50_ns": 0, "p99_ns": 400_000, "max_ns": 2_000_000, "grain_ns": 1_100_000},
}


def times(sent, took=2 * MS, due=None):
    """The times of a request of two tokens."""
    middle, end = sent + took // 2, sent + took
    return {
        "due_ns": sent if due is None else due, "sent_ns": sent, "first_token_ns": middle, "last_token_ns": end,
        "last_byte_ns": end, "end_ns": end, "arrivals_ns": [middle, end],
    }  # fmt: skip


@pytest.fixture(name="at")
def fixture_at():
    """The times of a request: when it was sent, how long it took, when it was due."""
    return times


@pytest.fixture(scope="session")
def queue_latencies():
    """Response times of a single server (M/M/1, mean service 1), by Lindley's recursion as a running minimum."""

    def latencies(rng, utilization, requests, burn):
        total = requests + burn
        service = rng.exponential(1.0, total)
        steps = np.concatenate(([0.0], (service - rng.exponential(1 / utilization, total))[:-1]))
        walk = np.cumsum(steps)
        return (walk - np.minimum.accumulate(walk) + service)[burn:]

    return latencies


@pytest.fixture
def make_subject():
    """An experiment without fault, of ``count`` requests; ``change(number)`` gives what is different in one of them.

    One request is sent each millisecond and takes two: a closed load of two streams, which looks like an open one of 1,000
    requests a second.
    """

    def make(count=700, change=lambda number: {}, *, open_load=False, load=None, **about):
        rows = [
            OK | times(number * MS) | {"id": f"r-{number}", "prompt_id": f"p-{number}"} | change(number)
            for number in range(count)
        ]
        sample = Sample(pa.Table.from_pylist(rows, schema=schema()), [(0, count * MS)], open_load=open_load)
        load = load or {"type": "ConstantRate", "per_second": 1000} if open_load else {"type": "Concurrency", "n": 2}
        told = {"planned": count, "load": load, "streams": None if open_load else 2, "clock_step_seconds": 1e-6}
        return Subject(**({"experiment": "e", "sample": sample} | OBSERVED | told | about))

    return make


@pytest.fixture
def check_of(make_subject):
    """One check of such an experiment; ``None`` where it does not apply."""

    def find(name, *args, **about):
        found = [check for check in assess([make_subject(*args, **about)]) if check.name == name]
        assert len(found) <= 1
        return found[0] if found else None

    return find
