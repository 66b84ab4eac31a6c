"""The server's log: what truly happened to each request, one JSON object a line, by its ``X-Request-Id``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import orjson

from fmbench import ConfigError

__all__ = ["Truth", "TruthLog", "read_truth"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One request. Times are nanoseconds of ``time.perf_counter_ns``, which on Linux is CLOCK_MONOTONIC.

    Args:
        id: Its ``X-Request-Id``; ``None`` without one.
        path: What it asked for.
        received_ns: When the kernel had the last byte of the request.
        sent_ns: Of each token the time right before it was handed to the kernel; an unstreamed reply has one.
        planned_ns: When the model would have had each of them sent: the server's own lateness is the difference.
        status: The HTTP status.
        fault: What went wrong on purpose.
        ended: ``whole``, ``fault``, or ``client`` where the client left before the end.
        streamed: Whether the reply came token by token.
        prompt_tokens: The prompt's length.
        output_tokens: The whole reply's.
    """

    id: str | None
    path: str
    received_ns: int
    sent_ns: Sequence[int]
    planned_ns: Sequence[int]
    status: int
    fault: str | None
    ended: Literal["whole", "fault", "client"]
    streamed: bool
    prompt_tokens: int
    output_tokens: int


class TruthLog:
    """An open log.

    Args:
        path: The file, which is begun anew; ``None`` keeps none.
    """

    def __init__(self, path: Path | None) -> None:
        self._file: IO[bytes] | None = None
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")

    def add(self, truth: Truth) -> None:
        """Append a line; it is in the file after ``flush`` or ``close``."""
        if self._file is not None:
            self._file.write(orjson.dumps(truth) + b"\n")

    def flush(self) -> None:
        """Let readers see it."""
        if self._file is not None:
            self._file.flush()

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


def read_truth(path: Path) -> dict[str, Truth]:
    """A log's requests by id; those without one are left out.

    Raises:
        ConfigError: a line is not one of this log's.
    """
    truths = {}
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            truth = Truth(**orjson.loads(line))
        except (orjson.JSONDecodeError, TypeError):
            raise ConfigError(f"{path}:{number}: this is no line of a simulated server's log") from None
        if truth.id is not None:
            truths[truth.id] = truth
    return truths
