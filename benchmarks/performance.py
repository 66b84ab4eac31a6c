"""The table of what the instrument must reach, measured: fmbench and a named peer in turn, medians of several runs.

    python benchmarks/performance.py [--runs 3] [--only TEXT] [--no-peer] [--out FILE]

The truth server (``truth_server.c``) runs on core 0, the client on core 1, each run in a process of its own. The peer is a bare
client on aiohttp and uvloop (``aiohttp_client.py``; ``pip install aiohttp``). A row tells what was asked for, what fmbench
reached, what the peer did in the same minutes, and the ratio of the two.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import orjson
from instrument_error import errors
from start_up import child as bare_child
from truth import TruthServer, compiled, read_log, trusted_certificate

from fmbench import Benchmark, Concurrency, ConstantRate, Parameters, Poisson, Prompt, Run
from fmbench.invokers import OpenAI
from fmbench.recording import read_table
from fmbench.testing import FakeServer

CLIENT_CORE = 1
Figures = dict[str, float]


@dataclass(frozen=True)
class Work:
    """What one child process does."""

    client: str = "fmbench"
    streams: int = 128
    rounds: int = 4
    ttft_us: int = 50_000
    itl_us: int = 10_000
    tokens: int = 128
    stream: bool = True
    contended: bool = False
    tls: bool = False
    rate: float = 0.0
    poisson: bool = False
    workers: int = 1
    bare: bool = False
    """Only what a user's script imports (``start_up.py``), against ``fmbench.testing.FakeServer``."""
    awake: bool = False
    """The server never sleeps."""
    great: bool = False
    """Only its memory is looked at, through the run and its summary."""


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    name: str
    asked: str
    work: Work
    figures: Sequence[tuple[str, float, str]]
    """Name, limit, and whether it is the most or the least allowed (``<=`` or ``>=``)."""
    peer: bool = True
    slow: bool = False
    """Measured only where ``--only`` names it."""


ROWS = [
    Row("TTFT error, 128 streams", "50 / 500 µs", Work(), [("TTFT p50", 50, "<="), ("TTFT p99", 500, "<=")]),
    Row("TTFT error, 512 streams", "50 / 500 µs", Work(streams=512), [("TTFT p50", 50, "<="), ("TTFT p99", 500, "<=")]),
    Row(
        "arrival error p99 (µs) and coalesced (%), 512 streams",
        "50 µs; 0.5 %",
        Work(streams=512),
        [("arrival p99", 50, "<="), ("coalesced %", 0.5, "<=")],
    ),
    Row("mean ITL error p50, 512 streams (µs)", "5 µs", Work(streams=512), [("mean ITL p50", 5, "<=")]),
    Row(
        "core contended, 128 streams: TTFT p50, arrival p99 (µs)",
        "2x idle; 1,000 µs",
        Work(contended=True),
        [("TTFT p50", 50, "<="), ("TTFT p99", 1000, "<="), ("arrival p99", 1000, "<="), ("contention told", 1, ">=")],
        peer=False,
    ),
    Row("CPU % for 1,000 paced tokens/s, 512 streams", "2.0 %", Work(streams=512), [("CPU % per 1,000 tok/s", 2.0, "<=")]),
    Row(
        "paced tokens/s, 1,024 streams: delivered, share of offered",
        "50,000; 0.99",
        Work(streams=1024, itl_us=19_800, rounds=2),
        [("tokens/s in step", 50_000, ">="), ("delivered share", 0.99, ">=")],
    ),
    Row(
        "unpaced streamed tokens/s",
        "350,000",
        Work(streams=64, ttft_us=0, itl_us=0, tokens=256, rounds=60),
        [("tokens/s", 350_000, ">=")],
    ),
    Row(
        "unstreamed requests/s",
        "20,000",
        Work(streams=64, rounds=900, stream=False, awake=True),
        [("requests/s", 20_000, ">=")],
    ),
    Row(
        "one request, whole process beyond the request (s)",
        "0.8 s",
        Work(streams=1, rounds=1, bare=True),
        [("seconds beyond the request", 0.8, "<=")],
        peer=False,
    ),
    Row("peak memory, 512 streams (MB)", "130 MB", Work(streams=512, bare=True), [("peak MB", 130, "<=")], peer=False),
    Row(
        "pacing at 1,000/s: sent - due p99 (µs), early",
        "500 µs; 0",
        Work(rate=1000, ttft_us=2000, tokens=1),
        [("sent - due p99", 500, "<="), ("early", 0, "<=")],
        peer=False,
    ),
    Row(
        "TTFT error over TLS, 128 streams",
        "100 / 1,000 µs",
        Work(tls=True),
        [("TTFT p50", 100, "<="), ("TTFT p99", 1000, "<=")],
        peer=False,
    ),
    Row(
        "peak memory, 1,000,000 requests of 128 tokens, run and summary (MB)",
        "300 MB",
        Work(streams=512, ttft_us=0, itl_us=0, rounds=1954, great=True),
        [("peak MB", 300, "<=")],
        peer=False,
        slow=True,
    ),
    *(
        Row(
            f"Poisson arrivals, {workers} workers: dispersion, KS of gaps, autocorrelation (in units of their 1 % limits)",
            "each below 1",
            Work(rate=200, poisson=True, ttft_us=2000, tokens=1, workers=workers),
            [("dispersion", 1, "<="), ("gaps", 1, "<="), ("autocorrelation", 1, "<=")],
            peer=False,
        )
        for workers in (1, 2, 4)
    ),
]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="", help="rows whose name holds this")
    parser.add_argument("--no-peer", action="store_true")
    parser.add_argument("--out", type=Path, help="write the table there, too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        print(orjson.dumps(child(Work(**orjson.loads(options.child)))).decode())
        return
    lines = [
        (
            f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.release()}, "
            f"Python {platform.python_version()}; medians of {options.runs} runs"
        ),
        "",
        "| what | asked for | fmbench | kept | bare aiohttp on uvloop | ratio |",
        "|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    seen: dict[Work, list[Figures]] = {}
    for row in (row for row in ROWS if options.only in row.name and (options.only or not row.slow)):
        lines.append(_line(row, seen, options.runs, peer=row.peer and not options.no_peer))
        print(lines[-1], flush=True)
    if options.out is not None:
        options.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in text.splitlines() if line.startswith("model name")), "unknown")


