"""What travels to a worker: packed as pickles, over its standard input and output."""

from __future__ import annotations

import pickle
import runpy
import struct
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from fmbench.engine import Assignment
from fmbench.errors import ConfigError
from fmbench.interfaces import Endpoint, Invoker

__all__ = ["Job", "Main", "adopt_main", "inside_a_worker", "main_program", "packed", "packed_job", "receive", "send"]

_LENGTH = struct.Struct("!Q")
_OF_MAIN = b"\x8c\x08__main__"
"""How a pickle names the module of what was defined in the program itself."""
_inside = False

Main = tuple[str, str]
"""``("module", name)`` or ``("file", path)``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One worker's part of one experiment. The requests are encoded by its own session."""

    invoker: Invoker
    endpoint: Endpoint
    concurrency: int | None
    """As many connections as this worker will have requests in flight."""
    assignment: Assignment
    log: Path
    """Where it writes its part of the records."""


def packed(what: str, part: Any) -> bytes:
    """A pickle of a part that workers need.

    Raises:
        ConfigError: it cannot be pickled, or a worker could not find what it is made of.
    """
    try:
        data = pickle.dumps(part, protocol=5)
    except Exception as error:
        said = " ".join(str(error).split())
        raise ConfigError(f"workers: {what} cannot be pickled, which more than one worker needs: {said}") from error
    if _OF_MAIN in data and main_program() is None:
        raise ConfigError(f"workers: {what} is defined at a prompt or in a notebook; put it into a module, or set workers=1")
    return data


def packed_job(job: Job, *, with_main: bool) -> bytes:
    """A job's pickle.

    Args:
        job: The job.
        with_main: Whether workers have the program's own definitions.

    Raises:
        ConfigError: a part of it cannot be pickled, or not be found by a worker.
    """
    parts = {"the endpoint": job.endpoint, "a prompt": job.assignment.prompts, "the load": job.assignment.load}
    try:
        data = packed("the invoker", job)
    except ConfigError:
        for what, part in parts.items():
            packed(what, part)  # the one that is to blame is named
        raise
    if _OF_MAIN in data and not with_main:
        what = "the endpoint, a prompt or the load"
        raise ConfigError(f"workers: {what} is of a class that the program itself defines; put that into a module")
    return data


def main_program() -> Main | None:
    """Where a worker finds what the program itself defines; ``None`` at a prompt and in a notebook."""
    main = sys.modules["__main__"]
    name = getattr(getattr(main, "__spec__", None), "name", None)
    if name is not None:
        return "module", name
    file = getattr(main, "__file__", None)
    return ("file", str(Path(file).resolve())) if file is not None and Path(file).is_file() else None


def adopt_main(main: Main) -> None:
    """Run the parent's program as a module that is not the main one, so that what it defines can be unpickled.

    Raises:
        ConfigError: the program starts a run when it is imported.
    """
    global _inside  # noqa: PLW0603 - what the program calls while it is run here must know
    kind, place = main
    _inside = True
    run = runpy.run_module if kind == "module" else runpy.run_path
    module = types.ModuleType("__mp_main__")
    module.__dict__.update(run(place, run_name="__mp_main__"))
    sys.modules["__main__"] = sys.modules["__mp_main__"] = module


def inside_a_worker() -> bool:
    """Whether this process is a worker, which must not begin a run of its own."""
    return _inside


def send(file: IO[bytes], data: bytes) -> None:
    """Write one message."""
    file.write(_LENGTH.pack(len(data)) + data)
    file.flush()


def receive(file: IO[bytes]) -> bytes | None:
    """Read one message; ``None`` where the other side has ended."""
    length = file.read(_LENGTH.size)
    if len(length) < _LENGTH.size:
        return None
    (count,) = _LENGTH.unpack(length)
    data = file.read(count)
    return data if len(data) == count else None
