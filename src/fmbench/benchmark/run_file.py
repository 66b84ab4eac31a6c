"""A run's folder: what may be written there, and ``run.json``, whole at every moment."""

from __future__ import annotations

import platform
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import orjson

from fmbench.benchmark.cases import Asked, Deployment
from fmbench.benchmark.describing import describe
from fmbench.errors import RunDirectoryError
from fmbench.journal import Journal
from fmbench.journal.process import this_process
from fmbench.recording import RECORDS

__all__ = ["RunFile", "loop_name"]

FORMAT = 1
OURS = ("run.json", RECORDS, "payload.jsonl", "endpoints.json", "results.csv")


class RunFile:
    """``run.json`` as a value, and its file. ``document`` may be changed; ``save`` puts it on disk."""

    def __init__(self, directory: Path, document: dict[str, Any]) -> None:
        self.directory = directory
        self.document: dict[str, Any] = document
        self.origin_ns: int = time.perf_counter_ns() - (time.time_ns() - document["started_unix_ns"])
        """The run's start on this process's clock."""
        document["perf_counter_origins_ns"].append(self.origin_ns)
        document["process"] = this_process()

    @classmethod
    def begin(cls, directory: Path, *, name: str, asked: Sequence[Asked], configuration: dict[str, Any]) -> RunFile:
        """Start a run in an empty or absent folder.

        Raises:
            RunDirectoryError: the folder holds something, or cannot be written.
        """
        with _told(directory):
            _refuse_used(directory)
            directory.mkdir(parents=True, exist_ok=True)
        started = time.time_ns()
        document = {
            "format": FORMAT,
            "name": name,
            "run_id": secrets.token_hex(4),
            "state": "running",
            "simulated": any(one.deployment.facts().get("simulated") for one in asked),
            "started_at": datetime.fromtimestamp(started / 1e9, UTC).isoformat(timespec="seconds"),
            "started_unix_ns": started,
            # The run's start on each sitting's time.perf_counter_ns: what joins records to other logs of the machine.
            "perf_counter_origins_ns": [],
            "ended_at": None,
            "ended_ns": None,
            "versions": {"fmbench": version("fmbench-harness"), "python": platform.python_version()},
            "machine": _machine(),
            "configuration": configuration,
            "slo": configuration.get("slo"),
            "columns": list(configuration.get("columns") or ()),
            "prompt_sets": [],
            "deployments": [_deployment(deployment) for deployment in dict.fromkeys(one.deployment for one in asked)],
            "experiments": [_experiment(one) for one in asked],
            "validity": [],
            "problems": [],
        }
        run_file = cls(directory, document)
        with _told(directory):
            run_file.save()
        return run_file

    @classmethod
    def take_up(cls, directory: Path, *, asked: Sequence[Asked] | None) -> RunFile:
        """Go on with an unfinished run, of whatever experiments where ``asked`` is ``None``.

        Raises:
            RunDirectoryError: there is none, it is finished, or it was a run of something else.
        """
        path = directory / "run.json"
        try:
            document = orjson.loads(path.read_bytes())
        except FileNotFoundError:
            raise RunDirectoryError(f"{directory} holds no run to resume (no run.json)") from None
        except orjson.JSONDecodeError as error:
            raise RunDirectoryError(f"{path} is not JSON ({error}); it cannot be resumed") from None
        if document["state"] == "finished":
            raise RunDirectoryError(f"{directory} holds a finished run; give another folder")
        before = [_identity(entry) for entry in document["experiments"]]
        if asked is not None and before != [_identity(_experiment(one)) for one in asked]:
            raise RunDirectoryError(
                f"{directory} holds a run of other experiments; resume it with the configuration it was begun with"
            )
        document["state"] = "running"
        return cls(directory, document)

    def save(self) -> None:
        """Put the document on disk; a reader sees the old one or the new one."""
        path = self.directory / "run.json"
        fresh = path.with_suffix(".fresh")
        fresh.write_bytes(
            orjson.dumps(self.document, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
        )
        fresh.replace(path)

    def now_ns(self) -> int:
        """Nanoseconds since the run's start."""
        return time.perf_counter_ns() - self.origin_ns

    def end(self, state: str) -> None:
        """Say how the run ended."""
        self.document |= {
            "state": state,
            "ended_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "ended_ns": self.now_ns(),
        }
        self.save()

    def discard(self) -> None:
        """Remove what a run wrote that never measured anything, so that its folder can be used again.

        Where something stands, all of it stays: it says what that is.
        """
        journal = Journal(self.directory)
        if journal.standing() or journal.kept():
            return
        for name in (*OURS, "journal.jsonl", "watchdog.log"):
            (self.directory / name).unlink(missing_ok=True)
        for log in (self.directory / "logs").glob("*.log"):
            log.unlink(missing_ok=True)
        with suppress(OSError):  # there is none, or it holds something of the user's
            (self.directory / "logs").rmdir()

    def problem(self, where: str, kind: str, message: str) -> None:
        """Note what went wrong without ending the run."""
        self.document["problems"].append({"where": where, "kind": kind, "message": message})

    def deployment(self, name: str) -> dict[str, Any]:
        return _named(self.document["deployments"], name)

    def add_experiment(self, one: Asked) -> dict[str, Any]:
        """The entry of an experiment that was thought of while the run goes on; an earlier sitting's, if it has one."""
        entries = self.document["experiments"]
        if all(entry["name"] != one.name for entry in entries):
            entries.append(_experiment(one))
        return self.experiment(one.name)

    def experiment(self, name: str) -> dict[str, Any]:
        return _named(self.document["experiments"], name)


@contextmanager
def _told(directory: Path) -> Iterator[None]:
    """What the system refuses, as a mistake in the choice of the folder."""
    try:
        yield
    except OSError as error:
        raise RunDirectoryError(f"{directory} cannot be used: {error.strerror or error}; give another folder") from error


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _refuse_used(directory: Path) -> None:
    if not directory.exists():
        return
    if not directory.is_dir():
        raise RunDirectoryError(f"{directory} is not a folder")
    if (directory / "run.json").exists():
        state = _state(directory / "run.json")
        remedy = "give another folder" if state == "finished" else "resume it (resume=True, --resume), or give another folder"
        raise RunDirectoryError(f"{directory} holds {'a finished' if state == 'finished' else 'an unfinished'} run: {remedy}")
    if any(directory.iterdir()):
        raise RunDirectoryError(f"{directory} is not empty: give an empty or a new folder")


def _state(path: Path) -> Any:
    """What a run's file says; ``None`` where it cannot be read."""
    try:
        document = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError:
        return None
    return document.get("state") if isinstance(document, dict) else None


def _deployment(deployment: Deployment) -> dict[str, Any]:
    times = dict.fromkeys(("started_ns", "ready_ns", "ended_ns"))
    return {
        "name": deployment.name,
        "status": "pending",
        "error": None,
        "facts": deployment.facts(),
        "endpoint": None,
        **times,
        "earlier": [],
    }


def _experiment(one: Asked) -> dict[str, Any]:
    return {
        "name": one.name,
        "deployment": one.deployment.name,
        "prompts": one.prompts.name,
        "parameters": one.parameters.given(),
        "load": describe(one.load),
        "load_text": str(one.load),
        "concurrency": one.load.streams,
        "per_second": getattr(one.load, "per_second", None),
        "status": "pending",
        "reason": None,
        "planned": None,
        "warmup": None,
        "windows": [],
        "clock": None,
        "cpu": None,
        "queue": None,
        "loop_lag": None,
        "payload_first_line": None,
    }


def _identity(entry: dict[str, Any]) -> bytes:
    keys = ("name", "deployment", "prompts", "parameters", "load")
    return orjson.dumps({key: entry[key] for key in keys}, option=orjson.OPT_SORT_KEYS)


def _machine() -> dict[str, Any]:
    import os  # noqa: PLC0415 - read when a run begins, and only then

    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "platform": platform.platform(),
        "kernel": platform.release(),
        "processor": platform.machine(),
        "cpus": cpus,
        "memory_bytes": memory,
        "loop": loop_name(),
        "byteorder": sys.byteorder,
    }


def loop_name() -> str:
    """``uvloop`` where it is installed, else ``asyncio``."""
    from importlib.util import find_spec  # noqa: PLC0415 - asked when a run begins

    return "asyncio" if find_spec("uvloop") is None else "uvloop"
