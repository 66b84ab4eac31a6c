"""SIGKILL at random moments of deploying, measuring and deleting on SageMaker: nothing of ours is left, nothing else touched.

The real boto3, the offline AWS, real processes. ``nox -s kills`` does it twenty times over.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("on_aws.py")
KILLS = int(os.environ.get("FMBENCH_KILLS", "1"))
ENDINGS = ("watchdog", "journal", "tags", "list")
PHASES = {"deploying": 3.0, "measuring": 2.5, "deleting": 3.0}
"""How long each takes, about: a moment is drawn from a phase."""
WITHIN_SECONDS = 60.0


@pytest.fixture(scope="module")
def aws():
    pytest.importorskip("boto3")
    from fmbench.simulator.aws import OfflineAWS

    with OfflineAWS(create_seconds=1.5, delete_seconds=0.5, page_size=3, speed=100) as offline:
        yield offline


@pytest.fixture
def environment(aws, tmp_path):
    """Whose state is the test's own, and whose AWS is the offline one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    none = {"AWS_CONFIG_FILE": str(tmp_path / "none"), "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none")}
    return {**kept, **none, **aws.environment, "XDG_STATE_HOME": str(tmp_path / "state")}


@pytest.fixture
def theirs(aws, environment):
    """An endpoint that somebody else made, with names and tags much like ours; it must be there afterwards."""
    import boto3

    given = {name.lower(): environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    region = environment["AWS_REGION"]
    client = boto3.client("sagemaker", region_name=region, endpoint_url=environment["AWS_ENDPOINT_URL"], **given)
    name, tags = f"fmbench-theirs-{time.time_ns()}", [{"Key": "team", "Value": "search"}]
    image = f"763104351884.dkr.ecr.{region}.amazonaws.com/djl-inference:0.36.0-lmi20.0.0-cu128"
    container, role = {"Image": image, "Environment": {"HF_MODEL_ID": "gpt2"}}, "arn:aws:iam::000000000000:role/SageMakerRole"
    variant = {"VariantName": "v", "ModelName": name, "InstanceType": "ml.g5.xlarge", "InitialInstanceCount": 1}
    client.create_model(ModelName=name, PrimaryContainer=container, ExecutionRoleArn=role, Tags=tags)
    client.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], Tags=tags)
    client.create_endpoint(EndpointName=name, EndpointConfigName=name, Tags=tags)
    client.close()
    yield name
    assert [one["kind"] for one in aws.resources() if one["name"] == name and not one["tags"].get("fmbench:run")] == [
        "model",
        "endpoint-config",
        "endpoint",
    ]


def ours(aws, run):
    return [f"{one['kind']} {one['name']}" for one in aws.resources() if one["tags"].get("fmbench:run") == run]


def run_of(directory):
    return json.loads((directory / "run.json").read_text(encoding="utf-8"))["run_id"]


def wait_for(what, seconds=60.0):
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.2)
    return found


@pytest.fixture(autouse=True)
def no_watchdog_is_left(tmp_path):
    """Where a test fails, its watchdogs would try for a day."""
    yield
    for number in watchdogs(tmp_path, within=True):
        os.kill(number, signal.SIGKILL)


def watchdogs(directory, *, within=False):
    listing = subprocess.run(["ps", "-ww", "-e", "-o", "pid=,args="], capture_output=True, text=True, check=True).stdout
    return [
        int(line.split()[0])
        for line in listing.splitlines()
        if f"watchdog.py {directory.absolute()}{'/' if within else ' '}" in line
    ]


def start(directory, environment, *, seconds=1.0, prefix=""):
    command = [sys.executable, str(PROGRAM), str(directory), str(seconds), prefix]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    wait_for(lambda: (directory / "journal.jsonl").exists() or process.poll() is not None)
    return process


def fmbench(environment, *arguments):
    command = [sys.executable, "-m", "fmbench", *map(str, arguments)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=300)


