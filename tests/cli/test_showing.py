"""What came out, for a person: it fits a terminal of 80 columns, and any encoding."""

import os
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from fmbench import SLO, Benchmark, Check, Concurrency, ConfigError, Prompt, Result
from fmbench.cli.outcome import advice_status, exit_status, nothing_measured
from fmbench.cli.showing import _beyond, result_object, show_advice, show_result
from fmbench.testing import InProcess, made_up_result

PROMPTS = [Prompt(id=str(n), text=f"prompt {n}") for n in range(20)]


class Misasked(InProcess):
    @asynccontextmanager
    async def deploy(self, run):
        raise ConfigError("there is no such model")
        yield


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    deployers = [InProcess(f"a-deployment-with-a-long-name-{n}", facts={"usd_per_hour": 2.0}) for n in range(2)]
    return Benchmark(
        deployers=[*deployers, InProcess("absent", fails="there is no capacity", facts={"usd_per_hour": 2.0})],
        prompts={"short": PROMPTS, "the longer ones": PROMPTS[:15]},
        loads=[Concurrency(1, requests=20), Concurrency(16, requests=40)],
        slo=SLO(latency_p50_seconds=5, ttft_p50_seconds=1),
    ).run(tmp_path_factory.mktemp("wide") / "r")


def _tables(text):
    """Lines that are no paragraph: those stay whole in a pipe, so that they can be searched."""
    return [line for line in text.splitlines() if "  " in line.strip() and not line.startswith(("  ", "!", "✗"))]


def test_tables_fit_80_columns(wide, capsys):
    show_result(wide, 600000)
    shown = capsys.readouterr().out
    assert max(map(len, _tables(shown))) <= 80
    for part in ("instances", "USD/h", "req/min", "latency", "TTFT", "failed", "Validity", "there is no capacity"):
        assert part in shown
    assert "The run cost" in shown
    show_advice(wide.advise(requests_per_minute=600000))
    assert max(map(len, _tables(capsys.readouterr().out))) <= 80


def test_a_finding_that_many_experiments_share_is_told_once(wide, capsys):
    show_result(wide, None)
    shown = capsys.readouterr().out
    assert shown.count("✗ measured: ") == 1
    assert "4 experiments, such as absent, " in shown
    assert not any("e+0" in line for line in _tables(shown))


def test_the_check_furthest_from_its_limit_is_the_one_shown():
    high = [Check(name="n", verdict="warn", finding="", figure=figure, limit=1.0) for figure in (2.0, 9.0)]
    low = [Check(name="n", verdict="warn", finding="", figure=figure, limit=1.0) for figure in (0.9, 0.1)]
    assert max(high, key=_beyond).figure == 9.0
    assert max(low, key=_beyond).figure == 0.1


def test_a_result_for_machines_has_cost_and_verdict(wide):
    told = result_object(wide, None)
    assert told["verdict"] == "fail"
    assert told["cost"]["usd"] == wide.cost.usd
    assert len(told["experiments"]) == 12


def test_statuses(wide, tmp_path):
    assert exit_status(wide) == 1  # one deployment failed
    assert nothing_measured(wide) is None
    failed = made_up_result(tmp_path / "f", "all_failed")
    assert exit_status(failed) == 2
    assert nothing_measured(failed).startswith("nothing was measured: failing answered no request: ")
    absent = made_up_result(tmp_path / "e", "empty")
    assert nothing_measured(absent) == "nothing was measured: absent did not come up: there is no capacity"
    assert exit_status(absent) == 1  # such as a quota: nothing is wrong with what was asked
    asked = Benchmark(deployers=[Misasked("wrong")], prompts=PROMPTS, loads=Concurrency(1, requests=2)).run(tmp_path / "w")
    assert exit_status(asked) == 2
    ordinary = made_up_result(tmp_path / "o")
    assert advice_status(ordinary.advise(SLO(latency_p50_seconds=0.000001))) == 1
    assert exit_status(Result.load(tmp_path / "o")) == exit_status(ordinary)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_signs_that_a_terminal_lacks_are_no_traceback(tmp_path, encoding):
    made_up_result(tmp_path / "r")
    command = [sys.executable, "-m", "fmbench", "advise", str(tmp_path / "r"), "--slo", "latency_p50_seconds=5"]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, capture_output=True, check=False, env=environment)
    assert b"keeps to latency p50 ? 5 s" in done.stdout
    assert done.stderr == b""
