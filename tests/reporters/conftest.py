"""A run's folder with made-up records, to report on: written as the engine writes it, but in no time."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from fmbench.recording import RECORDS, RecordLog
from fmbench.result import Result
from fmbench.types import Record

SECOND = 1_000_000_000


@dataclass(kw_only=True)
class MadeUp:
    """What the run is to look like."""

    deployments: dict[str, dict[str, Any]] = field(default_factory=lambda: {"small": {"facts": {}}})
    loads: Sequence[tuple[str, float]] = (("concurrency", 1), ("concurrency", 4))
    prompt_sets: dict[str, tuple[int, int]] = field(default_factory=lambda: {"questions": (100, 1900)})
    parameters: Sequence[dict[str, Any]] = ({"max_new_tokens": 20},)
    requests: int = 140
    streamed: bool = True
    failing: tuple[str, str] | None = None
    failing_share: float = 0.0
    reply: str = "An answer."
    slo: dict[str, float] | None = None
    problems: Sequence[dict[str, str]] = ()
    state: str = "finished"
    simulated: bool = False
    seed: int = 1
    name: str = "made up"
    configuration: dict[str, Any] = field(default_factory=lambda: {"parameters": {"max_new_tokens": 20}})

    def write(self, directory: Path) -> Result:
        directory.mkdir(parents=True, exist_ok=True)
        draw = random.Random(self.seed)
        records, entries = [], []
        start = 2 * SECOND
        for deployment, about in self.deployments.items():
            for prompts, lengths in self.prompt_sets.items():
                for parameters in self.parameters:
                    for kind, level in self.loads:
                        entry, rows = self._experiment(
                            draw, start, deployment, about, prompts, lengths, parameters, kind, level
                        )
                        entries.append(entry)
                        records += rows
                        start = (entry["windows"][-1][1] if entry["windows"] else start) + SECOND
        log = RecordLog(directory / RECORDS)
        log.append(records)
        log.close()
        (directory / "run.json").write_text(json.dumps(self._document(entries, start)), encoding="utf-8")
        return Result.load(directory)

    def _document(self, entries: list[dict[str, Any]], end: int) -> dict[str, Any]:
        return {
            "format": 1, "name": self.name, "run_id": "abcd0123", "state": self.state, "simulated": self.simulated,
            "started_at": "2026-11-24T09:00:00+00:00", "ended_at": "2026-11-24T09:10:00+00:00", "ended_ns": end,
            "versions": {"fmbench": "0.1.0", "python": "3.11.7"},
            "machine": {
                "platform": "Linux-6.1", "kernel": "6.1.0", "processor": "x86_64", "cpus": 2, "memory_bytes": 8 * 2**30,
                "loop": "uvloop", "byteorder": "little",
            },
            "configuration": self.configuration, "slo": self.slo, "columns": [],
            "prompt_sets": [
                {"name": name, "tokenizer": None, "count": self.requests, "distinct": self.requests, "dropped": {"too long": 3}}
                for name in self.prompt_sets
            ],
            "deployments": [self._deployment(name, about, end) for name, about in self.deployments.items()],
            "experiments": entries, "validity": [], "problems": list(self.problems),
        }  # fmt: skip

    def _deployment(self, name: str, about: dict[str, Any], end: int) -> dict[str, Any]:
        up = about.get("error") is None
        url = about.get("url", "http://10.0.0.7:8080")
        return {
            "name": name, "status": "up" if up else "failed", "error": about.get("error"),
            "endpoint": {"name": name, "url": url, "model": about.get("model", "tiny"), "facts": about["facts"]}
            if up else None,
            "started_ns": 0, "ready_ns": 2 * SECOND if up else None, "ended_ns": end, "earlier": [],
        }  # fmt: skip

    def _experiment(self, draw, start, deployment, about, prompts, lengths, parameters, kind, level):
        closed = kind == "concurrency"
        text = f"concurrency {level:g}" if closed else f"{level:g}/s"
        name = "/".join([deployment, prompts, text, *([json.dumps(parameters)] if len(self.parameters) > 1 else [])])
        up = about.get("error") is None
        rows = self._requests(draw, start, name, lengths, parameters, about.get("speed", 1.0), closed, level) if up else []
        warmup = 2 if up else None
        windows = []
        if up and rows:
            ended = max(row.sent_ns for row in rows)
            windows = [[min(row.due_ns for row in rows if row.phase != "warmup"), max(row.end_ns for row in rows)]]
            assert windows[0][1] >= ended
        entry = {
            "name": name, "deployment": deployment, "prompts": prompts, "parameters": parameters,
            "load": {"type": "Concurrency" if closed else "ConstantRate", ("n" if closed else "per_second"): level},
            "load_text": text, "concurrency": int(level) if closed else None, "per_second": None if closed else level,
            "status": "measured" if up else "not_sent", "reason": None if up else "the deployment failed",
            "planned": len(rows) if up else None, "warmup": warmup, "windows": windows,
            "clock": {"kernel": True, "offset_step_ns": 900},
            "cpu": {"process_seconds": 1.0, "wall_seconds": 9.0, "pressure_percent": 3.0},
            "payload_first_line": 0,
        }  # fmt: skip
        return entry, rows

    def _requests(self, draw, start, name, lengths, parameters, speed, closed, level):
        """Streams that take their turns, or due times at equal distances before one queue."""
        rows, streams = [], [start] * (int(level) if closed else 8)
        low, high = lengths
        busy = 1 + 0.15 * (level - 1 if closed else level / 4)
        for index in range(self.requests + 2):
            stream = min(range(len(streams)), key=streams.__getitem__)
            due = streams[stream] if closed else start + round(index / level * SECOND)
            sent = max(due, streams[stream])
            tokens = round(low + (high - low) * draw.random() ** 1.5)
            new = max(2, min(parameters.get("max_new_tokens") or 20, round(draw.gauss(16, 3))))
            first = (0.02 + tokens * 0.0002 * busy * draw.lognormvariate(0, 0.12)) / speed
            gap = 0.008 * math.sqrt(busy) / speed
            times = [first]
            for _ in range(new - 1):
                times.append(times[-1] + gap * draw.lognormvariate(0, 0.25))
            arrivals = [sent + round(at * SECOND) for at in times]
            failed = self.failing is not None and draw.random() < self.failing_share
            streams[stream] = sent + SECOND // 50 if failed else arrivals[-1] + 1000
            phase = "warmup" if index < 2 else "measured"
            rows.append(
                self._record(name, index, phase, due, sent, arrivals, tokens, new, failed, int(level) if closed else None)
            )
        return rows

    def _record(self, name, index, phase, due, sent, arrivals, tokens, new, failed, concurrency):
        times = arrivals if self.streamed else arrivals[-1:]
        known = not failed
        return Record(
            id=f"{name}-{index}", experiment=name, prompt_id=f"p{index}", session=None, turn=None, worker=0, phase=phase,
            concurrency=concurrency, in_flight=1, status="error" if failed else "ok",
            error_kind=self.failing[0] if failed else None, error_message=self.failing[1] if failed else None,
            http_status=500 if failed else 200, due_ns=due, sent_ns=sent, connect_ns=None, tls_ns=None, sign_ns=None,
            first_byte_ns=times[0] if known else None, first_token_ns=times[0] if known else None,
            last_token_ns=times[-1] if known else None, last_byte_ns=times[-1] if known else None,
            end_ns=times[-1] + 1000 if known else sent + SECOND // 50,
            arrivals_ns=times if known else None, arrival_tokens=None,
            arrival_coalesced=[False] * len(times) if known else None, coalesced=0, client_delay_ns=40_000 + index * 100,
            clock="kernel", sent_source="adapter", prompt_tokens=tokens, prompt_tokens_source="server", cached_tokens=0,
            max_new_tokens=20, completion_tokens=new if known else None, completion_tokens_source="server" if known else None,
            finish_reason="stop" if known else None, model_returned="tiny", server_timings=None,
            streamed=self.streamed if known else None, completion=self.reply if known else None,
        )  # fmt: skip


@pytest.fixture(scope="session")
def made_up() -> type[MadeUp]:
    return MadeUp
