"""A simulated server as a process: for a deployer's child, and for the command line.

Usage: python -m fmbench.simulator.child OPTIONS, where OPTIONS is JSON as ``as_text`` writes it. It ends upon SIGTERM.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fmbench import ConfigError
from fmbench.simulator.faults import Faults
from fmbench.simulator.models import model_of, spec_of
from fmbench.simulator.serving import ServerOptions, SimulatedServer

__all__ = ["as_text", "command", "loop_factory", "serve_until_told"]


def as_text(options: ServerOptions) -> str:
    """The options as one JSON text."""
    log = None if options.log is None else str(options.log)
    rest = {"host": options.host, "port": options.port, "reply_tokens": options.reply_tokens, "core": options.core}
    return json.dumps({"service": spec_of(options.service), "faults": asdict(options.faults), "log": log, **rest})


def command(options: ServerOptions) -> list[str]:
    """What starts such a server with this Python."""
    return [sys.executable, "-P", "-m", "fmbench.simulator.child", as_text(options)]


def serve_until_told(options: ServerOptions, up: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM comes. For a process's main thread.

    Args:
        options: What the server is told.
        up: Called with the URL once it listens.

    Raises:
        ConfigError: the address cannot be had, or the log not be written.
    """
    if options.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {options.core})
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(options, up))


async def _serve(options: ServerOptions, up: Callable[[str], None]) -> None:
    end, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    await SimulatedServer(options).run(up, end)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Uvloop's, where there is one."""
    with suppress(ImportError):
        factory: Callable[[], asyncio.AbstractEventLoop] = importlib.import_module("uvloop").new_event_loop
        return factory
    return None


def main(arguments: Sequence[str]) -> None:
    """Serve what the options say."""
    told: dict[str, Any] = json.loads(arguments[0])
    log = None if told["log"] is None else Path(told["log"])
    options = ServerOptions(**{**told, "service": model_of(told["service"]), "faults": Faults(**told["faults"]), "log": log})
    try:
        serve_until_told(options, lambda url: print(url, flush=True))  # noqa: T201 - whoever started it waits for this line
    except (ConfigError, OSError) as error:
        sys.exit(f"simulator: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
