import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fmbench.advice import SLO
from fmbench.errors import ConfigError, PluginNotFound, ReportError, RunDirectoryError
from fmbench.interfaces import Reporter
from fmbench.result import SUMMARY, Result, summary_rows

S = 1_000_000_000


def test_a_result_tells_what_its_folder_holds(write_run):
    result = Result.load(write_run(slo={"latency_p95_seconds": 5}))
    assert (result.name, result.state, result.simulated) == ("made up", "finished", False)
    assert result.slo == SLO(latency_p95_seconds=5)
    assert [experiment.name for experiment in result.experiments] == ["one", "two"]
    assert result.deployments[0].startup_seconds == 10
    assert result.prompt_sets[0]["count"] == 130
    one = result.experiments[0]
    assert (one.load, one.concurrency, one.per_second, one.planned, one.window_seconds) == ("concurrency 1", 1, None, 130, 13)
    assert one.latency.p95 == one.service_latency.p95 == pytest.approx(0.18)
    assert one.ttft.p50 == pytest.approx(0.1)
    assert one.itl.mean == one.tpot.p50 == pytest.approx(0.02)
    assert one.counts == {"ok": 130, "error": 0, "timeout": 0, "cancelled": 0, "not_sent": 0}
    assert one.tps == pytest.approx(129 / 13)
    assert one.error_rate == 0
    assert result.verdict == "warn"  # 130 requests do not make a p99, and one at a time is sent of the two asked for
    doubts = [(check.name, check.experiment) for check in result.validity if check.verdict == "warn"]
    assert doubts == [("percentile_requests", "one"), ("percentile_requests", "two"), ("achieved_concurrency", "two")]


def test_every_figure_can_be_made_again_from_the_records_and_the_windows_alone(write_run):
    directory = write_run()
    result = Result.load(directory)
    records = result.read_records(arrivals=True)
    windows = {entry["name"]: entry["windows"] for entry in json.loads((directory / "run.json").read_text())["experiments"]}
    for experiment in result.experiments:
        mine = records[records.experiment == experiment.name]
        [[start, end]] = windows[experiment.name]
        seconds = (end - start) / 1e9
        latency = (mine.last_token_ns - mine.sent_ns) / 1e9
        assert experiment.latency.p50 == pytest.approx(latency.quantile(0.5))
        assert experiment.latency.p95 == pytest.approx(np.quantile(latency, 0.95))
        assert experiment.tps == pytest.approx(mine.end_ns.between(start, end).sum() / seconds)
        arrived = mine.arrivals_ns.explode().astype("int64")
        assert experiment.output_throughput == pytest.approx(arrived.between(start, end).sum() / seconds)
        assert experiment.itl.mean == pytest.approx(np.concatenate([np.diff(row) for row in mine.arrivals_ns]).mean() / 1e9)


def test_records_are_a_frame_without_arrivals_unless_asked_for(write_run):
    result = Result.load(write_run())
    assert len(result.records) == 260
    assert result.records is result.records
    assert not any(name.startswith("arrival") for name in result.records.columns)
    assert len(result.read_records(arrivals=True).arrivals_ns.iloc[0]) == 5
    assert result.records.completion.iloc[0] == "one two three four five"


def test_an_experiments_table_is_its_own_records(write_run):
    table = Result.load(write_run()).experiments[1].table()
    assert table.num_rows == 130
    assert set(table.column("experiment").to_pylist()) == {"two"}


def test_the_summary_has_a_row_an_experiment_and_units_in_its_names(write_run):
    result = Result.load(write_run())
    assert list(result.summary.columns) == [column.name for column in SUMMARY]
    assert list(result.summary.experiment) == ["one", "two"]
    assert result.summary.latency_p95_seconds.iloc[0] == result.experiments[0].latency.p95
    assert result.summary.ok.tolist() == result.summary.requests.tolist() == [130, 130]
    assert pd.isna(result.summary.latency_p99_seconds.iloc[0])
    assert summary_rows(result.experiments)[0]["latency_p99_seconds"] is None
    assert len({column.name for column in SUMMARY}) == len(SUMMARY)
    assert all(column.meaning for column in SUMMARY)


