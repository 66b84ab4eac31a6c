"""``fmbench capacity``: a real process against a real socket."""

import json
import subprocess
import sys

import pytest

from fmbench import Result
from fmbench.testing import FakeServer


def capacity(*arguments):
    command = [sys.executable, "-m", "fmbench", "capacity", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.fixture
def config(tmp_path):
    def make(url):
        (tmp_path / "c.yml").write_text(
            f"deployers: {{endpoint: {{url: '{url}', name: fake}}}}\nprompts: {{dataset: qa.jsonl}}\n"
            "loads: [{concurrency: {n: 1}}]\nslo: {latency_p95_seconds: 20}\n",
            encoding="utf-8",
        )
        rows = "".join(json.dumps({"prompt": f"word {number}"}) + "\n" for number in range(30))
        (tmp_path / "qa.jsonl").write_text(rows, encoding="utf-8")
        return tmp_path / "c.yml"

    return make


def test_it_answers_in_a_sentence_or_as_an_object_and_by_its_exit_status(tmp_path, config):
    with FakeServer(ttft_seconds=0.002, itl_seconds=0.001) as server:
        done = capacity(config(server.url), "--most", 2, "--out", tmp_path / "a")
        missed = capacity(tmp_path / "c.yml", "--slo", "ttft_p50_seconds=0.0001", "--json", "--out", tmp_path / "b")
        wrong = capacity(tmp_path / "c.yml", "--slo", "ttft_p50=1", "--out", tmp_path / "c")
        over = capacity(tmp_path / "c.yml", "--start", 3, "--most", 2, "--out", tmp_path / "c")
    assert done.returncode == 0, done.stderr
    assert "fake on dataset keeps to the SLO up to concurrency 2 at least" in done.stdout
    assert "fake is up" in done.stderr
    assert {experiment.concurrency for experiment in Result.load(tmp_path / "a").experiments} == {1, 2}
    assert missed.returncode == 1, missed.stderr
    told = json.loads(missed.stdout)
    assert (told["met"], told["answers"][0]["standing"]) == (False, "unmet")
    assert told["answers"][0]["broke"]["limit"] == "ttft_p50_seconds"
    for refused, said in [(wrong, "ttft_p50"), (over, "start")]:
        assert refused.returncode == 2
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "c").exists()
