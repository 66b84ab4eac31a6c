"""The record log is read an experiment at a time, in parts of some megabytes, whatever was appended when."""

import subprocess
import sys

import pytest

from fmbench import Result
from fmbench.errors import RunDirectoryError
from fmbench.recording import RECORDS, RecordLog, schema
from fmbench.recording.log import part_of
from fmbench.result import log as log_module
from fmbench.result import summary_rows
from fmbench.result.log import RecordedLog


@pytest.fixture
def written(tmp_path, write_run):
    """Two experiments: a batch of each, one of both, and one of the first again."""
    reply = write_run.reply
    one, two = ([reply(name, number, 1) for number in range(9)] for name in ("one", "two"))
    path = tmp_path / RECORDS
    log = RecordLog(path)
    for batch in (one[:3], two[:4], [one[3], two[4], one[4]], one[5:], two[5:]):
        log.append(batch)
    log.close()
    return path


def ids(batches):
    return [identifier for batch in batches for identifier in batch.column("id").to_pylist()]


@pytest.mark.parametrize("most", [1, 700, 10**9])
def test_each_experiment_has_its_own_records_in_order(written, monkeypatch, most):
    monkeypatch.setattr(log_module, "PART_BYTES", most)
    log = RecordedLog(written)
    for name in ("one", "two"):
        assert ids(log.batches(name)) == ids(log.parts(name)) == [f"{name}-{number}" for number in range(9)]
    assert ids(log.parts("three")) == []


def test_parts_are_neither_small_nor_large(written, monkeypatch):
    monkeypatch.setattr(log_module, "PART_BYTES", 10**9)
    assert [batch.num_rows for batch in RecordedLog(written).parts("one")] == [9]
    monkeypatch.setattr(log_module, "PART_BYTES", 1)
    assert {batch.num_rows for batch in RecordedLog(written).parts("one")} == {1}


def test_parts_leave_out_the_texts(written):
    [part] = RecordedLog(written).parts("one")
    assert set(schema().names) - set(part.schema.names) == {"completion", "server_timings"}


def test_what_is_appended_later_is_not_seen(tmp_path, write_run):
    log = RecordLog(tmp_path / RECORDS)
    log.append([write_run.reply("one", 0, 1)])
    reading = RecordedLog(tmp_path / RECORDS)
    assert ids(reading.parts("one")) == ["one-0"]
    log.append([write_run.reply("one", 1, 1)])
    log.close()
    assert ids(reading.parts("one")) == ["one-0"]
    assert ids(RecordedLog(tmp_path / RECORDS).parts("one")) == ["one-0", "one-1"]


def test_a_log_that_was_written_anew_is_looked_up_anew(written, write_run):
    reading = RecordedLog(written)
    before = ids(reading.parts("two"))
    again = RecordLog(written)
    again.append([write_run.reply("two", 9, 1)])
    again.close()
    assert ids(reading.parts("two")) == [*before, "two-9"]


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_end_costs_the_last_batch(written, cut):
    whole = written.read_bytes()
    written.write_bytes(whole[: -8 - cut])  # 8 bytes end a stream
    assert ids(RecordedLog(written).parts("two")) == [f"two-{number}" for number in range(5)]


def test_parts_of_workers_that_nobody_took_in_are_read_once(written, write_run):
    before = ids(RecordedLog(written).parts("two"))
    part = RecordLog(part_of(written, 0))
    part.append([write_run.reply("two", number, 1) for number in range(4)])  # taken in, but not yet removed
    part.append([write_run.reply("two", 9, 1)])
    part.close()
    assert ids(RecordedLog(written).parts("two")) == [*before, "two-9"]
    written.unlink()
    assert ids(RecordedLog(written).parts("two")) == [*(f"two-{number}" for number in range(4)), "two-9"]


def test_a_log_without_a_schema_is_empty(tmp_path):
    for content in (b"", b"\xff\xff\xff\xff\x10"):
        (tmp_path / RECORDS).write_bytes(content)
        assert ids(RecordedLog(tmp_path / RECORDS).parts("one")) == []


def test_a_log_of_another_version_is_refused(tmp_path):
    import pyarrow as pa

    with pa.OSFile(str(tmp_path / RECORDS), "wb") as file, pa.ipc.new_stream(file, pa.schema([("x", pa.int64())])):
        pass
    with pytest.raises(RunDirectoryError, match="another version"):
        list(RecordedLog(tmp_path / RECORDS).parts("one"))


def test_every_figure_and_check_without_pandas(write_run):
    directory = write_run()
    code = f"""
import sys
from fmbench import Result, SLO
from fmbench.result import summary_rows
result = Result.load({str(directory)!r})
rows = summary_rows(result.experiments)
assert rows[0]["latency_p95_seconds"] is not None and result.validity and result.cost
assert result.experiments[0].goodput(SLO(itl_p95_seconds=1)) is not None
print(result.advise(SLO(latency_p95_seconds=5)))
sys.exit(", ".join({{"pandas", "matplotlib"}} & set(sys.modules)) or None)
"""
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_large_experiment_tells_the_same_without_holding_a_value(write_run, monkeypatch):
    directory = write_run()
    held = Result.load(directory)
    said = summary_rows(held.experiments)
    for name in ("sample", "formulas"):
        monkeypatch.setattr(f"fmbench.metrics.{name}.HELD", 0)
    monkeypatch.setattr(log_module, "PART_BYTES", 2000)
    read = Result.load(directory)
    for row, before in zip(summary_rows(read.experiments), said, strict=True):
        for name, value in row.items():
            expected = before[name]
            assert value == (pytest.approx(expected, rel=1e-12) if isinstance(expected, float) else expected), name
    assert read.validity == held.validity
    for one, other in zip(read.experiments, held.experiments, strict=True):
        assert one.itl.values.tolist() == other.itl.values.tolist()
        assert one.itl.as_dict() | {"mean": None} == other.itl.as_dict() | {"mean": None}
