"""The kernel's times on our clock, and what is done where there are none."""

import asyncio
import sys
import time

import pytest

from fmbench.wire import KernelClock, connect
from fmbench.wire.clock import Stamping, measured_offset

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux stamps arrivals")


def test_the_offset_maps_the_wall_clock_to_ours():
    at = time.time_ns() + measured_offset()
    assert abs(time.perf_counter_ns() - at) < 50_000_000


def test_a_step_of_the_wall_clock_is_followed_and_told(monkeypatch):
    clock = KernelClock()
    before, honest = clock.offset_ns, time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: honest() + 3_000_000_000)
    clock.sample()
    assert abs(clock.offset_ns - before + 3_000_000_000) < 50_000_000
    assert abs(clock.step_ns - 3_000_000_000) < 50_000_000
    monkeypatch.setattr(time, "time_ns", honest)
    clock.sample()
    assert abs(clock.offset_ns - before) < 50_000_000


async def answer(reader, writer, head):
    await asyncio.sleep(0.02)
    writer.write(OK)
    await writer.drain()


async def ask(url, sink, change=lambda client: None):
    async with connect(url) as client:
        change(client)
        await client.send(client.prepare("POST", "/"), sink)
    return sink


def test_where_the_kernel_stamps_nothing_the_readers_own_time_counts(run, serving, exchange, monkeypatch):
    monkeypatch.setattr("fmbench.wire.dialling.stamp_arrivals", lambda sock: False)

    async def main():
        async with serving(answer) as (url, _):
            return await ask(url, exchange())

    sink = run(main())
    assert not sink.kernel
    assert sink.client_delay_ns is None
    assert sink.sent_at + 15_000_000 < sink.head_at <= sink.stamps[0] < time.perf_counter_ns()


@linux
@pytest.mark.parametrize("off_ns", [-10_000_000_000, 10_000_000_000])
def test_a_stamp_that_cannot_be_is_not_believed(run, serving, exchange, off_ns):
    """Before the request was sent, or after it was read: the wall clock was set in between."""

    def step(client):
        client.clock.offset_ns += off_ns

    async def main():
        async with serving(answer) as (url, _):
            return await ask(url, exchange(), step)

    sink = run(main())
    assert not sink.kernel
    assert sink.sent_at < sink.stamps[0] < time.perf_counter_ns()


@linux
def test_a_stamp_from_before_the_request_is_not_believed_on_a_connection_long_idle(run, serving, exchange):
    async def main():
        async with serving(answer) as (url, _), connect(url) as client:
            await asyncio.sleep(0.3)
            client.clock.offset_ns -= 200_000_000
            sink = exchange()
            await client.send(client.prepare("POST", "/"), sink)
            return sink

    sink = run(main())
    assert not sink.kernel
    assert sink.stamps[0] > sink.sent_at


@linux
def test_the_first_replies_are_stamped_too(run, serving, exchange):
    """The kernel begins to stamp a little after it is asked to; connecting waits for it."""

    async def at_once(reader, writer, head):
        writer.write(OK)
        await writer.drain()

    async def main():
        async with serving(at_once) as (url, _):
            return await ask(url, exchange())

    assert all(run(main()).kernel for _ in range(20))


@linux
def test_stamping_is_waited_for(run, monkeypatch):
    outcomes = iter([False, False, True])
    monkeypatch.setattr("fmbench.wire.clock._arrives_stamped", lambda: next(outcomes))

    async def main():
        stamping = Stamping()
        try:
            return await stamping.begun()
        finally:
            stamping.close()

    assert run(main())
    assert list(outcomes) == []


def test_stamping_that_never_begins_is_not_waited_for_for_ever(run, monkeypatch):
    monkeypatch.setattr("fmbench.wire.clock._arrives_stamped", lambda: False)

    async def main():
        stamping = Stamping()
        try:
            return await asyncio.wait_for(stamping.begun(), 5)
        finally:
            stamping.close()

    assert not run(main())


@pytest.mark.parametrize("size", [10, 20_000_000])
def test_each_request_tells_once_how_long_the_kernel_took_to_take_it(run, serving, exchange, size):
    async def main():
        async with serving(answer) as (url, _), connect(url) as client:
            assert client.clock.write_delay_ns is None
            for _ in range(3):
                await client.send(client.prepare("POST", "/", body=b"x" * size), exchange())
            return client.clock

    clock = run(main())
    assert len(clock.writes_ns) == 3
    assert clock.write_delay_ns == round(max(clock.writes_ns)) > 0
