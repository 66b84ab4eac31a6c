"""A run's folder as it stands on disk: ``run.json``, read with care, and the record log, read when it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from fmbench.errors import RunDirectoryError
from fmbench.recording import RECORDS, read_batches, schema
from fmbench.result.log import RecordedLog

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["LISTS", "RunFolder"]

FORMAT = 1
LISTS = ("arrivals_ns", "arrival_tokens", "arrival_coalesced")
"""The columns that hold a value for each arrival."""

_NEEDED = ("name", "state", "started_at", "machine", "versions", "configuration", "deployments", "experiments")


_TOGETHER = 50
"""So many batches are read before what is wanted of them is copied."""


class RunFolder:
    """A run's folder, opened.

    Args:
        directory: The folder.

    Raises:
        RunDirectoryError: it is missing, holds no run, or is damaged.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.document: Mapping[str, Any] = _read_document(directory)
        self.log: RecordedLog = RecordedLog(directory / RECORDS)
        if self.document["state"] != "running":
            _check_log(directory)

    def told_otherwise(self, document: Mapping[str, Any]) -> RunFolder:
        """The same records under another document; nothing is written."""
        other = copy(self)
        other.document = document
        return other

    def table(self, experiment: str | None = None, *, columns: Sequence[str] | None = None) -> pa.Table:
        """The records, in the order in which they finished.

        Args:
            experiment: Only this experiment's.
            columns: Only these.
        """
        import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

        kept = schema() if columns is None else pa.schema([schema().field(name) for name in columns])
        path = self.directory / RECORDS
        found = self.log.batches(experiment) if experiment is not None else read_batches(path) if path.exists() else ()
        wanted = (batch.select(kept.names) for batch in found)
        parts = [pa.Table.from_batches([], schema=kept)]
        while some := list(islice(wanted, _TOGETHER)):
            # Copied together, for a column of a batch keeps all of the batch in memory.
            parts.append(pa.Table.from_batches(some).combine_chunks())
        return pa.concat_tables(parts)

    def payload(self, line: int | None) -> Any:
        """One request of ``payload.jsonl``, counted from 0; ``None`` where there is none."""
        path = self.directory / "payload.jsonl"
        if line is None or not path.exists():
            return None
        with path.open("rb") as file:
            text = next(islice(file, line, None), b"null")
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            return None  # a kill cut it short


def _read_document(directory: Path) -> Mapping[str, Any]:
    path = directory / "run.json"
    if not directory.is_dir():
        raise RunDirectoryError(f"{directory} is not a folder: give the folder of a run")
    try:
        document = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise RunDirectoryError(f"{directory} holds no run: it has no run.json") from None
    except orjson.JSONDecodeError as error:
        raise RunDirectoryError(f"{path} is damaged: {error}") from None
    except OSError as error:
        raise RunDirectoryError(f"{path} cannot be read: {error.strerror}") from None
    _check_document(path, document)
    checked: Mapping[str, Any] = document
    return checked


def _check_document(path: Path, document: Any) -> None:
    if not isinstance(document, dict) or "format" not in document:
        raise RunDirectoryError(f"{path} was not written by fmbench: it names no format")
    if document["format"] != FORMAT:
        raise RunDirectoryError(
            f"{path} has format {document['format']}, and this fmbench reads format {FORMAT}: use the one that wrote it"
        )
    missing = [key for key in _NEEDED if key not in document]
    if missing:
        raise RunDirectoryError(f"{path} is damaged: it lacks {', '.join(missing)}")


def _check_log(directory: Path) -> None:
    """A run that ended has a log; a killed one may not have got so far."""
    import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

    path = directory / RECORDS
    try:
        with path.open("rb") as file:
            pa.ipc.open_stream(file)
    except FileNotFoundError:
        raise RunDirectoryError(f"{directory} is damaged: its run ended, but {RECORDS} is missing") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise RunDirectoryError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
