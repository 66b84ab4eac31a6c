"""The command line, as a user meets it: real processes, their output and their exit status."""

import json
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from fmbench import Result
from fmbench.journal import Journal
from fmbench.testing import FakeServer, made_up_result


def fmbench(*arguments, **options):
    command = [sys.executable, "-m", "fmbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)


@pytest.fixture
def config(tmp_path):
    def make(url, **more):
        lines = [
            f"deployers: {{endpoint: {{url: '{url}', name: fake}}}}",
            "prompts: {dataset: qa.jsonl}",
            "loads: [{concurrency: {n: 2, requests: 20}}]",
        ]
        lines += [f"{name}: {value}" for name, value in more.items()]
        (tmp_path / "c.yml").write_text("\n".join(lines), encoding="utf-8")
        (tmp_path / "qa.jsonl").write_text(
            "".join(json.dumps({"prompt": f"word {n}"}) + "\n" for n in range(30)), encoding="utf-8"
        )
        return tmp_path / "c.yml"

    return make


def one_line(done, *parts):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    said = [line for line in done.stderr.splitlines() if not line.startswith("[")]  # progress comes before
    assert len(said) == 1, done.stderr
    assert "Traceback" not in done.stderr
    for part in parts:
        assert part in done.stderr


def test_a_run_prints_a_table_and_writes_its_folder(tmp_path, config):
    with FakeServer(ttft_seconds=0.005, itl_seconds=0.001) as server:
        done = fmbench("run", config(server.url, reporters="[csv]", slo="{latency_p50_seconds: 2}"), "--out", tmp_path / "r")
    assert done.returncode == 0, done.stderr
    assert "fake, concurrency 2" in done.stdout
    assert "keeps to latency p50" in done.stdout
    assert "fake is up" in done.stderr
    assert (tmp_path / "r" / "summary.csv").exists()
    again = fmbench("run", tmp_path / "c.yml", "--out", tmp_path / "r")
    one_line(again, "finished run")


def test_json_is_one_object_and_nothing_else(tmp_path, config):
    with FakeServer() as server:
        done = fmbench("run", config(server.url), "--out", tmp_path / "r", "--json")
    told = json.loads(done.stdout)
    assert told["experiments"][0]["experiment"] == "fake, concurrency 2"
    assert told["state"] == "finished"
    plan = fmbench("plan", tmp_path / "c.yml", "--json")
    assert json.loads(plan.stdout)["rows"][0]["requests"] == 22


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"status": 401}, "asked for 401"),
        ({"status": 404}, "asked for 404"),
        ({"status": 429}, "asked for 429"),
        ({"status": 500}, "asked for 500"),
        ({"fault": "html"}, "HTML came instead of JSON"),
    ],
)
def test_an_endpoint_that_only_fails_is_told_and_gives_status_2(tmp_path, config, options, told):
    with FakeServer(**options) as server:
        done = fmbench("run", config(server.url, stop_on_errors=5), "--out", tmp_path / "r")
    assert done.returncode == 2
    assert told in done.stdout
    assert "Traceback" not in done.stderr


def test_a_deployment_that_fails_gives_status_1(tmp_path, config):
    done = fmbench("run", config("http://127.0.0.1:9"), "--out", tmp_path / "r")
    assert done.returncode == 1
    assert "nothing accepts connections at http://127.0.0.1:9" in done.stdout + done.stderr


def test_mistakes_are_one_line_and_status_2(tmp_path, config):
    file = config("http://127.0.0.1:9", loadz=1)
    one_line(fmbench("run", file), "c.yml:4", "'loadz'", "did you mean 'loads'")
    (tmp_path / "qa.jsonl").write_text('{"promt": "x"}\n', encoding="utf-8")
    with FakeServer() as server:
        one_line(_run_with_bad_data(tmp_path, server), "'prompt'", "did you mean 'promt'")
    assert fmbench("run", tmp_path / "nothing.yml").returncode == 2
    one_line(fmbench("report", tmp_path), "run.json")
    assert fmbench("advise", tmp_path, "--slo", "latency_q95_seconds=1").returncode == 2
    assert fmbench("nonsense").returncode == 2