def _line(row: Row, seen: dict[Work, list[Figures]], runs: int, *, peer: bool) -> str:
    works = [row.work] + ([_of_peer(row.work)] if peer else [])
    for work in works:
        seen.setdefault(work, [])
    while any(len(seen[work]) < runs for work in works):
        for work in works:  # in turn, so that both have the same neighbours
            if len(seen[work]) < runs:
                seen[work].append(in_a_child(work))
    ours, theirs, kept, ratios = [], [], [], []
    for name, limit, sense in row.figures:
        mine = median(run[name] for run in seen[row.work])
        ours.append(_shown(mine))
        kept.append(mine <= limit if sense == "<=" else mine >= limit)
        if peer and name in seen[works[1]][0]:
            other = median(run[name] for run in seen[works[1]])
            theirs.append(_shown(other))
            ratios.append(_shown((other / mine if sense == "<=" else mine / other) if mine and other else float("nan")))
    verdict = "yes" if all(kept) else "no"
    return f"| {row.name} | {row.asked} | {' / '.join(ours)} | {verdict} | {' / '.join(theirs)} | {' / '.join(ratios)} |"


def _of_peer(work: Work) -> Work:
    return Work(**{**vars(work), "client": "aiohttp"})


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


# One run, in a process of its own on the client's core.


def in_a_child(work: Work) -> Figures:
    """Run it in a process of its own; its figures."""
    if work.bare:
        with FakeServer(ttft_seconds=0.05, itl_seconds=0.01, tokens=work.tokens) as server:
            seconds, _, peak = bare_child(server.url, work.streams)
        return {"seconds beyond the request": seconds, "peak MB": peak}
    command = [sys.executable, __file__, "--child", orjson.dumps(vars(work)).decode()]
    with _contention() if work.contended else ExitStack():
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    figures: Figures = orjson.loads(done.stdout.splitlines()[-1])
    return figures


@contextmanager
def _contention() -> Iterator[None]:
    """Another process that takes half of the client's core."""
    spinner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        os.sched_setaffinity(spinner.pid, {CLIENT_CORE})
        yield
    finally:
        spinner.kill()
        spinner.wait()


