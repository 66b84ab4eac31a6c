"""What is shown while a run goes on."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import textwrap

import pytest

from fmbench import Progress
from fmbench.cli.board import Board

LONG = "a-deployment-with-a-very-long-name-indeed, a-prompt-set, concurrency 128"


def test_the_ends_of_things_are_kept_as_lines():
    board = Board(["a", "b"])
    assert board.hear(Progress("prompts"), 0) is None
    assert board.hear(Progress("deploying", "a"), 0) == "a is starting"
    assert board.hear(Progress("deploying", "b"), 0) == "b is starting"
    assert board.hear(Progress("deploy_failed", "b", message="no room"), 1) == "b failed: no room"
    assert board.hear(Progress("deleted", "b"), 1) is None
    assert board.hear(Progress("deployed", "a"), 2) == "a is up"
    assert board.hear(Progress("measuring", "a", experiment="x", total=20), 3) == "x begins"
    assert board.hear(Progress("progress", "a", experiment="x", done=4, total=20, errors=1), 4) is None
    assert board.hear(Progress("measured", "a", experiment="x", done=20, total=20, errors=2), 5) == (
        "x: 20 requests, 2 failed in 2.0 s"
    )
    assert board.hear(Progress("deleting", "a"), 6) is None
    assert board.hear(Progress("deleted", "a"), 7) == "a is gone"


def test_starts_are_not_kept_where_they_are_shown():
    board = Board(starts=False)
    assert board.hear(Progress("deploying", "a"), 0) is None
    assert board.hear(Progress("measuring", "a", experiment="x"), 0) is None
    assert board.hear(Progress("deployed", "a"), 0) == "a is up"


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_rows_fit(width):
    board = Board(["a", "b"])
    for news in (
        Progress("deploying", "a"),
        Progress("deployed", "a"),
        Progress("measuring", "a", experiment=LONG, total=1000),
        Progress("progress", "a", experiment=LONG, done=999, total=1000, errors=321),
    ):
        board.hear(news, 0)
    for line in board.rows(3700, width).plain.split("\n"):
        assert len(line) <= width


def test_a_bar_gives_way_before_a_name():
    board = Board(["a"])
    name = "deployment-with-a-long-name, set, concurrency 128"
    board.hear(Progress("progress", "a", experiment=name, done=10, total=20, errors=0), 0)
    row = board.rows(5, 80).plain.split("\n")[-2]
    assert name in row
    assert "━" in row
    assert row.endswith("10/20  0:05")


def test_an_experiment_that_time_ends_has_a_count_and_no_bar():
    board = Board(["a"])
    board.hear(Progress("progress", "a", experiment="x", done=10), 0)
    assert "x 10  0:05" in board.rows(5, 80).plain


RUN = textwrap.dedent("""
    import sys
    from pathlib import Path
    from fmbench import Benchmark, Concurrency, Prompt
    from fmbench.cli.running import run_benchmark
    from fmbench.testing import Echo, InProcess
    prompts = [Prompt(id=str(n), text=f"prompt {n}") for n in range(20)]
    benchmark = Benchmark(deployers=InProcess("thing"), prompts=prompts, loads=Concurrency(2, requests=200), invoker=Echo())
    sys.exit(run_benchmark(benchmark, Path(sys.argv[1]), as_json=True))
""")


def test_a_terminal_sees_it_live_and_stdout_gets_nothing_of_it(tmp_path):
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    command = [sys.executable, "-c", RUN, str(tmp_path / "r")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=follower, text=True)
    os.close(follower)
    shown = b""
    try:
        while piece := os.read(leader, 65536):
            shown += piece
    except OSError:  # the other end is closed
        pass
    out = process.communicate(timeout=30)[0]
    os.close(leader)
    assert process.returncode in {0, 1}
    assert out.startswith("{")
    assert b"\x1b[" in shown
    assert b"experiments measured" in shown
    assert b"thing is gone" in shown
    assert b"thing is starting" not in shown


def test_a_reader_of_stderr_that_goes_away_does_not_end_a_run(tmp_path):
    command = [sys.executable, "-c", RUN, str(tmp_path / "r")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    process.stderr.close()
    out = process.communicate(timeout=60)[0]
    assert process.returncode in {0, 1}
    assert '"problems": []' in out