def test_an_open_load_has_the_response_latency_for_its_headline(write_run):
    records = [write_run.reply("one", number, None, due_ns=0) for number in range(130)]
    entry = write_run.entry("one", None, 130, per_second=10.0, load_text="10/s")
    one = Result.load(write_run(records, experiments=[entry])).experiments[0]
    assert one.latency.maximum == one.response_latency.maximum == pytest.approx(129 * 0.1 + 0.18)
    assert one.service_latency.maximum == pytest.approx(0.18)


def test_goodput_counts_the_single_request(write_run):
    entry = write_run.entry("one", 1, 130, windows=[[5 * S, 13 * S], [20 * S, 22 * S]])
    one = Result.load(write_run(experiments=[entry])).experiments[0]
    assert one.window_seconds == 10
    assert one.goodput(SLO(latency_p95_seconds=0.2)) == one.tps
    assert one.goodput(SLO(latency_p95_seconds=0.1)) == 0
    assert one.good_share(SLO(latency_p95_seconds=0.2, ttft_p99_seconds=0.2)) == 1
    assert one.good_share(SLO(itl_p99_seconds=0.01)) == 0


# Folders that hold no run, or a broken one.


def test_a_folder_without_a_run_is_told_apart_in_one_line(write_run, tmp_path):
    whole = write_run()
    torn = write_run()
    (torn / "run.json").write_bytes((whole / "run.json").read_bytes()[:200])
    future = write_run(format=2)
    foreign = write_run()
    (foreign / "run.json").write_text('["not", "ours"]')
    poor = write_run()
    (poor / "run.json").write_text('{"format": 1, "name": "x"}')
    lacking = write_run(experiments=[{"name": "one", "deployment": "engine"}])
    orphan = write_run(experiments=[write_run.entry("one", 1, 130, deployment="gone")])
    wrong = write_run(slo={"latency": 5})
    logless = write_run()
    (logless / "records.arrow").unlink()
    garbled = write_run()
    (garbled / "records.arrow").write_bytes(b"no records at all")
    empty = tmp_path / "empty"
    empty.mkdir()
    for directory, told in [
        (tmp_path / "absent", "not a folder"), (whole / "run.json", "not a folder"), (empty, "no run.json"), (torn, "damaged"),
        (future, "format 2"), (foreign, "not written by fmbench"), (poor, "lacks state"), (lacking, "lacks"), (orphan, "gone"),
        (wrong, "latency"), (logless, "records.arrow is missing"), (garbled, "records.arrow is damaged"),
    ]:  # fmt: skip
        with pytest.raises(RunDirectoryError, match=told) as caught:
            Result.load(directory)
        assert "\n" not in str(caught.value)
        assert str(directory) in str(caught.value)


def test_a_killed_run_loads_and_says_so(write_run):
    entries = [
        write_run.entry("one", 1, 130),
        write_run.entry("two", 2, 130, status="pending", windows=[], clock=None, cpu=None),
    ]
    directory = write_run(experiments=entries, state="running", ended_ns=None)
    log = directory / "records.arrow"
    log.write_bytes(log.read_bytes()[:-3000])
    result = Result.load(directory)
    assert result.state == "running"
    assert "running" in repr(result)
    assert "killed" in result._repr_html_()
    assert 130 <= len(result.records) < 260
    one, two = result.experiments
    assert one.latency.p95 == pytest.approx(0.18)
    assert two.latency.p95 is two.tps is None
    assert "no window" in two.reasons["tps"]
    assert {check.experiment for check in result.validity if check.verdict == "fail"} == {"two"}
    assert [check.verdict for check in two.validity if check.name == "accounting"] == ["warn"]


def test_a_run_killed_before_its_first_record_loads(write_run):
    directory = write_run([], state="running")
    (directory / "records.arrow").unlink()
    result = Result.load(directory)
    assert len(result.records) == 0
    assert result.experiments[0].reasons["latency"] == "no request was recorded"
    assert result._repr_html_()


def test_a_finished_run_that_lost_records_is_not_believed(write_run):
    directory = write_run()
    log = directory / "records.arrow"
    log.write_bytes(log.read_bytes()[:-3000])
    result = Result.load(directory)
    assert result.verdict == "fail"
    assert [(check.name, check.experiment) for check in result.validity if check.verdict == "fail"] == [("accounting", "two")]


