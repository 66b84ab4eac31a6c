"""Alarms on real loops: never early, and the loop is free while they wait. How late they are is benchmarks/pacing.py's."""

import asyncio
import time

import pytest
import uvloop

from fmbench.engine import pacing
from fmbench.engine.pacing import CoarseAlarm, KernelAlarm, alarm

now = time.perf_counter_ns
DISTANCES = (-1_000_000, 0, 1, 1_000, 90_000, 110_000, 999_999, 2_500_000, 12_000_000)


async def wait(one, at):
    await one.sleep_close_to(at)
    await one.wait_until(at)


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request):
    return asyncio.run if request.param == "asyncio" else uvloop.run


@pytest.fixture(params=["kernel", "coarse"])
def platform(request, monkeypatch):
    """With and without the kernel's timers."""
    if request.param == "coarse":
        monkeypatch.setattr(pacing.sys, "platform", "elsewhere")


@pytest.mark.usefixtures("platform")
def test_no_alarm_is_early(run):
    async def main():
        with alarm() as one:
            for distance in DISTANCES * 5:
                at = now() + distance
                await wait(one, at)
                assert now() >= at

    run(main())


@pytest.mark.usefixtures("platform")
def test_the_loop_reads_its_sockets_while_an_alarm_waits(run):
    async def main():
        turns = 0

        async def others():
            nonlocal turns
            while True:
                await asyncio.sleep(0)
                turns += 1

        with alarm() as one:
            task = asyncio.create_task(others())
            await wait(one, now() + 20_000_000)
            task.cancel()
        assert turns > 10

    run(main())


def test_a_wait_that_was_cancelled_does_not_disturb_the_next(run):
    async def main():
        with alarm() as one:
            task = asyncio.create_task(wait(one, now() + 3_600_000_000_000))
            await asyncio.sleep(0.001)
            task.cancel()
            at = now() + 30_000_000
            await wait(one, at)
            assert now() >= at
            assert task.cancelled()

    run(main())


def test_a_timer_is_given_back(run):
    async def main():
        one = KernelAlarm()
        taken = one._timer._timer
        one.close()
        again = KernelAlarm()
        assert again._timer._timer == taken
        again.close()

    run(main())


def test_a_coarse_alarm_turns_for_as_long_as_the_loops_timers_may_err(run, monkeypatch):
    clock, slept = [0], []

    async def sleep(seconds):
        slept.append(seconds)
        clock[0] += round(seconds * 1e9) + 400_000

    monkeypatch.setattr(pacing, "sleep", sleep)

    async def turn():
        clock[0] += 400_000

    monkeypatch.setattr(pacing, "checkpoint", turn)
    run(wait(CoarseAlarm(lambda: clock[0], 1_500_000), 4_000_000))
    assert slept == [0.0025]
    assert clock == [2_900_000 + 3 * 400_000]
