"""``fmbench cleanup``: from the journal, from the tags, with either one missing; nothing else is touched."""

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from fmbench.journal import Journal, Sitting
from fmbench.journal.state import noted


def fmbench(*arguments):
    command = [sys.executable, "-m", "fmbench", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def age(directory, seconds=100.0):
    """As if it had been long ago, so that no request can be under way any more."""
    aged = [entry | {"at": entry["at"] - seconds} for entry in Journal(directory).entries()]
    (directory / "journal.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in aged), encoding="utf-8")


@pytest.fixture
def cloud(tmp_path, paper):
    return paper.made(tmp_path / "cloud")


@pytest.fixture
def killed(tmp_path, paper, cloud):
    """A run and its watchdog killed while everything stood."""

    def kill(name="r", *, ago=100.0, **more):
        directory, before = tmp_path / name, len(paper.there(cloud))
        process = paper.start(directory, cloud, **{"seconds": 60, **more})
        paper.wait_for(lambda: len(paper.there(cloud)) == before + 4)
        for watchdog in paper.watchdogs(directory):
            os.kill(watchdog, signal.SIGKILL)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        age(directory, ago)
        return directory

    return kill


def test_the_next_command_says_what_still_bills_and_cleanup_deletes_it(paper, cloud, killed):
    directory = killed(ago=0.0)
    told = fmbench("plugins")
    assert told.returncode == 0
    lines = [line for line in told.stderr.splitlines() if "STILL BILLING" in line]
    assert len(lines) == 4
    assert sum("at 7.09 USD an hour" in line and "endpoint" in line for line in lines) == 2
    assert all(f"fmbench cleanup {directory}" in line for line in lines)
    dry = fmbench("cleanup", directory, "--dry-run", "--json")
    assert len(json.loads(dry.stdout)["deleted"]) == 4
    assert len(paper.there(cloud)) == 4
    done = fmbench("cleanup", directory)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("deleted") == 4
    assert paper.there(cloud) == []
    assert (cloud / "theirs").exists()
    assert fmbench("plugins").stderr == ""
    assert "nothing of ours stands" in fmbench("cleanup", directory).stdout


@pytest.mark.parametrize("lost", ["journal.jsonl", "everything"])
def test_without_the_journal_things_are_found_by_their_tags(paper, cloud, killed, lost):
    directory = killed()
    if lost == "everything":
        shutil.rmtree(directory)
    else:
        (directory / lost).unlink()
    assert "fmbench cleanup" in fmbench("plugins").stderr
    done = fmbench("cleanup", directory) if lost == "journal.jsonl" else fmbench("cleanup")
    assert done.returncode == 3, done.stderr  # AWS, where something may stand without its journal, could not be looked at
    assert "could not look for tags: JumpStart: " in done.stderr
    assert paper.there(cloud) == []
    assert (cloud / "theirs").exists()
    assert fmbench("plugins").stderr == ""
    again = fmbench("cleanup")
    assert again.returncode == 3
    assert "nothing of ours was found, but not everywhere could be looked" in again.stdout
    assert "nothing of ours stands" not in again.stdout


def test_without_tags_the_journal_is_enough(paper, cloud, killed):
    directory = killed()
    for name in paper.there(cloud):
        (cloud / name).write_text(json.dumps({"tags": {}}), encoding="utf-8")
    assert fmbench("cleanup", directory).returncode == 0
    assert paper.there(cloud) == []


def test_a_run_that_goes_on_is_left_alone(tmp_path, paper, cloud, killed):
    over = killed()
    process = paper.start(tmp_path / "going", cloud, seconds=60)
    paper.wait_for(lambda: len(paper.there(cloud)) == 8)
    (over / "journal.jsonl").unlink()
    done = fmbench("cleanup")
    assert done.stdout.count("its run still goes on") == 4
    assert len(paper.there(cloud)) == 4
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert paper.there(cloud) == []


def test_by_tags_alone_only_what_is_expired_or_all(paper, cloud):
    def thing(name, **tags):
        (cloud / name).write_text(json.dumps({"tags": tags}), encoding="utf-8")

    thing("old", **{"fmbench:run": "a", "fmbench:deadline": "2020-01-01T00:00:00Z"})
    thing("new", **{"fmbench:run": "b", "fmbench:deadline": "2999-01-01T00:00:00Z", "fmbench:owner": "ada@engine"})
    thing("endless", **{"fmbench:run": "c"})
    thing("kept", **{"fmbench:run": "d", "fmbench:deadline": "2020-01-01T00:00:00Z", "fmbench:keep": "true"})
    fmbench("cleanup", "--expired")
    assert paper.there(cloud) == ["endless", "kept", "new"]
    plain = fmbench("cleanup")
    assert plain.stdout.count("whether its run is over cannot be known here") == 2
    assert "of ada@engine" in plain.stdout
    assert paper.there(cloud) == ["endless", "kept", "new"]
    every = fmbench("cleanup", "--all")
    assert "keep=True asked for it" in every.stdout
    assert paper.there(cloud) == ["kept"]
    fmbench("cleanup", "--all", "--kept")
    assert [path.name for path in cloud.iterdir()] == ["theirs"]


def test_what_was_kept_is_told_and_left_until_it_is_asked_for(tmp_path, paper, cloud):
    process = paper.start(tmp_path / "r", cloud, seconds=0.3, keep=True)
    _, err = process.communicate(timeout=60)
    assert process.returncode in {0, 1}
    assert err.count("KEPT") == 4
    assert len(paper.there(cloud)) == 4
    assert paper.watchdogs(tmp_path / "r") == []
    assert fmbench("plugins").stderr.count("KEPT, at") == 4
    left = fmbench("cleanup", tmp_path / "r")
    assert left.returncode == 0
    assert left.stdout.count("keep=True asked for it") == 4
    age(tmp_path / "r")
    assert fmbench("cleanup", tmp_path / "r", "--kept").returncode == 0
    assert paper.there(cloud) == []


def test_what_stays_gives_status_3(paper, cloud, killed, monkeypatch):
    directory = killed()
    (cloud / "stuck").touch()
    script = (
        "import fmbench.journal.cleanup as cleanup; cleanup.LIMIT_SECONDS = 1.0\n"
        "from fmbench.cli import main; import sys; sys.argv = ['fmbench', 'cleanup', sys.argv[1]]; main()"
    )
    done = subprocess.run([sys.executable, "-c", script, str(directory)], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert done.stderr.count("STILL THERE") == 4
    assert "the cloud is stuck" in done.stderr


def test_mistakes_are_one_line(tmp_path, paper):
    nothing = fmbench("cleanup", tmp_path / "nothing")
    assert nothing.returncode == 2
    assert "holds no run" in nothing.stderr
    assert fmbench("cleanup", "--expired", "--all").returncode == 2


def test_what_stands_in_another_region_is_found_when_the_folder_is_gone(tmp_path, paper):
    """The user's list has the regions, and each is asked."""

    class Elsewhere:
        def delete(self, handle):
            return True

    directory = tmp_path / "r"
    directory.mkdir()
    sitting = Sitting(directory, run="r-1", tags={"fmbench:run": "r-1"})
    entries = sitting.of(Elsewhere(), "one")
    for region in ("eu-west-1", "eu-west-1", "ap-south-1"):
        entries.creating({"region": region, "name": region}, None, keep=False)
    [entry] = noted()
    assert entry["regions"] == ["ap-south-1", "eu-west-1"]
    shutil.rmtree(directory)
    looked = fmbench("cleanup", "--dry-run", "--json")
    assert json.loads(looked.stdout)["regions"] == ["ap-south-1", "eu-west-1"]
    assert looked.returncode == 3  # its class is a function's own
    fmbench("cleanup")
    assert [one["run"] for one in noted()] == ["r-1"]
