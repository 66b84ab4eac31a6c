"""SIGKILL at any moment: the log can be read, no server is left, and resuming sends nothing twice."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import time

import pytest

from fmbench import Result
from fmbench.recording import read_table

pytest.importorskip("xllamacpp", reason="the local extra is not installed")
SCRIPT = textwrap.dedent("""
    import sys
    from fmbench import Benchmark, Concurrency, Parameters
    from fmbench.deployers import LlamaCpp
    from fmbench.prompts import PythonTopics

    Benchmark(
        deployers=LlamaCpp(slots=2, name=sys.argv[2]),
        prompts=PythonTopics(60),
        loads=[Concurrency(1, requests=60), Concurrency(4, requests=60)],
        parameters=Parameters(max_new_tokens=16),
    ).run(sys.argv[1], resume=sys.argv[3] == "resume")
""")


def start(directory, name, mode):
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(directory), name, mode])


@pytest.mark.parametrize("seed", range(4))
def test_a_kill_costs_at_most_the_last_second(tmp_path, seed):
    directory = tmp_path / "r"
    # The moment is drawn from the whole of a run, which takes about three seconds.
    moment = random.Random(seed).uniform(0.3, 3.0)
    process = start(directory, f"kill-{os.getpid()}-{seed}", "fresh")
    time.sleep(moment)
    before = children_of(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if (directory / "records.arrow").exists():
        first = set(read_table(directory)["id"].to_pylist())
        Result.load(directory)
    else:
        first = set()
    assert await_gone(before) == []
    if not (directory / "run.json").exists():
        return  # it was killed before it had begun
    if Result.load(directory).state == "finished":
        return
    assert start(directory, f"kill-{os.getpid()}-{seed}", "resume").wait(timeout=60) == 0
    ids = read_table(directory)["id"].to_pylist()
    assert len(ids) == len(set(ids)) == 61 + 64
    assert first <= set(ids)
    result = Result.load(directory)
    assert result.state == "finished"
    assert {experiment.status for experiment in result.experiments} == {"measured"}
    assert not [check for check in result.validity if check.name == "accounting" and check.verdict != "pass"]


def children_of(pid):
    """The process's descendants."""
    listing = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listing.splitlines()]
    found, waiting = [], [pid]
    while waiting:
        parent = waiting.pop()
        below = [child for child, its_parent in pairs if its_parent == parent]
        found += below
        waiting += below
    return found


def await_gone(pids, seconds=20.0):
    deadline = time.monotonic() + seconds
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def alive(pid):
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout.strip()
    return bool(state) and not state.startswith("Z")
