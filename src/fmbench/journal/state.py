"""The user's list of run folders in which something may stand: one small file each, so that nobody has to look for them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from fmbench.journal.log import sync_folder

__all__ = ["forget", "note", "noted", "state_folder"]


def state_folder() -> Path:
    """Where the list is: ``$XDG_STATE_HOME/fmbench/standing``, else ``~/.local/state/fmbench/standing``."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "fmbench" / "standing"


def note(
    directory: Path,
    run: str,
    process: Mapping[str, Any],
    deployers: Sequence[Mapping[str, Any]],
    regions: Sequence[str] = (),
) -> None:
    """Write that something may stand in a run's folder; on disk when this returns.

    Args:
        directory: The run's folder.
        run: Its id.
        process: Its process.
        deployers: The classes that create things for it, and their files.
        regions: Where they do, so that they are found when the folder is gone.

    Raises:
        OSError: the list cannot be written.
    """
    path = _path(directory)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}")
    with fresh.open("w", encoding="utf-8") as file:
        said = {"directory": str(directory.absolute()), "run": run, "process": process}
        json.dump({**said, "deployers": list(deployers), "regions": list(regions)}, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_folder(path.parent)


def forget(directory: Path) -> None:
    """Write that nothing stands there any more."""
    with suppress(OSError, RuntimeError):
        _path(directory).unlink(missing_ok=True)


def noted() -> list[dict[str, Any]]:
    """What is on the list: ``directory``, ``run`` (its id), ``process`` and ``deployers`` of each."""
    found = []
    with suppress(OSError, RuntimeError):  # no home, no list
        for path in sorted(state_folder().glob("*.json")):
            with suppress(OSError, json.JSONDecodeError):
                entry = json.loads(path.read_text(encoding="utf-8"))
                if isinstance(entry, dict) and {"directory", "run", "process", "deployers"} <= set(entry):
                    found.append(entry)
    return found


def _path(directory: Path) -> Path:
    name = hashlib.sha256(str(directory.absolute()).encode()).hexdigest()[:16]
    return state_folder() / f"{name}.json"