def phase(directory):
    """What a run was at, by its file."""
    document = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    if all(one["ended_ns"] is not None for one in document["deployments"]):
        return "over"
    if all(one["status"] == "measured" for one in document["experiments"]):
        return "deleting"
    return "measuring" if any(one["status"] == "up" for one in document["deployments"]) else "deploying"


def killed(aws, environment, directory, wanted, share, ending):
    """Kill a run somewhere in a phase; have what is left deleted in one of four ways."""
    environment = {**environment, "XDG_STATE_HOME": str(directory.with_suffix(".state"))}
    process = start(directory, environment)
    wait_for(lambda: phase(directory) in {wanted, "over"})
    time.sleep(share * PHASES[wanted])
    at = phase(directory)
    if ending != "watchdog":
        for number in watchdogs(directory):
            os.kill(number, signal.SIGKILL)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    begun, run = time.monotonic(), run_of(directory)
    stood = len(ours(aws, run))
    written = (directory / "journal.jsonl").read_text(encoding="utf-8") + (directory / "watchdog.log").read_text(
        encoding="utf-8"
    )
    assert "hf_very_secret" not in written
    assert environment["AWS_SECRET_ACCESS_KEY"] not in written
    if ending == "watchdog":
        wait_for(lambda: not ours(aws, run), WITHIN_SECONDS)
        seconds = time.monotonic() - begun
        wait_for(lambda: not watchdogs(directory))
        assert ours(aws, run) == [], "a request that was under way came after the watchdog's last look"
    else:
        if ending == "tags":
            (directory / "journal.jsonl").unlink()
        if ending == "list":
            shutil.rmtree(directory)
        done = fmbench(environment, "cleanup", *([] if ending == "list" else [directory]))
        seconds = time.monotonic() - begun
        assert done.returncode == 0, done.stderr
        assert ours(aws, run) == [], done.stdout + done.stderr
        assert fmbench(environment, "plugins").stderr == ""
    assert list((directory.with_suffix(".state") / "fmbench" / "standing").iterdir()) == []
    return f"{ending}: killed while {at}, with {stood} things there; nothing left after {seconds:.1f} s"


def stuck(aws, environment, directory):
    """DeleteEndpoint is refused until the run has ended: it is told, and the watchdog goes on."""
    aws.fault("denied", operation="DeleteEndpoint", name="stuck-gpu", times=None)
    process = start(directory, environment, prefix="stuck-")
    _, err = process.communicate(timeout=120)
    aws.mend()
    wait_for(lambda: not ours(aws, run_of(directory)) and not watchdogs(directory), 120)
    return process.returncode, err


def test_nothing_is_left_whenever_a_run_is_killed_and_what_cannot_be_deleted_is_told(aws, environment, theirs, tmp_path):
    """By the watchdog alone; by cleanup with the journal, by its tags, and by the user's list with the folder gone, too."""
    draw = random.Random(4)
    wanted = [(draw.choice(list(PHASES)), draw.random(), ending) for _ in range(KILLS) for ending in ENDINGS]
    with ThreadPoolExecutor(4) as pool:
        cannot = pool.submit(stuck, aws, environment, tmp_path / "stuck")
        runs = [pool.submit(killed, aws, environment, tmp_path / f"r{number}", *how) for number, how in enumerate(wanted)]
        for run in runs:
            print(run.result())
        status, said = cannot.result()
    told = [line for line in said.splitlines() if "STILL THERE" in line]
    assert status == 3, said
    assert len(told) == 1
    assert "at 7.09 USD an hour" in told[0]
    problems = json.loads((tmp_path / "stuck" / "run.json").read_text(encoding="utf-8"))["problems"]
    assert sum(one["kind"] == "standing" for one in problems) == 1


def test_a_signal_ends_a_run_after_deleting_everything(aws, environment, theirs, tmp_path):
    process = start(tmp_path / "r", environment, seconds=60)
    wait_for(lambda: len(ours(aws, run_of(tmp_path / "r"))) == 6)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 130
    assert ours(aws, run_of(tmp_path / "r")) == []
    assert watchdogs(tmp_path / "r") == []
