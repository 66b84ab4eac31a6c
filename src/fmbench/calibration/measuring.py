"""Driving the truth server at several numbers of streams, and as hard as one core can."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from fmbench import Benchmark, Case, Concurrency, Experiment, Parameters, Progress, Prompt, Result
from fmbench.calibration.budget import Budget
from fmbench.calibration.errors import Level, compared
from fmbench.deployers import Simulator
from fmbench.invokers import OpenAI
from fmbench.recording import read_table
from fmbench.simulator import Fixed, read_truth

__all__ = ["Calibration", "Capacity", "calibrate"]

STREAMS = (1, 16, 64, 256)
SECONDS = 4.0
"""How long each level is measured."""
TOKENS = 32
FLOOD_SECONDS = 3.0
FLOOD_STREAMS = 64
FLOOD_TOKENS = 128
PACED, FLOOD = "paced", "flood"
NEARLY_ALL = 0.9
"""A client that uses so much of a core is the limit; below, the truth server is."""


class Cores(NamedTuple):
    """Who computes where; ``None`` where nobody could be told."""

    server: int | None
    client: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How much came through when nothing was paced.

    Args:
        what: ``requests`` (unstreamed, one token each) or ``tokens`` (streamed).
        per_second: How many a second; ``None`` where it was measured for too short a time to tell.
        client_cores: How much of a core the measuring process used.
    """

    what: str
    per_second: float | None
    client_cores: float | None

    @property
    def limited_by(self) -> str | None:
        """``client`` or ``server``; ``None`` where the client's time is not known."""
        if self.client_cores is None:
            return None
        return "client" if self.client_cores >= NEARLY_ALL else "server"

    @property
    def per_core(self) -> float | None:
        """How many a whole core would take, were the server no limit: as measured, by the share of the core used."""
        return self.per_second / self.client_cores if self.per_second is not None and self.client_cores else None

    def as_dict(self) -> dict[str, Any]:
        """Its figures for JSON."""
        known = {"what": self.what, "per_second": self.per_second, "client_cores": self.client_cores}
        return {**known, "limited_by": self.limited_by, "per_core_per_second": self.per_core}


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What came out."""

    directory: Path
    result: Result
    budget: Budget
    levels: Sequence[Level]
    capacities: Sequence[Capacity]
    cores: Cores

    @property
    def met(self) -> bool:
        """Whether the machine meets the budget."""
        return self.budget.keeps(self.levels)

    def as_dict(self) -> dict[str, Any]:
        """All figures for JSON."""
        judged = [(level, self.budget.judge(level)) for level in self.levels]
        return {
            "met": self.met,
            "budget": self.budget.as_dict(),
            "levels": [
                {**level.as_dict(), "outcome": verdict.outcome, "reasons": list(verdict.reasons)} for level, verdict in judged
            ],
            "capacities": [one.as_dict() for one in self.capacities],
            "cores": self.cores._asdict(),
            "directory": str(self.directory),
            "started_at": self.result.started_at,
        }


def calibrate(
    directory: Path,
    *,
    streams: Sequence[int] = STREAMS,
    seconds: float = SECONDS,
    flood_seconds: float = FLOOD_SECONDS,
    budget: Budget | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Calibration:
    """Measure this machine's error, in about half a minute.

    The truth server is a simulated one in a child process, on another core than this process where there are two.

    Args:
        directory: The run's folder.
        streams: The numbers of streams.
        seconds: How long each is measured.
        flood_seconds: How long each of the two unpaced measurements takes.
        budget: What to hold the errors against.
        on_progress: Told how it goes.
    """
    with _apart() as cores:
        benchmark = Benchmark(
            name="calibrate", cases=[*_cases(streams, seconds, flood_seconds, cores)], warmup=0, keep_text=False
        )
        result = benchmark.run(directory, on_progress=on_progress)
    used = _cores_used(directory)
    truth = read_truth(directory / "logs" / f"{PACED}.truth.jsonl")
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in read_table(directory).to_pylist():
        rows.setdefault(row["experiment"], []).append(row)
    levels = [compared(count, rows.get(_name(count), ()), truth, client_cores=used.get(_name(count))) for count in streams]
    return Calibration(
        directory=directory,
        result=result,
        budget=budget or Budget(),
        levels=levels,
        capacities=[_capacity(one, used) for one in result.experiments if one.deployment == FLOOD],
        cores=cores,
    )


def _cases(streams: Sequence[int], seconds: float, flood_seconds: float, cores: Cores) -> Iterator[Case]:
    paced = Simulator(name=PACED, service=Fixed(ttft_seconds=0.05, itl_seconds=0.02), core=cores.server)
    flood = Simulator(name=FLOOD, service=Fixed(ttft_seconds=0, itl_seconds=0), core=cores.server)
    prompts = [Prompt(id=f"p{number}", text=f"what is the number of all {number}") for number in range(1000)]
    for count in streams:
        yield Case(
            name=_name(count), deployer=paced, prompts=prompts, load=Concurrency(count, seconds=seconds),
            parameters=Parameters(max_new_tokens=TOKENS),
        )  # fmt: skip
    for name, stream, tokens in (("requests", False, 1), ("tokens", True, FLOOD_TOKENS)):
        yield Case(
            name=name, deployer=flood, prompts=prompts, load=Concurrency(FLOOD_STREAMS, seconds=flood_seconds),
            parameters=Parameters(max_new_tokens=tokens), invoker=OpenAI(stream=stream),
        )  # fmt: skip


def _name(streams: int) -> str:
    return f"{streams} stream" + "s" * (streams > 1)


def _capacity(experiment: Experiment, used: dict[str, float]) -> Capacity:
    rate = experiment.tps if experiment.name == "requests" else experiment.output_throughput
    return Capacity(what=experiment.name, per_second=rate, client_cores=used.get(experiment.name))


def _cores_used(directory: Path) -> dict[str, float]:
    """By experiment: the process's time by the wall's."""
    told = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    return {
        entry["name"]: entry["cpu"]["process_seconds"] / entry["cpu"]["wall_seconds"]
        for entry in told["experiments"]
        if entry.get("cpu") and entry["cpu"]["wall_seconds"]
    }


@contextmanager
def _apart() -> Iterator[Cores]:
    """Keep this process to one core and name another, where there are two; as it was afterwards."""
    if not hasattr(os, "sched_getaffinity"):
        yield Cores(None, None)
        return
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        yield Cores(None, None)
        return
    cores = Cores(min(before), max(before))
    os.sched_setaffinity(0, {max(before)})
    try:
        yield cores
    finally:
        os.sched_setaffinity(0, before)
