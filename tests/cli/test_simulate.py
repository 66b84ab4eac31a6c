"""``fmbench simulate`` prints where it is, serves, and ends cleanly."""

import shlex
import signal
import socket
import subprocess
import sys
import textwrap
import time

import anyio
import pytest

from fmbench.simulator import read_truth
from fmbench.wire import connect

FMBENCH = [sys.executable, "-m", "fmbench"]


def ask(url):
    async def main():
        async with connect(url, connections=0) as client:
            return await client.fetch("POST", "/v1/completions", body=b'{"prompt": "x", "max_tokens": 2}')

    return anyio.run(main)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_it_serves_until_interrupted(tmp_path, name):
    options = ["--service", "fixed:ttft_seconds=0.01,itl_seconds=0.001", "--log", str(tmp_path / "truth.jsonl")]
    process = subprocess.Popen([*FMBENCH, "simulate", *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    head, body = ask(process.stdout.readline().strip())
    assert head.status == 200
    assert b"word word " in body
    process.send_signal(getattr(signal, name))
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")
    [true] = read_truth(tmp_path / "truth.jsonl").values()
    assert true.output_tokens == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--service", "odd"], "service must be one of batching, fixed, queueing"),
        (["--service", "fixed:itl_seconds"], "is not FIELD=VALUE"),
        (["--service", "fixed:itl_seconds=x"], "itl_seconds must be 0 or more, not 'x'"),
        (["--faults", "odd=1"], "faults: there is no 'odd'"),
        (["--log", "/dev/null/x"], "/dev/null"),
        (["--speed", "2"], "--speed is only for fmbench simulate with --aws"),
        (["--aws", "--service", "fixed"], "--service is only for fmbench simulate without --aws"),
        (["--aws", "--faults", "odd=1"], "fault: there is no 'odd'; there are throttle"),
        (["--aws", "--faults", "throttle=2"], "fault: the rate of throttle must be between 0 and 1"),
        (["--aws", "--faults", "throttle"], "is not KIND=RATE"),
        (["--aws", "--speed", "0"], "speed must be above 0"),
        (["--aws", "--create-seconds", "-1"], "create_seconds must be 0 or more"),
    ],
)
def test_a_mistake_is_one_line(options, message):
    done = subprocess.run([*FMBENCH, "simulate", *options], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


ASKS = """
import boto3
print(boto3.client("sts").get_caller_identity()["Account"], len(boto3.client("sagemaker").list_models()["Models"]))
"""


def test_the_offline_aws_prints_the_variables_that_lead_boto3_to_it(tmp_path):
    command = [*FMBENCH, "simulate", "--aws", "--create-seconds", "0", "--log", str(tmp_path / "truth.jsonl")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = [process.stdout.readline() for _ in range(7)]
    assert [line.split()[0] for line in lines] == ["unset", *["export"] * 6]
    lines.insert(0, "export AWS_SESSION_TOKEN=of-another AWS_ENDPOINT_URL_SAGEMAKER=http://127.0.0.1:1\n")
    script = tmp_path / "asks.py"
    script.write_text(ASKS)
    shell = "".join(lines) + shlex.join([sys.executable, str(script)])
    told = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False, timeout=60)
    assert (told.stdout, told.stderr) == ("000000000000 0\n", "")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (0, "", "")


def test_a_port_that_is_taken_is_one_line():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        command = [*FMBENCH, "simulate", "--port", port]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert f"port: cannot listen at 127.0.0.1:{port}" in done.stderr


DEPLOYS = textwrap.dedent("""
    import asyncio, sys
    from pathlib import Path
    from fmbench import Run
    from fmbench.deployers import Simulator

    async def main():
        async with Simulator().deploy(Run(name="r", directory=Path(sys.argv[1]), tags={})) as endpoint:
            print(endpoint.url, flush=True)
            await asyncio.sleep(600)

    asyncio.run(main())
""")


def test_nothing_is_left_of_a_deployed_one_when_its_parent_is_killed(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", DEPLOYS, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    url = process.stdout.readline().strip()
    assert ask(url)[0].status == 200
    process.kill()
    process.communicate()
    host, port = url.removeprefix("http://").split(":")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection((host, int(port)), timeout=1).close()
        except ConnectionRefusedError:
            return
        except (ConnectionResetError, TimeoutError):
            pass  # it is just closing
        time.sleep(0.05)
    pytest.fail("it still listens")
