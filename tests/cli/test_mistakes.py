"""What a user does wrong is one line on standard error, and status 2."""

import socket
import sys

import pytest

from fmbench import Benchmark, Concurrency, Prompt
from fmbench.cli.main import main
from fmbench.cli.running import default_directory, run_benchmark
from fmbench.deployers.serving import free_port
from fmbench.testing import FakeServer, InProcess, made_up_result


@pytest.fixture
def said(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["fmbench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nonsense"], ["No such command 'nonsense'", "see fmbench --help"]),
        (["run"], ["Missing argument 'CONFIG'", "see fmbench run --help"]),
        (["run", "nothing.yml"], ["nothing.yml does not exist"]),
        (["plan", "nothing.yml", "--jsn"], ["No such option", "--jsn"]),
        (["report", "nothing"], ["nothing is not a folder"]),
        (["advise", "nothing", "--slo", "latency_q95_seconds=1"], ["--slo", "latency_p9"]),
        (["run", "nothing.yml", "--resume"], ["--resume needs --out"]),
    ],
)
def test_wrong_use_is_one_line(said, monkeypatch, tmp_path, arguments, parts):
    monkeypatch.chdir(tmp_path)
    status, out, err = said(*arguments)
    assert (status, out) == (2, "")
    assert err.startswith("fmbench: ")
    assert err.count("\n") == 1
    assert all(part in err for part in parts)


def test_no_command_at_all_shows_the_help(said):
    status, out, err = said()
    assert (status, out) == (2, "")
    assert "quickstart" in err


def test_an_unknown_reporter_is_told_with_the_nearest(said, tmp_path):
    made_up_result(tmp_path / "r")
    status, _, err = said("report", tmp_path / "r", "--reporter", "htlm")
    assert status == 2
    assert err == "fmbench: there is no reporter called 'htlm'; did you mean 'html'?\n"


def _benchmark():
    return Benchmark(deployers=InProcess(), prompts=[Prompt(id="a", text="b")], loads=Concurrency(1, requests=2))


def test_a_folder_that_cannot_be_made_is_told(tmp_path, capsys):
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert run_benchmark(_benchmark(), tmp_path / "file" / "r", as_json=False) == 2
    assert f"fmbench: {tmp_path / 'file' / 'r'} cannot be used: Not a directory; give another folder" in capsys.readouterr().err


def test_default_folders_of_one_second_are_not_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = default_directory("my run/é")
    assert first.parent.name == "runs"
    assert first.name.startswith("my-run-")
    first.mkdir(parents=True)
    second = default_directory("my run/é")
    assert second != first


CONFIG = """
deployers: [{%s}]
prompts: {dataset: {paths: d.jsonl, template: "%s"}}
loads: [{concurrency: {n: 1, requests: 2}}]
"""


@pytest.fixture
def run(said, tmp_path):
    """Run a configuration with this deployer: its status, what it printed, its last line of mistakes, and its folder."""

    def call(deployer, template="{question}"):
        (tmp_path / "d.jsonl").write_text('{"question": "hi", "id": 1}\n', encoding="utf-8")
        (tmp_path / "c.yml").write_text(CONFIG % (deployer, template), encoding="utf-8")
        status, _, err = said("run", tmp_path / "c.yml", "--out", tmp_path / "r")
        assert "Traceback" not in err
        return status, err.splitlines()[-1]

    return call


@pytest.mark.parametrize(
    ("template", "told"),
    [
        ("{questoin}", "the template's field 'questoin' is not in the data"),
        ("{{question}}", "it has no field, so that all prompts would be the same"),
    ],
)
def test_a_template_that_cannot_be_filled_is_told_and_its_folder_can_be_used_again(run, template, told):
    with FakeServer() as server:
        status, last = run(f'endpoint: {{url: "{server.url}"}}', template)
        assert (status, last[:9]) == (2, "fmbench: ")
        assert told in last
        assert run(f'endpoint: {{url: "{server.url}"}}')[0] != 2


def test_a_port_that_is_taken_is_told(run):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        status, last = run(f'process: {{command: "true", url: "http://127.0.0.1:{port}"}}')
    assert status == 1
    assert last.endswith(f"port {port} is taken: end what listens there, or choose another")


def test_a_server_that_ends_while_it_starts_is_told_with_its_last_words(run):
    command = f"{sys.executable} -c 'import sys; sys.exit(\\\"no such flag\\\")'"
    status, last = run(f'process: {{command: "{command}", url: "http://127.0.0.1:{free_port()}", name: mine}}')
    assert status == 1
    assert last.endswith("mine ended with status 1 while starting; its last lines: no such flag")


def test_an_extra_that_is_missing_is_told_with_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    status, last = run("llamacpp: {}")
    assert status == 2
    assert 'pip install "fmbench-harness[local]"' in last


def test_a_proxy_in_the_environment_is_told(run, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://me:hunter2@proxy.example")
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    status, last = run('endpoint: {url: "http://model.example"}')
    assert status == 2
    assert "HTTP_PROXY names a proxy for model.example:80" in last
    assert "hunter2" not in last
