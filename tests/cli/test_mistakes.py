"""What a user does wrong is one line on standard error, and status 2."""

import sys

import pytest

from fmbench import Benchmark, Concurrency, Prompt
from fmbench.cli.main import main
from fmbench.cli.running import _default_directory, run_benchmark
from fmbench.testing import InProcess, made_up_result


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
        (["advise", "nothing", "--slo", "latency_p94_seconds=1"], ["--slo", "latency_p9"]),
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
    assert f"fmbench: {tmp_path / 'file' / 'r'}: Not a directory" in capsys.readouterr().err


def test_default_folders_of_one_second_are_not_the_same(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = _default_directory("my run/é")
    assert first.parent.name == "runs"
    assert first.name.startswith("my-run-")
    first.mkdir(parents=True)
    second = _default_directory("my run/é")
    assert second != first
