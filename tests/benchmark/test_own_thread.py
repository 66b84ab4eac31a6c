"""The thread that a run has: whatever interrupts whoever waits for it, it ends first, and takes everything down."""

import signal
import threading
import time

import anyio
import pytest

from fmbench.benchmark.own_thread import OwnThread


class Work:
    """Waits until it is cancelled; its undoing takes a while."""

    def __init__(self, undoing=lambda: None):
        self.began, self.undone = threading.Event(), threading.Event()
        self._undoing = undoing

    async def conduct(self):
        self.began.set()
        try:
            await anyio.sleep(60)
        finally:
            with anyio.CancelScope(shield=True):
                for _ in range(5):
                    await anyio.sleep(0.01)
                    self._undoing()
            self.undone.set()

    def thread(self):
        return OwnThread(self.conduct, lambda cancelled: cancelled, loop="asyncio")


def test_an_interrupt_while_it_starts_is_raised_when_it_has_been_undone():
    work = Work()
    own = work.thread()
    start = own._thread.start

    def started_and_interrupted():
        start()
        work.began.wait(10)
        raise KeyboardInterrupt

    own._thread.start = started_and_interrupted
    with pytest.raises(KeyboardInterrupt):
        own.run()
    assert work.undone.is_set()
    assert not own._thread.is_alive()


def test_an_interrupt_before_it_has_begun_keeps_it_from_beginning():
    work = Work()
    own = work.thread()
    start = own._thread.start

    def interrupted():
        raise KeyboardInterrupt

    own._thread.start = interrupted
    with pytest.raises(KeyboardInterrupt):
        own.run()
    start()  # it comes up late
    own._thread.join(10)
    assert not work.began.is_set()


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to a thread here")
def test_interrupts_while_it_is_undone_are_waited_out():
    main = threading.main_thread().ident
    work = Work(undoing=lambda: signal.pthread_kill(main, signal.SIGINT))

    def interrupt():
        work.began.wait(10)
        signal.pthread_kill(main, signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=interrupt).start()
    try:
        with pytest.raises(KeyboardInterrupt):
            work.thread().run()
    finally:
        signal.signal(signal.SIGINT, before)
    assert work.undone.is_set()


def test_a_thread_that_cannot_be_had_is_told():
    own = Work().thread()

    def none_left():
        raise RuntimeError("can't start new thread")

    own._thread.start = none_left
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="can't start new thread"):
        own.run()
    assert time.monotonic() - began < 10
