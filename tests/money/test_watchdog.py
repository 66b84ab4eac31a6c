"""Whatever ends a run, its second process deletes what stands: real processes, real signals, a cloud of paper."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fmbench.journal import Journal
from fmbench.journal.process import started

PROGRAM = Path(__file__).with_name("paper_cloud.py")
KILLS = int(os.environ.get("FMBENCH_KILLS", "4"))


def start(directory, cloud, **more):
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), str(directory), str(cloud), json.dumps(more)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.01)
    return found


def watchdogs(directory):
    """Their process numbers, from the system's list."""
    listing = subprocess.run(["ps", "-ww", "-e", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listing.splitlines() if f"watchdog.py {directory.absolute()} " in line]


@pytest.fixture
def paper():
    sys.path.insert(0, str(PROGRAM.parent))
    import paper_cloud

    yield paper_cloud
    sys.path.remove(str(PROGRAM.parent))


def killed(directory, cloud, moment, there):
    """Kill a run that long after its first thing was announced; the seconds until nothing stood."""
    process = start(directory, cloud, seconds=1.0)
    wait_for((directory / "journal.jsonl").exists)
    time.sleep(moment)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    begun = time.monotonic()
    wait_for(lambda: not there(cloud) and not watchdogs(directory))
    return time.monotonic() - begun


def test_the_watchdog_alone_leaves_nothing_after_a_kill_at_any_moment(tmp_path, paper):
    """The moments are drawn from deploying, measuring and deleting, which take about two seconds."""
    draw = random.Random(11)
    moments = [draw.uniform(0.0, 2.0) for _ in range(KILLS)]
    with ThreadPoolExecutor(4) as pool:
        runs = [
            pool.submit(killed, tmp_path / f"r{number}", paper.made(tmp_path / f"c{number}"), moment, paper.there)
            for number, moment in enumerate(moments)
        ]
        seconds = [run.result() for run in runs]
    assert max(seconds) < 60
    for number in range(KILLS):
        assert Journal(tmp_path / f"r{number}").standing() == []
        assert (tmp_path / f"c{number}" / "theirs").exists()


def test_a_run_that_goes_well_deletes_all_itself_and_its_watchdog_ends_with_it(tmp_path, paper):
    cloud = paper.made(tmp_path / "c")
    process = start(tmp_path / "r", cloud, seconds=0.5)
    wait_for(lambda: paper.there(cloud))
    [watchdog] = watchdogs(tmp_path / "r")
    held = [str(entry.readlink()) for entry in Path(f"/proc/{watchdog}/fd").glob("[0-9]*")]  # none where there is no /proc
    session = os.getsid(watchdog)
    _, err = process.communicate(timeout=60)
    assert process.returncode in {0, 1}, err
    assert session == watchdog
    assert [name for name in held if name.startswith("socket:")] == []
    assert started(watchdog) is None
    assert paper.there(cloud) == []
    assert (tmp_path / "r" / "watchdog.log").read_text(encoding="utf-8") == ""
    assert "hunter2" not in (tmp_path / "r" / "journal.jsonl").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_run_after_deleting_everything(tmp_path, paper, name):
    cloud = paper.made(tmp_path / "c")
    process = start(tmp_path / "r", cloud, seconds=30)
    wait_for(lambda: len(paper.there(cloud)) == 4)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert paper.there(cloud) == []
    assert watchdogs(tmp_path / "r") == []


def test_a_hang_up_of_the_terminal_leaves_the_watchdog(tmp_path, paper):
    """The whole process group is killed, as a terminal's end may do."""
    cloud = paper.made(tmp_path / "c")
    command = [sys.executable, str(PROGRAM), str(tmp_path / "r"), str(cloud), json.dumps({"seconds": 30})]
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: paper.there(cloud))
    [watchdog] = watchdogs(tmp_path / "r")
    os.kill(watchdog, signal.SIGHUP)
    os.kill(watchdog, signal.SIGINT)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: not paper.there(cloud) and not watchdogs(tmp_path / "r"))


def test_the_watchdog_keeps_the_deadline_of_a_run_that_hangs(tmp_path, paper):
    cloud = paper.made(tmp_path / "c")
    process = start(tmp_path / "r", cloud, seconds=60, max_hours=3 / 3600)
    wait_for(lambda: paper.there(cloud))
    process.send_signal(signal.SIGSTOP)
    wait_for(lambda: not paper.there(cloud))
    process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)
    assert "the deadline has passed" in (tmp_path / "r" / "watchdog.log").read_text(encoding="utf-8")
    assert process.returncode == 1


def test_what_a_deployer_forgets_is_deleted_by_the_run(tmp_path, paper):
    cloud = paper.made(tmp_path / "c")
    result = paper.benchmark(cloud, seconds=0.3, fault="forgets").run(tmp_path / "r")
    assert paper.there(cloud) == []
    assert Journal(tmp_path / "r").standing() == []
    assert {problem["kind"] for problem in result.problems} == {"left_behind"}


def test_what_cannot_be_deleted_is_told_with_its_price_and_the_watchdog_goes_on(tmp_path, paper, monkeypatch):
    monkeypatch.setattr("fmbench.benchmark.undoing.LEFTOVER_SECONDS", 1.0)
    cloud = paper.made(tmp_path / "c")
    (cloud / "stuck").touch()
    result = paper.benchmark(cloud, seconds=0.3).run(tmp_path / "r")
    told = [problem["message"] for problem in result.problems if problem["kind"] == "standing"]
    assert len(told) == 4
    assert sum("costs 7.09 USD an hour" in line and "endpoint" in line for line in told) == 2
    assert len(watchdogs(tmp_path / "r")) == 1
    (cloud / "stuck").unlink()
    wait_for(lambda: not paper.there(cloud) and not watchdogs(tmp_path / "r"))


def test_kept_things_stay_and_nobody_deletes_them(tmp_path, paper):
    cloud = paper.made(tmp_path / "c")
    result = paper.benchmark(cloud, seconds=0.3, keep=True).run(tmp_path / "r")
    assert len(paper.there(cloud)) == 4
    assert watchdogs(tmp_path / "r") == []
    assert result.problems == ()
    assert len(Journal(tmp_path / "r").kept()) == 4
