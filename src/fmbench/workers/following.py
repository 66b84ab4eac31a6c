"""What workers have written so far, read from their logs while they measure: no worker sends word of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fmbench.recording import schema
from fmbench.types import Record

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Follower", "Seen"]


class Seen(NamedTuple):
    """What progress and cost need of a record."""

    status: str
    error_message: str | None
    prompt_tokens: int | None
    completion_tokens: int | None


class Follower:
    """The logs of an experiment's workers, as they grow.

    Args:
        paths: Where the workers write.
        whole: Whether all of each record is wanted, or what ``Seen`` has of it.
    """

    def __init__(self, paths: Sequence[Path], *, whole: bool) -> None:
        self._read = dict.fromkeys(paths, 0)
        self._make: Callable[..., Any] = Record if whole else Seen
        self._columns = Record._fields if whole else Seen._fields
        self.failed_first: int = 0
        """How many requests had failed before the first one succeeded."""
        self.last_error: str | None = None
        self._succeeded = False

    def new(self) -> list[Any]:
        """The records that were not there last time: ``Record`` or ``Seen``."""
        records = [record for path in self._read for batch in self._batches(path) for record in self._records(batch)]
        for record in records:
            self._succeeded = self._succeeded or record.status == "ok"
            if not self._succeeded and record.status in {"error", "timeout"}:
                self.failed_first += 1
                self.last_error = record.error_message
        return records

    def _records(self, batch: pa.RecordBatch) -> Iterator[Any]:
        columns = [batch.column(name).to_pylist() for name in self._columns]
        return (self._make(*values) for values in zip(*columns, strict=True))

    def _batches(self, path: Path) -> Iterator[pa.RecordBatch]:
        """The batches that are whole by now; the rest is left for the next time."""
        import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read[path])
            reader = pa.BufferReader(file.read())
        begin = self._read[path]
        while True:
            try:
                message = pa.ipc.read_message(reader)
            except (EOFError, OSError, pa.ArrowInvalid):
                return
            self._read[path] = begin + reader.tell()
            if message.type == "record batch":
                yield pa.ipc.read_record_batch(message, schema())