def _run_with_bad_data(tmp_path, server):
    (tmp_path / "d.yml").write_text(
        f"deployers: {{endpoint: '{server.url}'}}\nprompts: {{dataset: qa.jsonl}}\nloads: [{{concurrency: 1}}]\n",
        encoding="utf-8",
    )
    return fmbench("run", tmp_path / "d.yml", "--out", tmp_path / "bad")


def test_advice_and_reports_of_a_run_that_is_there(tmp_path):
    made_up_result(tmp_path / "r")
    done = fmbench("advise", tmp_path / "r", "--slo", "latency_p50_seconds=5", "--requests-per-minute", 60000)
    assert done.returncode == 0
    assert "serve 60000 requests a minute" in done.stdout
    assert fmbench("advise", tmp_path / "r", "--slo", "latency_p50_seconds=0.0001").returncode == 1
    told = json.loads(fmbench("advise", tmp_path / "r", "--json", "--slo", "latency_p50_seconds=5").stdout)
    assert told["candidates"][0]["standing"] == "met"
    done = fmbench("report", tmp_path / "r", "--reporter", "markdown", "--reporter", "json")
    assert [line.rsplit("/", 1)[1] for line in done.stdout.splitlines()] == ["report.md", "summary.json"]


def test_an_interrupt_takes_down_and_resuming_completes(tmp_path, config):
    with FakeServer(ttft_seconds=0.05) as server:
        file = config(server.url, warmup=0)
        command = [sys.executable, "-m", "fmbench", "run", str(file), "--out", str(tmp_path / "r")]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        while len(server.requests) < 6:
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "interrupted" in told
        assert Result.load(tmp_path / "r").state == "cancelled"
        done = fmbench("run", file, "--out", tmp_path / "r", "--resume")
        assert done.returncode in {0, 1}, done.stderr
    records = Result.load(tmp_path / "r").records
    assert records["id"].is_unique


def test_what_still_stands_is_told_loudly_with_status_3(tmp_path):
    script = tmp_path / "leaky.py"
    script.write_text(
        textwrap.dedent("""
            import sys
            from contextlib import asynccontextmanager
            from fmbench import Benchmark, Concurrency, Prompt
            from fmbench.cli.running import run_benchmark
            from fmbench.testing import InProcess
            class Leaky(InProcess):
                @asynccontextmanager
                async def deploy(self, run):
                    run.creating({"endpoint": "expensive"}, usd_per_hour=32.77)
                    async with super().deploy(run) as endpoint:
                        yield endpoint
            from pathlib import Path
            benchmark = Benchmark(deployers=Leaky(), prompts=[Prompt(id="a", text="b")], loads=Concurrency(1, requests=2))
            sys.exit(run_benchmark(benchmark, Path(sys.argv[1]), as_json=False))
        """),
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, str(script), str(tmp_path / "r")], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert 'STILL THERE, at 32.77 USD an hour: {"endpoint": "expensive"}' in done.stderr
    assert Journal(tmp_path / "r").standing()[0]["handle"] == {"endpoint": "expensive"}


def test_help_plugins_and_mistakes_import_no_heavy_library():
    script = textwrap.dedent("""
        import sys
        from fmbench.cli import main
        sys.argv = ["fmbench", *sys.argv[1:]]
        try:
            main()
        finally:
            print([name for name in ("pandas", "pyarrow", "matplotlib", "numpy") if name in sys.modules], file=sys.stderr)
    """)
    for arguments in (["--help"], ["plugins"], ["nonsense"]):
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
        assert done.stderr.splitlines()[-1] == "[]"
    assert "llamacpp" in fmbench("plugins").stdout
    assert {row["name"] for row in json.loads(fmbench("plugins", "--json").stdout)} >= {"endpoint", "dataset", "openai", "html"}