def child(work: Work) -> Figures:
    """Drive the truth server and compare."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        program = stack.enter_context(compiled(tls=work.tls))
        certificate = stack.enter_context(trusted_certificate()) if work.tls else None
        if (os.cpu_count() or 1) > 1 and work.workers == 1:
            os.sched_setaffinity(0, {CLIENT_CORE})
        server = TruthServer(
            program, Path(os.devnull) if work.great else folder / "log", ttft_us=work.ttft_us, itl_us=work.itl_us,
            tokens=work.tokens, certificate=certificate, awake=work.awake, limit_seconds=3600 if work.great else 120,
        )  # fmt: skip
        measured = _by_fmbench(work, server, folder) if work.client == "fmbench" else _by_aiohttp(work, server)
        return measured()


def _by_fmbench(work: Work, server: TruthServer, folder: Path) -> Callable[[], Figures]:
    requests = work.streams * work.rounds
    load: Any = Concurrency(work.streams, requests=requests)
    if work.rate:
        load = Poisson(work.rate, seed=7, seconds=20) if work.poisson else ConstantRate(work.rate, seconds=10)
    result = Benchmark(
        deployers=server,
        prompts=[Prompt(id=str(number), text=f"prompt {number}", tokens=3) for number in range(min(requests, 2000))],
        loads=load,
        invoker=OpenAI(stream=work.stream),
        parameters=Parameters(max_new_tokens=work.tokens),
        keep_text=False,
        workers=work.workers,
        warmup=0 if requests == 1 else None,
    ).run(folder / "run")
    if work.great:
        print(result.summary.T.to_string(), len(result.validity), file=sys.stderr)
        return lambda: {"peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}
    return lambda: _figures_of_run(work, folder)


def _figures_of_run(work: Work, folder: Path) -> Figures:
    document = orjson.loads((folder / "run" / "run.json").read_bytes())
    rows = [row for row in read_table(folder / "run").to_pylist() if row["phase"] == "measured"]
    if not all(row["status"] == "ok" for row in rows):
        raise SystemExit(f"not all requests succeeded: {next(row for row in rows if row['status'] != 'ok')['error_message']}")
    if work.rate:
        return _of_open_load(rows)
    [experiment] = document["experiments"]
    figures = _rates(work, rows, experiment["cpu"])
    if work.stream and work.itl_us:
        figures |= errors(rows, read_log(folder / "log"), document)
    told = [check["verdict"] for check in document["validity"] if check["name"] == "core_contention"]
    return figures | {"contention told": float(any(verdict != "pass" for verdict in told))}


def _by_aiohttp(work: Work, server: TruthServer) -> Callable[[], Figures]:
    from aiohttp_client import drive  # noqa: PLC0415 - the peer need not be installed

    async def served() -> tuple[list[dict[str, Any]], dict[str, float]]:
        async with server.deploy(Run(name="peer", directory=server.log.parent, tags={})) as endpoint:
            requests = work.streams * work.rounds
            return await asyncio.to_thread(drive, endpoint.url, streams=work.streams, requests=requests, stream=work.stream)

    rows, spent = asyncio.run(served())
    figures = _rates(work, rows, spent)
    if work.stream and work.itl_us:
        document = {"perf_counter_origins_ns": [0], "experiments": [{"cpu": spent}]}
        figures |= errors(rows, read_log(server.log), document)
    return lambda: figures


def _rates(work: Work, rows: list[dict[str, Any]], spent: dict[str, float]) -> Figures:
    tokens = len(rows) * work.tokens
    lasting = work.ttft_us / 1e6 + (work.tokens - 1) * work.itl_us / 1e6
    figures = {"requests/s": len(rows) / spent["wall_seconds"], "tokens/s": tokens / spent["wall_seconds"]}
    if work.itl_us and rows[0]["arrivals_ns"]:
        took = [(row["arrivals_ns"][-1] - row["sent_ns"]) / 1e9 for row in rows]
        share = lasting / float(np.mean(took))
        figures |= {"delivered share": share, "tokens/s in step": work.streams * work.tokens / lasting * min(1.0, share)}
    return figures


def _of_open_load(rows: list[dict[str, Any]]) -> Figures:
    late = np.array([row["sent_ns"] - row["due_ns"] for row in rows]) / 1e3
    sent = np.sort(np.array([row["sent_ns"] for row in rows]) / 1e9)
    gaps = np.diff(sent)
    counts = np.histogram(sent, bins=max(10, len(sent) // 20), range=(sent[0], sent[-1]))[0]
    dispersion = counts.var(ddof=1) / counts.mean()
    ordered = np.sort(gaps) / gaps.mean()
    ks = np.abs(1 - np.exp(-ordered) - (np.arange(len(ordered)) + 0.5) / len(ordered)).max()
    lag = np.corrcoef(gaps[:-1], gaps[1:])[0, 1]
    return {
        "sent - due p99": float(np.quantile(late, 0.99)),
        "early": float((late < 0).sum()),
        "dispersion": float(abs(dispersion - 1) / (2.58 * np.sqrt(2 / (len(counts) - 1)))),
        "gaps": float(ks / (1.31 / np.sqrt(len(gaps)))),  # Lilliefors' 1 % limit for the exponential law
        "autocorrelation": float(abs(lag) / (2.58 / np.sqrt(len(gaps)))),
    }


if __name__ == "__main__":
    main()