# Results with little or nothing in them.


def everything(result):
    """Ask for all there is to ask; nothing may be NaN, and nothing may fail."""
    told = [summary_rows(result.experiments), result._repr_html_(), str(result.advise(SLO(latency_p95_seconds=1))), result.cost]
    told += [
        [check.as_dict() for check in result.validity],
        result.verdict,
        repr(result),
        len(result.summary),
        len(result.records),
    ]
    for one in result.experiments:
        told += [one.counts, one.errors, dict(one.reasons), one.goodput(SLO(ttft_p95_seconds=1)), one.itl.as_dict()]
    json.dumps(told, default=str, allow_nan=False)
    assert "nan" not in str(told).lower()
    return result


def test_every_request_failed(write_run):
    failed = [
        write_run.reply(
            "one", number, 1, status="error", error_kind="server" if number else "connect", error_message=f"boom {number}",
            sent_ns=None, first_byte_ns=None, first_token_ns=None, last_token_ns=None, last_byte_ns=None, arrivals_ns=None,
            arrival_coalesced=None, completion_tokens=None, streamed=None, client_delay_ns=None,
        )
        for number in range(20)
    ]  # fmt: skip
    entry = write_run.entry("one", 1, 20, status="stopped", reason="the first 20 requests all failed")
    result = everything(Result.load(write_run(failed, experiments=[entry], facts={"usd_per_hour": 2.0})))
    one = result.experiments[0]
    assert (one.error_rate, one.tps, one.latency.p50, one.cost_per_1000_requests_usd) == (1, 0, None, None)
    assert list(one.errors) == ["server", "connect"]
    assert (one.errors["server"].count, one.errors["server"].message) == (19, "boom 1")
    assert result.verdict == "fail"
    assert one.reasons["cost_per_1000_requests_usd"] == "nothing was completed in the window"


def test_no_record_at_all_and_a_deployment_that_failed(write_run):
    deployment = {
        "name": "engine", "status": "failed", "error": {"kind": "DeployError", "message": "no quota"}, "endpoint": None,
        "started_ns": 0, "ready_ns": None, "ended_ns": 3600 * S, "facts": {"usd_per_hour": 2.0},
    }  # fmt: skip
    entry = write_run.entry("one", 1, 0, status="not_sent", reason="no quota", windows=[], warmup=None, clock=None, cpu=None)
    result = everything(Result.load(write_run([], experiments=[entry], deployments=[deployment])))
    assert result.deployments[0].error["message"] == "no quota"
    assert result.verdict == "fail"
    assert (result.cost.usd, result.cost.usd_without_startup) == (2.0, 0.0)
    assert "no quota" in result.advise(SLO(latency_p95_seconds=1)).sentence


def test_no_experiment_at_all(write_run):
    result = everything(Result.load(write_run([], experiments=[], deployments=[])))
    assert (result.cost.usd, result.cost.reason) == (None, "nothing was deployed")


# What it cost.


def test_time_is_charged_from_the_start_of_deploying_and_told_without_it_too(write_run):
    result = Result.load(write_run(facts={"usd_per_hour": 36.0, "instance_count": 2}))
    assert result.cost.usd == pytest.approx(36 * 2 * 60 / 3600)
    assert result.cost.usd_without_startup == pytest.approx(36 * 2 * 50 / 3600)
    assert result.cost.deployments[0].hours == pytest.approx(60 / 3600)
    one = result.experiments[0]
    assert one.cost_per_1000_requests_usd == pytest.approx(36 * 2 / 3600 / one.tps * 1000)
    assert one.usd_per_million_output_tokens == pytest.approx(36 * 2 / 3600 / one.output_throughput * 1e6)


def test_a_resumed_run_is_charged_for_every_sitting(write_run):
    directory = write_run(facts={"usd_per_hour": 36.0})
    document = json.loads((directory / "run.json").read_text())
    document["deployments"][0]["earlier"] = [{"started_ns": 0, "ready_ns": 10 * S, "ended_ns": 40 * S}]
    (directory / "run.json").write_text(json.dumps(document))
    cost = Result.load(directory).cost
    assert cost.usd == pytest.approx(36 * 100 / 3600)
    assert cost.usd_without_startup == pytest.approx(36 * 80 / 3600)


