"""Signals, closed streams, and what is left behind."""

import json
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from fmbench.cli.signals import interruptible

SLOW = textwrap.dedent("""
    import sys
    from contextlib import asynccontextmanager
    from pathlib import Path
    from fmbench import Benchmark, Concurrency, Prompt
    from fmbench.cli.ending import mend_streams
    from fmbench.cli.running import run_benchmark
    from fmbench.testing import Echo, InProcess

    class Leaky(InProcess):
        @asynccontextmanager
        async def deploy(self, run):
            if sys.argv[2] == "leaky":
                run.creating({"endpoint": "expensive"}, usd_per_hour=32.77)
            async with super().deploy(run) as endpoint:
                yield endpoint

    mend_streams()
    prompts = [Prompt(id=str(n), text=f"prompt {n}") for n in range(20)]
    load = Concurrency(1, seconds=float(sys.argv[3]))
    benchmark = Benchmark(deployers=Leaky("slow"), prompts=prompts, loads=load, invoker=Echo())
    sys.exit(run_benchmark(benchmark, Path(sys.argv[1]), as_json=False))
""")


def _start(folder, kind, seconds=30.0, **options):
    command = [sys.executable, "-c", SLOW, str(folder), kind, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options)


def _wait_for_records(folder):
    while not (folder / "records.arrow").exists() or (folder / "records.arrow").stat().st_size == 0:
        time.sleep(0.02)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_run_after_its_teardown(tmp_path, name):
    process = _start(tmp_path / "r", "clean")
    _wait_for_records(tmp_path / "r")
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    assert "stopping: what was deployed is being taken down" in err
    assert f"go on with --out {tmp_path / 'r'} --resume" in err


def test_what_stands_after_an_interrupt_is_told_with_status_3(tmp_path):
    process = _start(tmp_path / "r", "leaky")
    _wait_for_records(tmp_path / "r")
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 3
    assert 'fmbench: STILL THERE, at 32.77 USD an hour: {"endpoint": "expensive"}' in err
    assert "everything that was deployed is taken down" not in err


def test_an_ignored_hang_up_stays_ignored(tmp_path):
    process = _start(tmp_path / "r", "clean", 1.5, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    _wait_for_records(tmp_path / "r")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=30)
    assert process.returncode in {0, 1}


def test_handlers_are_given_back():
    before = {name: signal.getsignal(getattr(signal, name)) for name in ("SIGINT", "SIGTERM", "SIGHUP")}
    heard = []
    with interruptible(heard.append), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGTERM)
    assert heard == ["stopping: what was deployed is being taken down"]
    assert {name: signal.getsignal(getattr(signal, name)) for name in before} == before


def test_only_the_first_signal_is_raised_and_the_others_are_heard():
    heard = []
    with interruptible(heard.append):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
    assert heard == ["stopping: what was deployed is being taken down"] * 3


def test_signals_in_a_hurry_do_not_keep_a_run_from_its_teardown(tmp_path):
    process = _start(tmp_path / "r", "clean")
    _wait_for_records(tmp_path / "r")
    while json.loads((tmp_path / "r" / "run.json").read_bytes())["state"] == "running":
        process.send_signal(signal.SIGINT)
        time.sleep(0.005)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"go on with --out {tmp_path / 'r'} --resume" in err
    assert "Traceback" not in err


def test_closed_streams_do_not_fall_to_the_run_s_own_files(tmp_path):
    command = [sys.executable, "-c", SLOW, str(tmp_path / "r"), "clean", "0.3"]
    shell = '"$@" <&- >&- 2>&-'
    done = subprocess.run(["/bin/sh", "-c", shell, "sh", *command], check=False, timeout=60)
    assert done.returncode in {0, 1}
    assert (tmp_path / "r" / "results.csv").exists()
