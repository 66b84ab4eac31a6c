"""The record log: what goes in comes out, and a kill costs only what was not appended."""

import os
import subprocess
import sys
from array import array
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmbench.errors import RunDirectoryError
from fmbench.recording import RECORDS, RecordLog, read_batches, read_table, rewrite, schema
from fmbench.recording.columns import column
from fmbench.types import Record


def record(number, **fields):
    row = dict.fromkeys(Record._fields)
    row |= {
        "id": f"r-000-{number:06d}",
        "experiment": "e",
        "prompt_id": "p",
        "worker": 0,
        "phase": "measured",
        "status": "ok",
        "clock": "kernel",
        "sent_source": "adapter",
        "coalesced": 0,
        "arrivals_ns": array("q", range(number)),
        "arrival_tokens": [1] * number,
        "arrival_coalesced": [False] * number,
        "completion": "naïve ✓",
    }
    return Record(**row | fields)


def test_what_goes_in_comes_out(tmp_path):
    log = RecordLog(tmp_path / RECORDS)
    log.append([record(0), record(3)])
    log.append([record(2, arrivals_ns=None, arrival_tokens=None, due_ns=2**62)])
    log.close()
    rows = read_table(tmp_path).to_pylist()
    assert [row["arrivals_ns"] for row in rows] == [[], [0, 1, 2], None]
    assert rows[1]["completion"] == "naïve ✓"
    assert rows[2]["due_ns"] == 2**62
    assert read_table(tmp_path).schema.names == list(Record._fields)


def test_an_open_log_can_be_read(tmp_path):
    log = RecordLog(tmp_path / RECORDS)
    log.append([record(1)])
    assert read_table(tmp_path).num_rows == 1
    log.close()


@pytest.mark.parametrize("cut", [1, 7, 100, 1000])
def test_a_torn_tail_costs_the_last_batch_alone(tmp_path, cut):
    log = RecordLog(tmp_path / RECORDS)
    log.append([record(1)])
    log.append([record(2), record(3)])
    log._file.close()  # as a kill does: no end of the stream is written
    os.truncate(tmp_path / RECORDS, (tmp_path / RECORDS).stat().st_size - cut)
    assert read_table(tmp_path)["id"].to_pylist() == ["r-000-000001"]


def test_every_length_of_a_torn_file_can_be_read(tmp_path):
    log = RecordLog(tmp_path / RECORDS)
    log.append([record(1)])
    log._file.close()
    whole = (tmp_path / RECORDS).read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / RECORDS).write_bytes(whole[:length])
        assert read_table(tmp_path).num_rows in {0, 1}


def test_an_open_again_log_keeps_what_it_had_and_drops_the_torn_tail(tmp_path):
    log = RecordLog(tmp_path / RECORDS)
    log.append([record(1)])
    log.append([record(2)])
    log._file.close()
    os.truncate(tmp_path / RECORDS, (tmp_path / RECORDS).stat().st_size - 9)
    again = RecordLog(tmp_path / RECORDS)
    again.append([record(4)])
    again.close()
    assert read_table(tmp_path)["id"].to_pylist() == ["r-000-000001", "r-000-000004"]


def test_rewriting_changes_each_batch_and_leaves_nothing_beside(tmp_path):
    log = RecordLog(tmp_path / RECORDS)
    log.append([record(1), record(2)])
    log.close()
    rewrite(tmp_path / RECORDS, lambda batch: batch.slice(1))
    assert read_table(tmp_path)["id"].to_pylist() == ["r-000-000002"]
    assert [path.name for path in tmp_path.iterdir()] == [RECORDS]


def test_a_missing_log_and_a_stranger_are_told(tmp_path):
    with pytest.raises(RunDirectoryError, match=r"no records\.arrow"):
        read_table(tmp_path)
    import pyarrow as pa

    with pa.OSFile(str(tmp_path / RECORDS), "wb") as file, pa.ipc.new_stream(file, pa.schema([("x", pa.int8())])):
        pass
    with pytest.raises(RunDirectoryError, match="another version"):
        list(read_batches(tmp_path / RECORDS))


def test_appending_yields_between_columns(tmp_path):
    log = RecordLog(tmp_path / RECORDS)
    assert sum(1 for _ in log.appending([record(1)])) == len(schema())
    assert sum(1 for _ in log.appending([])) == 0
    log.close()


KINDS = {
    "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "bool": st.booleans(),
}


@settings(deadline=None)  # the first pyarrow.array imports pandas
@given(data=st.data())
def test_columns_are_what_pyarrow_makes_of_the_values(data):
    name = data.draw(st.sampled_from(sorted(KINDS)))
    kind, values = pa.type_for_alias(name), KINDS[name]
    if name != "string" and data.draw(st.booleans()):
        kind, values = pa.list_(kind), st.lists(values, max_size=5)
    drawn = data.draw(st.lists(st.none() | values, max_size=20))
    made = column(kind, drawn)
    made.validate(full=True)
    assert made.equals(pa.array(drawn, kind))


def test_text_that_is_no_unicode_does_not_lose_the_record():
    assert column(pa.string(), ["a\ud800b"]).to_pylist() == ["a?b"]


def test_recording_leaves_pandas_out(tmp_path):
    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parent)!r}]
from pathlib import Path
from test_recording import record
from fmbench.recording import RecordLog
log = RecordLog(Path({str(tmp_path)!r}, "records.arrow"))
log.append([record(3), record(0)])
log.close()
sys.exit("pandas" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