def test_tokens_are_charged_by_their_prices(write_run):
    facts = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 10.0}
    result = Result.load(write_run(facts=facts))
    assert result.cost.usd == result.cost.usd_without_startup == pytest.approx(260 * (50 * 1 + 5 * 10) / 1e6)
    assert result.experiments[0].cost_per_1000_requests_usd == pytest.approx(0.1)


def test_an_unknown_price_or_end_is_unknown_with_a_reason(write_run):
    unpriced = everything(Result.load(write_run()))
    assert unpriced.cost.usd is None
    assert unpriced.cost.reason.startswith("engine: no price is known")
    directory = write_run(facts={"usd_per_hour": 1.0}, state="running")
    document = json.loads((directory / "run.json").read_text())
    document["deployments"][0]["ended_ns"] = None
    (directory / "run.json").write_text(json.dumps(document))
    assert "killed" in Result.load(directory).cost.reason


# What is made of it.


def test_advice_is_on_the_run_s_own_slo_unless_another_is_given(write_run):
    facts = {"usd_per_hour": 1.0, "instance_type": "ml.g5.xlarge"}
    result = Result.load(write_run(slo={"latency_p95_seconds": 0.2}, facts=facts))
    advice = result.advise(requests_per_minute=6000)
    assert advice.best.load == "concurrency 2"
    assert advice.best.instances == int(-(-6000 // (result.experiments[1].tps * 60)))
    assert f"{advice.best.instances} x ml.g5.xlarge" in advice.sentence
    assert "latency p95 (s)</th><th>margin</th><th>requests/min each" in result._repr_html_()
    assert result.advise(SLO(latency_p95_seconds=0.1)).best is None
    with pytest.raises(ConfigError, match="slo"):
        Result.load(write_run()).advise()


def test_the_engine_on_this_machine_is_warned_of(write_run):
    directory = write_run()
    document = json.loads((directory / "run.json").read_text())
    document["deployments"][0]["endpoint"]["url"] = "http://127.0.0.1:8080"
    (directory / "run.json").write_text(json.dumps(document))
    [check] = [check for check in Result.load(directory).validity if check.name == "shared_host"]
    assert (check.verdict, check.experiment) == ("warn", None)


class Notes:
    def report(self, result, directory):
        path = directory / "notes.txt"
        path.write_text(result.name)
        return [path]


class Broken:
    def report(self, result, directory):
        raise ZeroDivisionError("no numbers")


def test_a_reporter_writes_into_the_folder_and_one_that_fails_is_named(write_run):
    result = Result.load(write_run())
    assert isinstance(Notes(), Reporter)
    assert result.report(Notes()) == (result.directory / "notes.txt",)
    with pytest.raises(ReportError, match="reporter Broken failed: ZeroDivisionError: no numbers"):
        result.report(Broken())
    with pytest.raises(PluginNotFound):
        result.report("no-such-reporter")


def test_the_page_escapes_what_others_wrote(write_run):
    hostile = "<script>alert(1)</script>"
    result = Result.load(write_run(name=hostile, problems=[{"where": hostile, "kind": hostile, "message": hostile}]))
    assert hostile not in result._repr_html_()


def test_the_page_needs_no_matplotlib_and_importing_needs_no_heavy_library_and_no_thread(write_run):
    script = f"""
import os, sys, threading
import fmbench.result
heavy = {{"numpy", "pandas", "pyarrow", "matplotlib"}}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert threading.active_count() == 1
assert not os.path.isdir("/proc/self/task") or len(os.listdir("/proc/self/task")) == 1
page = fmbench.result.Result.load({str(write_run())!r})._repr_html_()
assert "latency p95" in page
assert "matplotlib" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True)


def test_the_folder_is_left_as_it_was(write_run):
    directory = write_run(slo={"latency_p95_seconds": 5})
    before = {path: path.read_bytes() for path in Path(directory).iterdir()}
    everything(Result.load(directory))
    assert {path: path.read_bytes() for path in Path(directory).iterdir()} == before
