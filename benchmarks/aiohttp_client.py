"""The named peer: a bare client on aiohttp and uvloop, as quick as an off-the-shelf stack gets. It stamps what it reads.

It drives the truth server as ``performance.py`` does fmbench, and gives records of the same shape: one a request, times in
nanoseconds of ``time.perf_counter_ns``.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import aiohttp
import orjson
import uvloop

__all__ = ["drive"]

PATH = "/v1/chat/completions"


def drive(url: str, *, streams: int, requests: int, stream: bool) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """Send the requests over so many connections; the records, and the processor and wall seconds of the sending."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_drive(url, streams, requests, stream=stream))


async def _drive(url: str, streams: int, requests: int, *, stream: bool) -> tuple[list[dict[str, Any]], dict[str, float]]:
    records: list[dict[str, Any]] = []
    body = orjson.dumps({"messages": [{"role": "user", "content": "prompt"}], "max_tokens": 128, "stream": stream})
    connector = aiohttp.TCPConnector(limit=streams)
    async with aiohttp.ClientSession(url, connector=connector, timeout=aiohttp.ClientTimeout(total=None)) as session:
        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(_stream(session, body, records, range(first, requests, streams)) for first in range(streams)))
        spent = {"process_seconds": time.process_time() - cpu, "wall_seconds": time.perf_counter() - wall}
    return records, spent


async def _stream(session: aiohttp.ClientSession, body: bytes, records: list[dict[str, Any]], numbers: range) -> None:
    for number in numbers:
        name = f"peer-{number}"
        headers = {"Content-Type": "application/json", "X-Request-Id": name}
        sent = time.perf_counter_ns()
        arrivals: list[int] = []
        rest = b""
        async with session.post(PATH, data=body, headers=headers) as response:
            async for data in response.content.iter_any():
                at = time.perf_counter_ns()
                *lines, rest = (rest + data).split(b"\n")
                arrivals += [at] * sum(map(_has_content, lines))
        if rest:
            orjson.loads(rest)
        first = arrivals[0] if arrivals else None
        records.append(
            {"id": name, "sent_ns": sent, "first_token_ns": first, "arrivals_ns": arrivals,
             "arrival_coalesced": [False] * len(arrivals)}
        )  # fmt: skip


def _has_content(line: bytes) -> bool:
    if not line.startswith(b"data: {"):
        return False
    choices = orjson.loads(line[6:])["choices"]
    return bool(choices and choices[0]["delta"].get("content"))
