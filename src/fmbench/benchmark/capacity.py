"""``Benchmark.find_capacity``: its folder, its thread, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fmbench.advice import Capacity
from fmbench.benchmark.cases import Asked
from fmbench.benchmark.concluding import conclude
from fmbench.benchmark.own_thread import OwnThread
from fmbench.benchmark.run_file import RunFile
from fmbench.benchmark.searching import Searcher, Wanted
from fmbench.benchmark.sittings import Recorded
from fmbench.errors import ConfigError, RunDirectoryError
from fmbench.interfaces import Reporter

__all__ = ["capacity_run", "capacity_thread"]


def capacity_thread(
    run_file: RunFile, targets: Sequence[Asked], wanted: Wanted, reporters: Sequence[tuple[str, Reporter]], **parts: Any
) -> OwnThread[Capacity]:
    """A thread that searches, and gives the answer.

    Args:
        run_file: The run, begun or taken up by ``capacity_run``.
        targets: What is searched one by one.
        wanted: What is searched for.
        reporters: What to write after the last teardown.
        **parts: The conductor's: ``settings``, ``limits``, ``on_record``, ``on_progress``.
    """
    folder = run_file.directory
    searcher = Searcher(targets, wanted, run_file=run_file, recorded=_recorded(run_file), **parts)

    async def conduct() -> None:
        try:
            await searcher.conduct()
        except ConfigError:
            run_file.end("cancelled")
            if not Recorded(folder):
                run_file.discard()
            raise

    def concluding(cancelled: bool) -> Capacity:
        answers = searcher.answers()
        run_file.document["capacity"]["answers"] = [answer.as_dict() for answer in answers]
        conclude(run_file, searcher, () if cancelled else reporters, cancelled=cancelled)
        return Capacity(wanted.slo, answers, str(folder), bool(run_file.document["simulated"]))

    return OwnThread(conduct, concluding, loop=run_file.document["machine"]["loop"])


def _recorded(run_file: RunFile) -> Recorded:
    recorded = Recorded(run_file.directory)
    for entry in run_file.document["experiments"]:
        recorded.recover_window(entry)
    return recorded


def capacity_run(
    folder: Path, targets: Sequence[Asked], wanted: Wanted, *, name: str, configuration: dict[str, Any], resume: bool
) -> RunFile:
    """Begin a search's run, or take up an unfinished one.

    Raises:
        RunDirectoryError: the folder cannot be used.
    """
    search = wanted.as_dict() | {"targets": [one.name for one in targets]}
    if not resume:
        run_file = RunFile.begin(folder, name=name, asked=targets, configuration=configuration)
        run_file.document |= {"experiments": [], "capacity": {"search": search, "answers": []}}
        run_file.save()
        return run_file
    run_file = RunFile.take_up(folder, asked=None)
    if (run_file.document.get("capacity") or {}).get("search") != search:
        raise RunDirectoryError(f"{folder} holds another run than this search; resume it with what it was begun with")
    return run_file
