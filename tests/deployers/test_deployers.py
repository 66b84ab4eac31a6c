"""Real servers in real processes: they come up, they go, and nothing is left whatever happens."""

import http.server
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import anyio
import pytest

from fmbench import ConfigError, DeployError, Run
from fmbench.deployers import ExistingEndpoint, LlamaCpp, Process
from fmbench.deployers.serving import free_port
from fmbench.deployers.tiny_llama import TinyLlama, make_tiny_llama
from fmbench.wire import connect

xllamacpp = pytest.importorskip("xllamacpp", reason="the local extra is not installed")
SERVE = (
    "import http.server, sys; http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"
)


@pytest.fixture
def run(tmp_path):
    return Run(name="test", directory=tmp_path, tags={})


def deployed(deployer, run, use=None):
    async def main():
        async with deployer.deploy(run) as endpoint:
            return endpoint, await use(endpoint) if use else None

    return anyio.run(main)


def left(marker):
    listing = subprocess.run(["ps", "-eww", "-o", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listing.splitlines() if marker in line and "ps -eww" not in line]


def gone(marker, seconds=15.0):
    deadline = time.monotonic() + seconds
    while left(marker) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left(marker)


async def models(endpoint):
    async with connect(endpoint.url) as client:
        return await client.fetch("GET", "/v1/models")


def test_llamacpp_serves_the_tiny_model_and_is_gone_afterwards(run):
    port = free_port()
    endpoint, (head, body) = deployed(LlamaCpp(slots=2, port=port, usd_per_hour=1.5), run, models)
    assert head.status == 200
    assert b"tiny-llama" in body
    assert endpoint.facts["slots"] == 2
    assert endpoint.facts["usd_per_hour"] == 1.5
    assert (Path(endpoint.tokenizer) / "tokenizer.json").exists()
    assert not gone(f" {port} ")
    assert (run.directory / "logs" / "llamacpp-2-slots.log").stat().st_size > 0


def test_a_model_file_that_does_not_exist_is_told_at_once():
    with pytest.raises(ValueError, match=r"nothing\.gguf does not exist; give a GGUF file"):
        LlamaCpp(Path("nothing.gguf"))


def test_a_model_file_that_is_none_is_told_with_the_servers_last_lines(run, tmp_path):
    (tmp_path / "bad.gguf").write_bytes(b"not a model")
    with pytest.raises(DeployError, match=r"ended with status 1 while starting; its last lines: .*GGUF|gguf.*"):
        deployed(LlamaCpp(tmp_path / "bad.gguf"), run)


def test_a_port_that_is_taken_is_told(run):
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(DeployError, match=f"port {port} is taken: end what listens there"):
            deployed(LlamaCpp(port=port), run)


def test_without_the_extra_it_is_named(monkeypatch):
    monkeypatch.setattr("fmbench.deployers.llamacpp.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r'pip install "fmbench-harness\[local\]"'):
        LlamaCpp().describe()


def test_a_process_of_the_users_own(run):
    port = free_port()
    command = [sys.executable, "-c", SERVE, str(port)]
    endpoint, _ = deployed(Process(command, url=f"http://127.0.0.1:{port}", ready="/", model="m", env={"KEY": "hush"}), run)
    assert endpoint.model == "m"
    assert "hush" not in repr(endpoint)
    assert not gone(f"bind='127.0.0.1') {port}")


def test_a_process_that_ends_while_starting_is_told_with_its_last_lines(run):
    script = "import sys; print('no such model: x'); sys.exit(3)"
    process = Process([sys.executable, "-c", script], url=f"http://127.0.0.1:{free_port()}")
    with pytest.raises(DeployError, match=r"ended with status 3 while starting; its last lines: no such model: x"):
        deployed(process, run)


def test_a_command_that_does_not_exist_is_told(run):
    with pytest.raises(DeployError, match="there is no program 'no-such-program'"):
        deployed(Process("no-such-program --flag", url=f"http://127.0.0.1:{free_port()}"), run)


def test_a_process_that_never_answers_is_told_and_ended(run):
    marker = f"sleeper-{os.getpid()}"
    script = f"import time; time.sleep(600)  # {marker}"
    process = Process([sys.executable, "-c", script], url=f"http://127.0.0.1:{free_port()}", ready_seconds=0.5)
    with pytest.raises(DeployError, match=r"was not ready at .* within 0.5 s"):
        deployed(process, run)
    assert not gone(marker)


def test_cancelling_while_it_starts_leaves_nothing(run):
    marker = f"cancelled-{os.getpid()}"
    script = f"import time; time.sleep(600)  # {marker}"
    process = Process([sys.executable, "-c", script], url=f"http://127.0.0.1:{free_port()}")

    async def main():
        with anyio.move_on_after(0.5):
            async with process.deploy(run):
                pytest.fail("it cannot be ready")

    anyio.run(main)
    assert not gone(marker)


@pytest.mark.parametrize("victim", ["parent", "supervisor"])
def test_a_kill_leaves_no_server(tmp_path, victim):
    """However the parent ends, and even if the supervisor is killed, the server goes within seconds."""
    marker = f"orphan-{os.getpid()}-{victim}"
    port = free_port()
    parent = textwrap.dedent(f"""
        import sys, anyio
        from pathlib import Path
        from fmbench import Run
        from fmbench.deployers import Process
        async def main():
            run = Run(name="t", directory=Path({str(tmp_path)!r}), tags={{}})
            process = Process([sys.executable, "-c", {SERVE!r}, "{port}", "{marker}"], url="http://127.0.0.1:{port}", ready="/")
            async with process.deploy(run):
                print("up", flush=True)
                await anyio.sleep_forever()
        anyio.run(main)
    """)
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "up\n"
        if victim == "supervisor":
            [supervisor] = [line for line in left(marker) if "supervisor.py" in line]
            os.kill(int(supervisor.split()[0]), signal.SIGKILL)
            # The parent has not ended, and its own command line holds the marker.
            deadline = time.monotonic() + 15
            while len(left(marker)) > 1 and time.monotonic() < deadline:
                time.sleep(0.05)
            assert [line for line in left(marker) if SERVE in line and "import sys, anyio" not in line] == []
    finally:
        process.kill()
        process.communicate()
    assert gone(marker) == []


def test_an_existing_endpoint_is_only_looked_at(run):
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    existing = ExistingEndpoint(url, model="m", headers={"Authorization": "Bearer hush"}, facts={"instance_type": "x"})
    endpoint, _ = deployed(existing, run)
    assert endpoint.url == url
    assert endpoint.facts == {"instance_type": "x"}
    assert "hush" not in repr(existing) + repr(endpoint)
    server.shutdown()
    server.server_close()
    with pytest.raises(DeployError, match=r"nothing accepts connections at .* \(Connection refused\)"):
        deployed(existing, run)


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x", "http://user:hush@x", "http://x?key=hush", "http://x:0"])
@pytest.mark.parametrize("make", [ExistingEndpoint, lambda url: Process("serve", url=url)])
def test_an_url_that_cannot_be_used_is_refused_and_not_repeated(make, url):
    with pytest.raises(ValueError, match="must") as caught:
        make(url)
    assert "hush" not in str(caught.value)


def test_the_tiny_model_is_made_once_and_always_the_same(tmp_path):
    shape = TinyLlama(vocabulary=600, hidden=32, feed_forward=64, layers=1, heads=2)
    first = make_tiny_llama(tmp_path / "a", shape)
    before = (first / "model.gguf").stat().st_mtime_ns
    assert make_tiny_llama(tmp_path / "a", shape) == first
    assert (first / "model.gguf").stat().st_mtime_ns == before
    second = make_tiny_llama(tmp_path / "b", shape)
    for name in ("model.gguf", "model.safetensors", "tokenizer.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [first.name]


def test_only_this_starts_lines_are_quoted_and_no_value_of_the_environment(run):
    script = "import os; print('key is', os.environ['SOME_KEY']); raise SystemExit(1)"
    process = Process(
        [sys.executable, "-c", script], url=f"http://127.0.0.1:{free_port()}", name="mine", env={"SOME_KEY": "hush-hush"}
    )
    (run.directory / "logs").mkdir()
    (run.directory / "logs" / "mine.log").write_text("an earlier run's line\n")
    with pytest.raises(DeployError, match=r"its last lines: key is \*\*\*$"):
        deployed(process, run)
    assert "earlier" in (run.directory / "logs" / "mine.log").read_text()


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"usd_per_hour": -1}, "usd_per_hour"),
        ({"usd_per_hour": 1, "usd_per_million_input_tokens": 1, "usd_per_million_output_tokens": 1}, "not both"),
        ({"usd_per_million_input_tokens": 1}, "give both"),
        ({"slots": 0}, "slots"),
        ({"port": 70000}, "port"),
        ({"slot": 1}, "slot"),
    ],
)
def test_options_that_cannot_be_are_refused(options, match):
    with pytest.raises((ValueError, TypeError), match=match):
        LlamaCpp(**options)


