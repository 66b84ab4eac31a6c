import pyarrow as pa
import pytest

from fmbench.metrics import Sample
from fmbench.recording import schema
from fmbench.types import Record
from fmbench.validity.checks import Subject

MS = 1_000_000

OK = dict.fromkeys(Record._fields) | {
    "experiment": "e", "worker": 0, "phase": "measured", "status": "ok", "due_ns": 0, "sent_ns": 0, "first_token_ns": MS,
    "last_token_ns": 2 * MS, "last_byte_ns": 2 * MS, "end_ns": 2 * MS, "arrivals_ns": [MS, 2 * MS], "client_delay_ns": 1000,
    "arrival_coalesced": [False, False], "coalesced": 0, "clock": "kernel", "sent_source": "adapter", "streamed": True,
    "prompt_tokens": 50, "completion_tokens": 100, "cached_tokens": 0, "completion_tokens_source": "server",
}  # fmt: skip


@pytest.fixture
def make_subject():
    """An experiment without fault, of ``count`` requests; ``change(number)`` gives what is different in one of them."""

    def make(count=700, change=lambda number: {}, **about):
        rows = [OK | {"id": f"r-{number}", "prompt_id": f"p-{number}"} | change(number) for number in range(count)]
        sample = Sample(pa.Table.from_pylist(rows, schema=schema()), [(0, 1000 * MS)], open_load=False)
        return Subject(**({"experiment": "e", "sample": sample, "planned": count, "max_new_tokens": 100} | about))

    return make


@pytest.fixture
def check_of(make_subject):
    """One check of such an experiment; ``None`` where it does not apply."""
    from fmbench.validity.checks import assess

    def find(name, *args, **about):
        found = [check for check in assess([make_subject(*args, **about)]) if check.name == name]
        assert len(found) <= 1
        return found[0] if found else None

    return find
