"""The offline AWS as a process: for a test's or a script's child, and for the command line.

Usage: python -m fmbench.simulator.aws.child, with the options as one line of JSON on standard input. It prints its URL and ends
when standard input does, so that it never outlives whoever started it, or upon SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fmbench import ConfigError
from fmbench.simulator.aws.options import AwsOptions
from fmbench.simulator.aws.server import OfflineServer
from fmbench.simulator.child import loop_factory

__all__ = ["as_line", "serve_until_told"]


def as_line(options: AwsOptions) -> str:
    """The options as one line of JSON; it holds the secret key, so that it goes through a pipe."""
    return json.dumps({**asdict(options), "log": None if options.log is None else str(options.log)}) + "\n"


def serve_until_told(options: AwsOptions, up: Callable[[str], None], *, until_input_ends: bool = False) -> None:
    """Serve until SIGINT or SIGTERM comes. For a process's main thread.

    Args:
        options: How it behaves.
        up: Called with the URL once it listens.
        until_input_ends: Also end when standard input does.

    Raises:
        ConfigError: the address cannot be had, or botocore is not installed.
    """
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        runner.run(_serve(OfflineServer(options), up, until_input_ends=until_input_ends))


async def _serve(server: OfflineServer, up: Callable[[str], None], *, until_input_ends: bool) -> None:
    end, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    if until_input_ends:
        loop.add_reader(sys.stdin.fileno(), end.set)
    await server.run(up, end)


def main() -> None:
    """Serve what the options say."""
    told: dict[str, Any] = json.loads(sys.stdin.readline())
    options = AwsOptions(**{**told, "log": None if told["log"] is None else Path(told["log"])})
    try:
        serve_until_told(options, lambda url: print(url, flush=True), until_input_ends=True)  # noqa: T201 - it is waited for
    except (ConfigError, OSError) as error:
        sys.exit(f"offline AWS: {error}")


if __name__ == "__main__":
    main()
