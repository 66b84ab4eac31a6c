"""HTTP over sockets that tell when the kernel had the bytes.

A transport for invokers, ours and strangers': ``connect`` opens connections before the clock starts, ``Client.send``
sends a prepared request and hands each piece of the reply to the exchange with its kernel arrival time.
``EventReader`` takes server-sent events apart, ``EventStreamReader`` AWS's event streams; ``Signer`` signs as AWS asks.
``Timer`` wakes a loop at an absolute time. ``refuse_proxy`` says what ``connect`` would of a proxy in the environment.
"""

from __future__ import annotations

from fmbench.wire.client import Client, connect
from fmbench.wire.clock import KernelClock
from fmbench.wire.event_stream import EventStreamReader, Message
from fmbench.wire.events import EventReader
from fmbench.wire.proxies import refuse_proxy
from fmbench.wire.reply import Sink
from fmbench.wire.request import Prepared
from fmbench.wire.signatures import Credentials, Signable, Signer
from fmbench.wire.timer import Timer

__all__ = [
    "Client",
    "Credentials",
    "EventReader",
    "EventStreamReader",
    "KernelClock",
    "Message",
    "Prepared",
    "Signable",
    "Signer",
    "Sink",
    "Timer",
    "connect",
    "refuse_proxy",
]
