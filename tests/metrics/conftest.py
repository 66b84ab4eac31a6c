"""Records and samples to measure by; session-scoped, so that hypothesis may use them."""

import pyarrow as pa
import pytest

from fmbench.metrics import Sample
from fmbench.recording import schema
from fmbench.types import Record

PLAIN = dict.fromkeys(Record._fields) | {
    "id": "r-0", "experiment": "e", "prompt_id": "p-0", "worker": 0, "phase": "measured", "status": "ok",
    "coalesced": 0, "clock": "kernel", "sent_source": "adapter", "streamed": True,
}  # fmt: skip


@pytest.fixture(scope="session")
def make_record():
    """A record as the engine writes it: streamed, with ``arrivals_ns`` all its own unless told otherwise."""

    def make(**changes):
        row = PLAIN | changes
        arrivals = row["arrivals_ns"]
        if arrivals:
            defaults = {
                "arrival_coalesced": [False] * len(arrivals), "first_token_ns": arrivals[0], "last_token_ns": arrivals[-1],
                "last_byte_ns": arrivals[-1], "end_ns": arrivals[-1], "completion_tokens": len(arrivals),
            }  # fmt: skip
            row = row | {name: value for name, value in defaults.items() if name not in changes}
        return row

    return make


@pytest.fixture(scope="session")
def make_sample():
    def make(rows, windows=((0, 10**12),), *, open_load=False):
        return Sample(pa.Table.from_pylist(list(rows), schema=schema()), windows, open_load=open_load)

    return make
