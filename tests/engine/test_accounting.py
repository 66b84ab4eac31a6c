"""What a process observes about itself: its loop's lag on virtual time, the rest on this machine's own clock."""

import json
import time
from threading import Thread
from types import SimpleNamespace

import anyio
import pytest
import trio
from trio.testing import MockClock

from fmbench.engine.accounting import GRAIN_NS, LoopLag, accounted, worst_of

MS = 1_000_000


def lag_while(work):
    """The facts of a loop that did this, on virtual time."""
    clock = MockClock(autojump_threshold=0)

    async def main():
        lag = LoopLag(lambda: round(trio.current_time() * 1e9))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lag.watch)
            await work(clock)
            nursery.cancel_scope.cancel()
        return lag.facts()

    return trio.run(main, clock=clock)


def test_a_loop_that_is_never_blocked_has_no_lag():
    async def work(clock):
        await trio.sleep(100.01)

    assert lag_while(work) == {"samples": 5000, "p50_ns": 0, "p99_ns": 0, "max_ns": 0, "grain_ns": GRAIN_NS}


def test_a_blocked_loop_is_late_for_every_moment_that_passed_meanwhile():
    async def work(clock):
        for _ in range(10):
            await trio.sleep(0.9)
            clock.jump(0.1)  # nobody else can run meanwhile
        await trio.sleep(0.001)

    facts = lag_while(work)
    assert facts["samples"] == 500
    # A tenth of the time it was blocked: 100 ms from the moments due at its beginning, less for later ones.
    assert facts["p50_ns"] == 0
    assert 75 * MS <= facts["p99_ns"] <= facts["max_ns"] <= 100 * MS


def test_a_timer_s_own_grain_is_not_held_against_the_loop():
    async def work(clock):
        for _ in range(100):
            await trio.sleep(0.0195)
            clock.jump(0.0015)

    assert lag_while(work)["max_ns"] == 0 < GRAIN_NS


def test_a_block_that_lasts_to_the_end_is_seen():
    async def work(clock):
        await trio.sleep(1.001)
        clock.jump(0.5)

    assert lag_while(work)["max_ns"] > 400 * MS


def test_a_look_before_any_moment_was_due_says_nothing():
    async def work(clock):
        await trio.lowlevel.checkpoint()

    assert lag_while(work) is None


@pytest.mark.parametrize("uvloop", [False, True])
def test_the_facts_are_plain_json_and_of_what_was_done_inside(uvloop):
    async def main():
        async with accounted(SimpleNamespace(clock_step_ns=7, write_delay_ns=8)) as facts:
            end = time.process_time() + 0.1
            while time.process_time() < end:
                pass  # a blocked loop, and a busy process
            await anyio.sleep(0.03)
        return facts

    facts = anyio.run(main, backend="asyncio", backend_options={"use_uvloop": uvloop})
    assert json.loads(json.dumps(facts)) == facts
    assert facts["clock"] == {"kernel": True, "offset_step_ns": 7, "write_delay_ns": 8}
    assert facts["cpu"]["wall_seconds"] >= facts["cpu"]["process_seconds"] - 0.02 >= 0.08
    assert facts["loop_lag"]["max_ns"] > 50 * MS
    if facts["queue"] is not None:  # Linux tells
        assert facts["queue"]["ran_seconds"] > 0.09
        assert facts["queue"]["timeslices"] >= 1
        assert facts["queue"]["waited_seconds"] >= 0


def test_a_failure_inside_is_raised_and_the_facts_are_there():
    seen = []

    async def main():
        async with accounted(object()) as facts:
            seen.append(facts)
            raise KeyError("mine")

    with pytest.raises(ExceptionGroup) as raised:
        anyio.run(main)
    assert raised.group_contains(KeyError)
    assert set(seen[0]) == {"cpu", "queue", "loop_lag", "clock"}
    assert seen[0]["clock"] == {"kernel": False, "offset_step_ns": None, "write_delay_ns": None}


def test_what_the_system_does_not_tell_is_none(monkeypatch):
    monkeypatch.setattr("fmbench.engine.accounting.Path", lambda _: SimpleNamespace(read_text=_refuse))

    async def main():
        async with accounted(object()) as facts:
            pass
        return facts

    facts = anyio.run(main)
    assert (facts["queue"], facts["cpu"]["pressure_percent"]) == (None, None)


def _refuse(encoding):
    raise FileNotFoundError


def test_only_this_thread_s_waiting_and_running_count():
    async def main():
        async with accounted(object()) as facts:
            other = Thread(target=_spin)
            other.start()
            await anyio.to_thread.run_sync(other.join)
        return facts

    facts = anyio.run(main)
    if facts["queue"] is None:
        pytest.skip("this system does not tell")
    assert facts["cpu"]["process_seconds"] > 0.3 > 2 * facts["queue"]["ran_seconds"]


def _spin():
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        pass


def facts_of(**change):
    calm = {
        "cpu": {"process_seconds": 1.0, "wall_seconds": 10.0, "pressure_percent": 1.0},
        "queue": {"waited_seconds": 0.1, "ran_seconds": 1.0, "timeslices": 10},
        "loop_lag": {"samples": 10, "p50_ns": 0, "p99_ns": 0, "max_ns": 0},
        "clock": {"kernel": True, "offset_step_ns": 3, "write_delay_ns": 5},
    }
    return calm | change


def test_the_worst_worker_stands_for_all():
    busy = {"process_seconds": 3.0, "wall_seconds": 5.0, "pressure_percent": 0.0}
    late = {"samples": 5, "p50_ns": 1, "p99_ns": 2, "max_ns": 3}
    stepped = {"kernel": True, "offset_step_ns": 9, "write_delay_ns": 5}
    found = worst_of([facts_of(cpu=busy), facts_of(loop_lag=late, queue=None), facts_of(clock=stepped)])
    assert found == {"cpu": busy, "queue": facts_of()["queue"], "loop_lag": late, "clock": stepped}
    unstamped = {"kernel": False, "offset_step_ns": None, "write_delay_ns": 9}
    mixed = worst_of([facts_of(clock=unstamped), facts_of()])["clock"]
    assert mixed == {"kernel": False, "offset_step_ns": 3, "write_delay_ns": 9}
    assert worst_of([facts_of(queue=None, loop_lag=None)])["queue"] is None
