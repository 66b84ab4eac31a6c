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

KILLS = int(os.environ.get("FMBENCH_KILLS", "1"))


class Scenes:
    """What takes the watchdog's patience, all at once: each is a run that something ends."""

    def __init__(self, paper, folder):
        self.paper = paper
        self.folder = folder

    def made(self, name):
        return self.folder / f"{name}-run", self.paper.made(self.folder / f"{name}-cloud")

    def gone(self, directory, cloud):
        """The seconds until nothing stands and the watchdog has ended."""
        begun = time.monotonic()
        self.paper.wait_for(lambda: not self.paper.there(cloud) and not self.paper.watchdogs(directory))
        return time.monotonic() - begun

    def killed(self, name, moment):
        """Killed so long after its first thing was announced."""
        directory, cloud = self.made(name)
        process = self.paper.start(directory, cloud, seconds=1.0)
        self.paper.wait_for((directory / "journal.jsonl").exists)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        return self.gone(directory, cloud)

    def hung_up(self):
        """The terminal's end: hang-up and interrupt for the watchdog too, the run's whole process group killed."""
        directory, cloud = self.made("hung-up")
        command = [sys.executable, self.paper.__file__, str(directory), str(cloud), json.dumps({"seconds": 60})]
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.paper.wait_for(lambda: self.paper.there(cloud))
        [watchdog] = self.paper.watchdogs(directory)
        os.kill(watchdog, signal.SIGHUP)
        os.kill(watchdog, signal.SIGINT)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return self.gone(directory, cloud)

    def hanging(self):
        """Its process is stopped beyond its deadline, and goes on after that."""
        directory, cloud = self.made("hanging")
        process = self.paper.start(directory, cloud, seconds=120, max_hours=3 / 3600)
        self.paper.wait_for(lambda: self.paper.there(cloud))
        process.send_signal(signal.SIGSTOP)
        self.paper.wait_for(lambda: not self.paper.there(cloud))
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=60)
        return process.returncode

    def stuck(self):
        """It cannot delete until it has ended."""
        directory, cloud = self.made("stuck")
        process = self.paper.start(directory, cloud, seconds=0.3, patience=1.0)
        self.paper.wait_for(lambda: self.paper.there(cloud))
        (cloud / "stuck").touch()
        _, err = process.communicate(timeout=60)
        (cloud / "stuck").unlink()
        self.gone(directory, cloud)
        return process.returncode, err

    def all(self):
        """The moments are drawn from deploying, measuring and deleting, which take about two seconds."""
        draw = random.Random(11)
        with ThreadPoolExecutor(6) as pool:
            kills = [pool.submit(self.killed, f"kill-{number}", draw.uniform(0.0, 2.0)) for number in range(KILLS)]
            others = [pool.submit(scene) for scene in (self.hung_up, self.hanging, self.stuck)]
            return [kill.result() for kill in kills], *(other.result() for other in others)


def test_whatever_ends_a_run_the_watchdog_leaves_nothing(tmp_path, paper):
    scenes = Scenes(paper, tmp_path)
    kills, hung_up, hanging, (stuck, said) = scenes.all()
    assert len(kills) == KILLS
    assert max(kills) < 60
    assert hung_up < 60
    for number in range(KILLS):
        assert Journal(tmp_path / f"kill-{number}-run").standing() == []
        assert (tmp_path / f"kill-{number}-cloud" / "theirs").exists()
    assert hanging == 1
    assert "the deadline has passed" in (tmp_path / "hanging-run" / "watchdog.log").read_text(encoding="utf-8")
    assert stuck == 3
    assert said.count("fmbench: STILL THERE, at 7.09 USD an hour") == 2
    assert said.count("-model") >= 2
    told = json.loads((tmp_path / "stuck-run" / "run.json").read_text(encoding="utf-8"))["problems"]
    assert sum(problem["kind"] == "standing" for problem in told) == 4
    assert list((tmp_path / "state" / "fmbench" / "standing").iterdir()) == []


def test_a_run_that_goes_well_deletes_all_itself_and_its_watchdog_ends_with_it(tmp_path, paper):
    cloud = paper.made(tmp_path / "c")
    process = paper.start(tmp_path / "r", cloud, seconds=0.5)
    paper.wait_for(lambda: paper.there(cloud))
    [watchdog] = paper.watchdogs(tmp_path / "r")
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
    assert list((tmp_path / "state" / "fmbench" / "standing").iterdir()) == []


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_run_after_deleting_everything(tmp_path, paper, name):
    cloud = paper.made(tmp_path / "c")
    process = paper.start(tmp_path / "r", cloud, seconds=30)
    paper.wait_for(lambda: len(paper.there(cloud)) == 4)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert paper.there(cloud) == []
    assert paper.watchdogs(tmp_path / "r") == []


