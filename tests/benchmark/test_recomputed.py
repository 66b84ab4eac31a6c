"""Every number of a report can be had again from records.arrow and the windows in run.json, with nothing of fmbench's."""

import json
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fmbench import SLO, Benchmark, Concurrency, ConstantRate, Parameters, Result
from fmbench.deployers import ExistingEndpoint
from fmbench.prompts import PythonTopics
from fmbench.testing import FakeServer

PERCENTILES = (0.5, 0.9, 0.95, 0.99)
NEEDED = {0.5: 11, 0.9: 64, 0.95: 130, 0.99: 662}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "r"
    with FakeServer(ttft_seconds=0.004, itl_seconds=0.001, tokens=6) as server:
        Benchmark(
            deployers=ExistingEndpoint(server.url, name="fake", model="m", usd_per_hour=3.6, facts={"instance_count": 2}),
            prompts=PythonTopics(140),
            loads=[Concurrency(1, requests=20), Concurrency(4, requests=140), ConstantRate(60, requests=70)],
            parameters=Parameters(max_new_tokens=6),
            reporters=["csv", "json", "markdown", "html", "charts"],
            slo=SLO(latency_p95_seconds=0.5),
        ).run(folder)
    return folder


def raw(directory):
    """The records as pyarrow reads them, an experiment at a time, and run.json's word on each."""
    with pa.OSFile(str(directory / "records.arrow")) as file, pa.ipc.open_stream(file) as reader:
        frame = reader.read_all().to_pandas()
    document = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    for entry in document["experiments"]:
        yield entry, frame[frame["experiment"] == entry["name"]], document


def recomputed(entry, rows):
    [(start, end)] = entry["windows"]
    seconds = (end - start) / 1e9
    good = rows[(rows["status"] == "ok") & rows["phase"].isin(["measured", "drain"]) & rows["due_ns"].between(start, end)]
    done = rows[(rows["status"] == "ok") & rows["end_ns"].between(start, end)]
    service = (good["last_token_ns"] - good["sent_ns"]) / 1e9
    response = (good["last_token_ns"] - good["due_ns"]) / 1e9
    ttft = ((good["first_token_ns"] - good["sent_ns"]) / 1e9).dropna()
    gaps = []
    for times, shared in zip(good["arrivals_ns"], good["arrival_coalesced"], strict=True):
        kept = ~np.asarray(shared, dtype=bool)
        gaps += list((np.diff(times) / 1e9)[kept[1:] & kept[:-1]])
    arrived = sum(
        tokens / len(times) * sum(start <= at <= end for at in times)
        for times, tokens in zip(rows["arrivals_ns"], rows["completion_tokens"], strict=True)
        if times is not None and len(times)
    )
    tpot = ((service - (good["first_token_ns"] - good["sent_ns"]) / 1e9) / (good["completion_tokens"] - 1)).dropna()
    return {
        "latency": response if entry["concurrency"] is None else service,
        "ttft": ttft,
        "itl": (np.array(gaps), len(good)),
        "tpot": tpot,
        "tps": len(done) / seconds,
        "output_throughput": arrived / seconds,
        "token_throughput": good["completion_tokens"] / service,
        "window_seconds": seconds,
    }


def close(said, true):
    return said is None if true is None else math.isclose(said, true, rel_tol=1e-9, abs_tol=1e-12)


def test_every_figure_of_every_experiment(directory):
    result = Result.load(directory)
    for experiment, (entry, rows, _) in zip(result.experiments, raw(directory), strict=True):
        true = recomputed(entry, rows)
        for name in ("latency", "ttft", "itl", "tpot", "token_throughput"):
            values, requests = true[name] if name == "itl" else (true[name], len(true[name]))
            said = getattr(experiment, name)
            assert close(said.mean, float(np.mean(values))), name
            for q in PERCENTILES:
                wanted = float(np.quantile(values, q)) if requests >= NEEDED[q] else None
                assert close(said.quantile(q), wanted), (name, q)
        for name in ("tps", "output_throughput", "window_seconds"):
            assert close(getattr(experiment, name), true[name]), name
        assert experiment.counts["ok"] == (rows["status"] == "ok").sum() == entry["planned"]


def test_the_tables_say_the_same(directory):
    result = Result.load(directory)
    table = pd.read_csv(directory / "summary.csv")
    told = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
    assert len(table) == len(result.experiments) == len(told["experiments"])
    per_request = pd.read_csv(directory / "results.csv")
    for experiment, (entry, rows, _) in zip(result.experiments, raw(directory), strict=True):
        true = recomputed(entry, rows)
        line = table[table["experiment"] == experiment.name].iloc[0]
        assert line["tps"] == pytest.approx(true["tps"])
        assert line["latency_p50_seconds"] == pytest.approx(float(np.median(true["latency"])))
        written = per_request[per_request["experiment"] == experiment.name]
        service = ((rows["last_token_ns"] - rows["sent_ns"]) / 1e9).to_numpy()
        assert np.allclose(written["latency"], service)
        assert np.allclose(written["token_throughput"], rows["completion_tokens"].to_numpy() / service)
        assert set(written["tps"].round(9)) == {round(true["tps"], 9)}


def test_the_page_prints_what_the_records_hold(directory):
    page = (directory / "report.html").read_text(encoding="utf-8")
    for entry, rows, _ in raw(directory):
        true = recomputed(entry, rows)
        assert f"{true['tps']:.3g}" in page, entry["name"]


def test_cost_is_rate_times_instances_times_hours(directory):
    document = next(raw(directory))[2]
    [deployment] = document["deployments"]
    hours = (deployment["ended_ns"] - deployment["started_ns"]) / 3.6e12
    assert Result.load(directory).cost.usd == pytest.approx(3.6 * 2 * hours)


def test_the_page_needs_no_network(directory):
    page = (directory / "report.html").read_text(encoding="utf-8")
    for reaching in ('src="http', "src='http", "@import", 'rel="stylesheet"', "url(http"):
        assert reaching not in page
