"""The files for other programs and for other pages, and what holds for every reporter."""

import json
import re
from itertools import pairwise

import pandas as pd
import pytest

from fmbench import ConfigError, Reporter
from fmbench.reporters import Charts, Csv, Html, Json, Markdown
from fmbench.result import Result

HOSTILE = "a | b\n<script>alert('x')</script> [link](http://x) `code` *bold* & more"
ALL = (Csv(), Json(), Markdown(), Html(), Charts())


@pytest.fixture(scope="module")
def result(made_up, tmp_path_factory):
    run = made_up(
        deployments={"small": {"facts": {"usd_per_hour": 1.5}}, "wide|r": {"facts": {}}},
        failing=("server", HOSTILE),
        failing_share=0.1,
        slo={"latency_p95_seconds": 1.0},
        problems=[{"where": "reporter x", "kind": "Bug", "message": HOSTILE}],
    )
    return run.write(tmp_path_factory.mktemp("run"))


def test_csv_is_the_summary(result, tmp_path):
    (path,) = Csv().report(result, tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "summary.csv"
    read = pd.read_csv(path)
    assert list(read.columns) == list(result.summary.columns)
    assert read.tps.tolist() == pytest.approx([one.tps for one in result.experiments])
    assert read.latency_p99_seconds.isna().all()


def test_json_has_everything_and_no_number_for_what_is_not_known(result, tmp_path):
    (path,) = Json().report(result, tmp_path)
    text = path.read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    told = json.loads(text)
    first, experiment = told["experiments"][0], result.experiments[0]
    assert first["latency"]["p95"] == experiment.latency.p95
    assert tuple(first["latency"]["p50_interval"]) == experiment.latency.interval(0.5)
    assert first["latency"]["p99"] is None
    assert first["windows"] == [list(window) for window in experiment.windows]
    assert first["errors"][0] == {"kind": "server", "count": experiment.counts["error"], "first_message": HOSTILE}
    assert told["experiments"][2]["cost_per_1000_requests_usd"] is None
    assert told["experiments"][2]["reasons"]["cost_per_1000_requests_usd"]
    assert told["advice"]["sentence"] == result.advise().sentence
    assert len(told["validity"]) == len(result.validity)
    assert told["cost"]["usd"] is None
    assert told["slo"] == {"latency_p95_seconds": 1.0}


def fields(line):
    """The fields of a row of a pipe table, pipes in them unescaped."""
    assert line.startswith("| ")
    assert line.endswith(" |")
    return [field.replace("\\|", "|") for field in re.split(r"(?<!\\) \| ", line[2:-2])]


def test_markdown_tables_are_tables_whatever_stands_in_them(result, tmp_path):
    (path,) = Markdown().report(result, tmp_path)
    lines = path.read_text().splitlines()
    for above, line in pairwise(lines):
        if line.startswith("|") and above.startswith("|"):
            assert len(re.findall(r"(?<!\\)\|", line)) == len(re.findall(r"(?<!\\)\|", above))
    text = "\n".join(lines)
    assert "<script>" not in text
    assert "\\[link\\]" in text
    rows = [fields(line) for line in lines if line.startswith("| ") and "concurrency 4" in line and "| server |" not in line]
    mine = [row for row in rows if row[0] == "wide|r" and row[2] in ("pass", "warn", "fail")]
    assert len(mine) == 1
    factor = 1000 if "Latency (ms) p50" in text else 1
    assert float(mine[0][5]) == pytest.approx(result.experiments[3].latency.p50 * factor, rel=0.006)
    assert result.advise().sentence.split(":")[0].replace("|", "\\|") in text


@pytest.mark.parametrize("reporter", ALL, ids=lambda reporter: type(reporter).__name__)
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"failing": ("server", "boom"), "failing_share": 1.0, "slo": {"ttft_p95_seconds": 1.0}},
        {"deployments": {}},
        {"deployments": {}, "slo": {"ttft_p95_seconds": 1.0}},
        {"deployments": {"gone": {"facts": {}, "error": {"kind": "DeployError", "message": "no capacity"}}}},
        {"requests": 3, "streamed": False, "loads": [("rate", 5), ("concurrency", 1)]},
    ],
    ids=["usual", "all failed", "empty", "empty with an SLO", "not deployed", "few, unstreamed"],
)
def test_every_reporter_takes_every_result_and_changes_none(reporter, shape, made_up, tmp_path):
    assert isinstance(reporter, Reporter)
    result = made_up(**({"requests": 30} | shape)).write(tmp_path / "run")
    before = {path.name: path.read_bytes() for path in result.directory.iterdir()}
    written = reporter.report(result, tmp_path / "out")
    assert all(path.is_relative_to(tmp_path / "out") and path.is_file() for path in written)
    assert {path.name: path.read_bytes() for path in result.directory.iterdir()} == before
    pd.testing.assert_frame_equal(result.summary, Result.load(result.directory).summary)
    pd.testing.assert_frame_equal(result.records, Result.load(result.directory).records)


def test_a_killed_run_without_a_log_can_be_reported(made_up, tmp_path):
    result = made_up(state="running").write(tmp_path / "run")
    (result.directory / "records.arrow").unlink()
    for reporter in ALL:
        reporter.report(Result.load(result.directory), tmp_path / "out")
    assert "killed" in (tmp_path / "out" / "report.html").read_text()


def test_options_are_checked():
    with pytest.raises(ConfigError, match="Charts: form"):
        Charts(form="gif")
    with pytest.raises(ConfigError, match="Html: bin_tokens"):
        Html(bin_tokens=0)
    assert Charts(bin_tokens=100) == Charts(bin_tokens=100)