def test_labels_tell_apart_what_is_compared(tmp_path):
    (tmp_path / "llama-7b.gguf").touch()
    deployers = [LlamaCpp(), LlamaCpp(slots=4), LlamaCpp(slots=4, threads=2), LlamaCpp(tmp_path / "llama-7b.gguf")]
    assert [deployer.label for deployer in deployers] == [
        "llamacpp-1-slot",
        "llamacpp-4-slots",
        "llamacpp-4-slots-2-threads",
        "llama-7b-1-slot",
    ]
    assert LlamaCpp(name="mine").label == "mine"
    assert Process("/opt/bin/serve --port 1", url="http://127.0.0.1:1").label == "serve"


def test_killing_the_parent_of_llamacpp_leaves_no_server(tmp_path):
    port = free_port()
    parent = textwrap.dedent(f"""
        import anyio
        from pathlib import Path
        from fmbench import Run
        from fmbench.deployers import LlamaCpp
        async def main():
            async with LlamaCpp(port={port}).deploy(Run(name="t", directory=Path({str(tmp_path)!r}), tags={{}})):
                print("up", flush=True)
                await anyio.sleep_forever()
        anyio.run(main)
    """)
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "up\n"
        assert len(left(f" {port} ")) == 2
    finally:
        process.kill()
        process.communicate()
    assert gone(f" {port} ") == []
