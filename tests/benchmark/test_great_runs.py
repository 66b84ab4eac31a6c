"""What a run keeps of its requests beside the log is small, and what follows it reads the log in passes."""

import csv
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbench import Benchmark, Concurrency, Parameters, Prompt, Result
from fmbench.benchmark.recounting import recount
from fmbench.benchmark.sittings import Numbers, Recorded
from fmbench.deployers import ExistingEndpoint
from fmbench.recording import RECORDS, RecordLog, read_table
from fmbench.testing import FakeServer
from fmbench.types import Record


@settings(deadline=None)
@given(st.lists(st.integers(0, 3000)))
def test_numbers_are_a_set(values):
    numbers = Numbers()
    for value in values:
        numbers.add(value)
    assert list(numbers) == sorted(set(values))
    assert len(numbers) == len(set(values))
    assert [number in numbers for number in range(-2, 40)] == [number in values for number in range(-2, 40)]


def record(number, **changes):
    row = dict.fromkeys(Record._fields) | {
        "id": f"run-000-{number}", "experiment": "e", "prompt_id": f"p-{number}", "worker": 0, "phase": "measured",
        "status": "ok", "coalesced": 0, "clock": "kernel", "sent_source": "adapter", "due_ns": 10 * number,
        "end_ns": 10 * number + 500, "completion": "one two", "completion_tokens": 9, "completion_tokens_source": "estimated",
    }  # fmt: skip
    return Record(**(row | changes))


def write(directory, records, each=3):
    log = RecordLog(directory / RECORDS)
    for start in range(0, len(records), each):
        log.append(records[start : start + each])
    log.close()


def test_what_a_sitting_recorded(tmp_path):
    write(
        tmp_path,
        [record(7, phase="warmup", due_ns=0), record(3), record(4), record(12, experiment="f"), record(5, due_ns=None)],
    )
    recorded = Recorded(tmp_path)
    assert recorded
    assert list(recorded.numbers("e")) == [3, 4, 5, 7]
    assert 4 in recorded.numbers("e")
    assert 6 not in recorded.numbers("e")
    assert len(recorded.numbers("g")) == 0
    entry = {"name": "e", "status": "pending", "windows": []}
    recorded.recover_window(entry)
    assert entry == {"name": "e", "status": "partial", "windows": [[30, 540]]}
    recorded.recover_window(entry)
    assert entry["windows"] == [[30, 540]]


def test_a_log_that_is_taken_up_keeps_what_it_holds(tmp_path):
    write(tmp_path, [record(number) for number in range(8)])
    write(tmp_path, [record(number) for number in range(8, 11)])
    assert read_table(tmp_path).column("prompt_id").to_pylist() == [f"p-{number}" for number in range(11)]


class Words:
    def __init__(self):
        self.asked = []

    def count(self, texts):
        self.asked.append(len(texts))
        return [len(text.split()) for text in texts]


def test_only_what_was_estimated_and_kept_is_counted_anew(tmp_path):
    records = [record(number) for number in range(6)]
    records[1] = record(1, completion_tokens_source="server")
    records[2] = record(2, completion=None)
    records[3] = record(3, experiment="f")
    records[4] = record(4, completion_tokens=None, completion_tokens_source=None, completion=None)
    write(tmp_path, records)
    words = Words()
    recount(tmp_path, {"e": words})
    table = read_table(tmp_path)
    assert table.column("completion_tokens").to_pylist() == [2, 9, 9, 9, None, 2]
    assert table.column("completion_tokens_source").to_pylist() == [
        "tokenizer", "server", "estimated", "estimated", None, "tokenizer",
    ]  # fmt: skip
    assert words.asked == [1, 1]  # a batch at a time


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run with two reports, and how often its figures were made."""
    made = []
    folder = tmp_path_factory.mktemp("great") / "r"
    with pytest.MonkeyPatch.context() as patch, FakeServer(tokens=3) as server:
        from fmbench.result import reading

        read = reading.read
        patch.setattr(reading, "read", lambda *given, **about: made.append(about["experiment"]) or read(*given, **about))
        result = Benchmark(
            deployers=ExistingEndpoint(server.url, name="fake", model="m"),
            prompts=[Prompt(id=f"p-{number}", text='a, "b"\nc', max_new_tokens=number + 1) for number in range(5)],
            loads=[Concurrency(1, requests=6), Concurrency(2, requests=7)],
            parameters=Parameters(temperature=0.5),
            reporters=["csv", "json"],
            warmup=0,
        ).run(folder)
        assert len(result.summary) == 2
    return result, made


def test_the_figures_are_made_once(run):
    result, made = run
    assert sorted(made) == sorted(one.name for one in result.experiments)
    assert Result.load(result.directory).summary.equals(result.summary)


def test_every_request_has_its_line_with_its_own_prompt(run):
    result, _ = run
    records = result.records
    with (result.directory / "results.csv").open(encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["id"] for line in lines] == records["id"].tolist()
    for line, (_, row) in zip(lines, records.iterrows(), strict=True):
        assert line["prompt"] == 'a, "b"\nc'
        assert int(line["max_new_tokens"]) == int(row.prompt_id.removeprefix("p-")) + 1
        assert (line["temperature"], line["top_k"], line["deployment"]) == ("0.5", "", "fake")
        assert float(line["latency"]) == (row.last_token_ns - row.sent_ns) / 1e9
        running = (row.last_token_ns - row.first_token_ns) / 1e9  # not a number where the first token is coalesced
        told = row.completion_tokens > 1 and not math.isnan(running)
        assert float(line["tpot"] or -1) == pytest.approx(running / (row.completion_tokens - 1) if told else -1)
        assert float(line["due_seconds"]) == row.due_ns / 1e9
        assert line["concurrency"] == str(row.concurrency)
