"""``check_deployer`` sees whatever a deployer leaves, at whichever await it is cancelled."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import asynccontextmanager

import pytest

from fmbench import Endpoint
from fmbench.testing import check_deployer
from fmbench.testing.cancelling import TIMES

HERE = Endpoint(name="here", url="in-process://")
SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("fmbench.testing.deployer.SETTLE_SECONDS", 0.3)


def deployer(enter, leave=None):
    class Broken:
        @asynccontextmanager
        async def deploy(self, run):
            made = await enter(run)
            yield HERE
            if leave is not None:
                await leave(made)

    return Broken


def test_a_process_that_is_left_after_an_error_or_a_cancellation_is_seen(impatient):
    started = []

    async def enter(run):
        process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])  # noqa: ASYNC220
        started.append(process)
        await asyncio.sleep(0.01)
        return process

    async def leave(process):  # only where nothing went wrong
        process.kill()
        process.wait()

    try:
        with pytest.raises(AssertionError, match="after an error in the body, child processes are left"):
            check_deployer(deployer(enter, leave))
    finally:
        for process in started:
            process.kill()
            process.wait()


def test_a_thing_that_still_stands_is_seen(impatient):
    async def enter(run):
        run.creating({"endpoint": "e"}, usd_per_hour=5.0)

    with pytest.raises(AssertionError, match="the journal says that these still stand"):
        check_deployer(deployer(enter))


class Created:
    """Says that it made something, and that it is gone."""

    password = "hunter2"

    def __init__(self, region="here", api_token="secret"):
        self.region = region
        self.api_token = api_token

    @asynccontextmanager
    async def deploy(self, run):
        run.creating({"thing": 1}, usd_per_hour=5.0)
        await asyncio.sleep(0)
        try:
            yield HERE
        finally:
            run.deleted({"thing": 1})


class Deletable(Created):
    async def delete(self, handle):
        return self.region == "here" and handle == {"thing": 1}


def test_what_costs_must_be_deletable_by_another_process(impatient):
    class Forgets(Deletable):
        async def delete(self, handle):
            return False

    check_deployer(Deletable, cancel=False)
    with pytest.raises(AssertionError, match=r"has no delete\(handle\)"):
        check_deployer(Created, cancel=False)
    with pytest.raises(AssertionError, match="says of what is gone that it is not"):
        check_deployer(Forgets, cancel=False)
    with pytest.raises(AssertionError, match="AttributeError"):
        check_deployer(Secretive, cancel=False)


class Secretive(Created):
    async def delete(self, handle):
        return bool(self.api_token)


def test_a_task_that_is_left_is_seen(impatient):
    tasks = []

    async def enter(run):
        tasks.append(asyncio.create_task(asyncio.sleep(60)))

    with pytest.raises(AssertionError, match="tasks are left running"):
        check_deployer(deployer(enter))


def test_an_error_that_is_swallowed_is_seen():
    class Swallows:
        @asynccontextmanager
        async def deploy(self, run):
            with contextlib.suppress(Exception):
                yield HERE

    with pytest.raises(AssertionError, match="did not come out"):
        check_deployer(Swallows)


def test_a_leak_at_one_await_of_many_is_seen():
    made = []

    class Leaks:
        @asynccontextmanager
        async def deploy(self, run):
            for _ in range(20):
                await asyncio.sleep(0)
            made.append(socket.socket())
            await asyncio.sleep(0)  # nothing protects it here
            try:
                yield HERE
            finally:
                made.pop().close()

    try:
        with pytest.raises(AssertionError, match=rf"cancelled at line \d+ of {re.escape(__file__)}, sockets"):
            check_deployer(Leaks)
    finally:
        for one in made:
            one.close()


@pytest.mark.parametrize("awaits", range(1, 6))
def test_every_await_is_tried_the_first_times_that_it_comes_by(awaits):
    made, tried = [], set()

    class Leaks:
        @asynccontextmanager
        async def deploy(self, run):
            for number in range(1, 6):
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    tried.add(number)
                    if number == awaits:
                        made.append(socket.socket())
                    raise
            yield HERE

    if awaits <= TIMES:
        with pytest.raises(AssertionError, match=rf"cancelled at line \d+ of {re.escape(__file__)}, sockets"):
            check_deployer(Leaks)
    else:  # the fourth time that a loop comes by and later
        check_deployer(Leaks)
        assert tried == set(range(1, TIMES + 1))
    for one in made:
        one.close()


def test_an_await_in_use_and_those_of_undoing_are_tried():
    cancelled = []

    class Watches:
        @asynccontextmanager
        async def deploy(self, run):
            try:
                yield HERE
            except asyncio.CancelledError:
                cancelled.append("use")
                raise
            finally:
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    cancelled.append("undoing")
                    raise

    check_deployer(Watches)
    assert {"use", "undoing"} <= set(cancelled)


def test_a_server_whose_starter_has_ended_is_seen():
    daemons = []

    class Daemon:
        @asynccontextmanager
        async def deploy(self, run):
            detached = f"subprocess.Popen({SLEEP!r}, stdin=-3, stdout=-3)"
            start = f"import subprocess; print({detached}.pid, flush=True); input()"
            with subprocess.Popen([sys.executable, "-c", start], stdin=-1, stdout=-1, text=True) as starter:  # noqa: ASYNC220
                daemons.append(int(starter.stdout.readline()))
                yield HERE
                starter.communicate("end\n")

    try:
        with pytest.raises(AssertionError, match="after use, child processes are left"):
            check_deployer(Daemon)
    finally:
        for daemon in daemons:
            os.kill(daemon, signal.SIGKILL)


@pytest.mark.parametrize("kind", ["socket", "pipe", "file"])
def test_what_is_left_open_is_seen(kind):
    opened = []

    async def enter(run):
        if kind == "file":
            opened.append((run.directory / "server.log").open("w"))
        else:
            opened.extend(socket.socketpair() if kind == "socket" else map(open_descriptor, os.pipe()))

    try:
        with pytest.raises(AssertionError, match="after use, sockets, pipes or files are left open"):
            check_deployer(deployer(enter))
    finally:
        for one in opened:
            one.close()


def open_descriptor(number):
    return open(number, "rb", buffering=0)  # noqa: PTH123 - it is a descriptor