def test_what_a_deployer_forgets_is_deleted_by_the_run(tmp_path, paper):
    cloud = paper.made(tmp_path / "c")
    result = paper.benchmark(cloud, seconds=0.3, fault="forgets").run(tmp_path / "r")
    assert paper.there(cloud) == []
    assert Journal(tmp_path / "r").standing() == []
    assert {problem["kind"] for problem in result.problems} == {"left_behind"}


def test_money_that_is_spent_ends_a_run(tmp_path, paper):
    """Two endpoints at 7.09 USD an hour spend a cent in two and a half seconds."""
    cloud = paper.made(tmp_path / "c")
    process = paper.start(tmp_path / "r", cloud, seconds=60, max_usd=0.01)
    process.communicate(timeout=60)
    assert process.returncode == 1
    assert paper.there(cloud) == []
    document = json.loads((tmp_path / "r" / "run.json").read_text(encoding="utf-8"))
    assert [one["status"] for one in document["experiments"]] == ["partial", "not_sent"]
    assert {one["reason"] for one in document["experiments"]} == {"max_usd=0.01 was reached"}
    begun = next(Journal(tmp_path / "r").entries())
    assert begun["max_usd"] == 0.01
    assert begun["deadline"] == pytest.approx(begun["at"] + 0.01 / 7.09 * 3600, abs=2)
    assert begun["tags"]["fmbench:deadline"].endswith("Z")


def test_a_watchdog_that_does_not_come_up_keeps_everything_from_being_created(tmp_path, paper, monkeypatch):
    monkeypatch.setattr("fmbench.journal.starting.SCRIPT", tmp_path / "missing.py")
    cloud = paper.made(tmp_path / "c")
    result = paper.benchmark(cloud, seconds=0.3).run(tmp_path / "r")
    assert paper.there(cloud) == []
    assert all("the watchdog did not come up" in one.error["message"] for one in result.deployments)


def test_runs_that_create_nothing_have_no_watchdog(tmp_path, paper):
    from fmbench import Benchmark, Concurrency, Prompt
    from fmbench.testing import Echo, InProcess

    prompts = [Prompt(id="p", text="a b c")]
    Benchmark(deployers=InProcess("free"), prompts=prompts, loads=Concurrency(1, requests=3), invoker=Echo()).run(
        tmp_path / "r"
    )
    assert not (tmp_path / "r" / "watchdog.log").exists()
    assert not (tmp_path / "r" / "journal.jsonl").exists()
    assert not (tmp_path / "state").exists()


def test_what_no_other_process_could_delete_is_told(tmp_path, paper):
    class Local(paper.Paper):
        pass

    from fmbench import Benchmark, Concurrency, Prompt
    from fmbench.testing import Echo

    local, prompts = Local("local", paper.made(tmp_path / "c"), 0.01), [Prompt(id="p", text="a b c")]
    benchmark = Benchmark(deployers=local, prompts=prompts, loads=Concurrency(1, requests=3), invoker=Echo())
    result = benchmark.run(tmp_path / "r")
    assert [problem["kind"] for problem in result.problems] == ["unwatched"]
    assert paper.there(tmp_path / "c") == []
    assert not (tmp_path / "r" / "watchdog.log").exists()


def test_a_resumed_run_deletes_what_was_left_before_it_makes_anything(tmp_path, paper):
    cloud = paper.made(tmp_path / "cloud")
    process = paper.start(tmp_path / "r", cloud, seconds=3)
    paper.wait_for(lambda: len(paper.there(cloud)) == 4)
    for watchdog in paper.watchdogs(tmp_path / "r"):
        os.kill(watchdog, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    known = len(list(Journal(tmp_path / "r").entries()))
    paper.benchmark(cloud, seconds=3).run(tmp_path / "r", resume=True)
    events = [(one["event"], one.get("handle")) for one in list(Journal(tmp_path / "r").entries())[known:]]
    made = [number for number, (event, _) in enumerate(events) if event == "creating"]
    assert [event for event, _ in events[: made[0]]].count("deleted") == 4
    assert paper.there(cloud) == []
