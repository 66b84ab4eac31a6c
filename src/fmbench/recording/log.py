"""``records.arrow``: an Arrow stream with one row a request, appended as requests finish."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmbench.errors import RunDirectoryError
from fmbench.recording.columns import column
from fmbench.types import Record

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RECORDS", "RecordLog", "part_of", "parts_of", "read_batches", "read_table", "rewrite", "schema"]

RECORDS = "records.arrow"

_TEXT = (
    *("id", "experiment", "prompt_id", "session", "phase", "status", "error_kind", "error_message", "clock", "sent_source"),
    *("prompt_tokens_source", "completion_tokens_source", "finish_reason", "model_returned", "server_timings", "completion"),
)
_SMALL = ("turn", "worker", "concurrency", "in_flight", "http_status", "coalesced")
_LISTS = {"arrivals_ns": "int64", "arrival_tokens": "int32", "arrival_coalesced": "bool"}


@cache
def schema() -> pa.Schema:
    """The columns of the log, in the order of ``Record``'s fields."""
    import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

    def kind(name: str) -> pa.DataType:
        if name in _LISTS:
            return pa.list_(pa.type_for_alias(_LISTS[name]))
        if name in _TEXT:
            return pa.string()
        if name == "streamed":
            return pa.bool_()
        return pa.int32() if name in _SMALL else pa.int64()

    return pa.schema([pa.field(name, kind(name)) for name in Record._fields])


class RecordLog:
    """An open log. A killed process loses what was not yet appended, and what was can be read.

    Args:
        path: The file; what it holds is kept, but for a tail that a kill cut short.
    """

    def __init__(self, path: Path) -> None:
        import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

        fresh, parts = path.with_suffix(".fresh"), parts_of(path)
        self._file = fresh.open("wb")
        self._writer = pa.ipc.new_stream(self._file, schema())
        for batch in read_batches(path) if path.exists() or parts else ():
            self._writer.write_batch(batch)
        self._sync()
        fresh.replace(path)
        for part in parts:
            part.unlink()

    def append(self, records: Sequence[Record]) -> None:
        """Append a batch; readers see it when this returns."""
        for _ in self.appending(records):
            pass

    def appending(self, records: Sequence[Record]) -> Iterator[None]:
        """Append a batch in short steps, a column each, so that a loop can read its sockets in between."""
        import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

        if not records:
            return
        columns = []
        for field, values in zip(schema(), zip(*records, strict=True), strict=True):
            columns.append(column(field.type, values))
            yield
        self._writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema()))
        self._file.flush()

    def take_in(self, part: Path) -> None:
        """Append what a worker wrote, a batch at a time, and remove its file; a kill in between loses and doubles nothing."""
        if part.exists():
            for batch in _read(part):
                self._writer.write_batch(batch)
            self._sync()
            part.unlink()

    def close(self) -> None:
        """End the stream and put it on disk."""
        self._writer.close()
        self._sync()
        self._file.close()

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())


def part_of(path: Path, worker: int) -> Path:
    """Where a worker writes its part of a log, until that is taken in."""
    return path.with_name(f"{path.stem}-{worker}{path.suffix}")


def parts_of(path: Path) -> list[Path]:
    """The parts that workers wrote and nobody has taken in: there are some only while workers measure, or after a kill."""
    return sorted(path.parent.glob(f"{path.stem}-*{path.suffix}"))


def read_batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The batches of a log, up to where a kill cut it short, and of the parts that workers wrote and nobody has taken in."""
    parts, known = parts_of(path), []
    for batch in _read(path) if path.exists() or not parts else ():
        if parts:
            known.append(batch.column("id"))
        yield batch
    for part in parts:
        for batch in _read(part):
            rows = _unknown(batch, known)
            if rows.num_rows:
                yield rows


def _unknown(batch: pa.RecordBatch, known: Sequence[pa.Array]) -> pa.RecordBatch:
    """The rows that the log does not have: whoever took in the part may have been killed before removing it."""
    import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

    # Its functions are made when it is imported, which pyright cannot see.
    pc: Any = import_module("pyarrow.compute")
    taken = pc.is_in(batch.column("id"), value_set=pa.chunked_array(known, pa.string()))
    return batch.filter(pc.invert(taken))


def _read(path: Path) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa  # noqa: PLC0415 - as above

    with path.open("rb") as file:
        try:
            reader = pa.ipc.open_stream(file)
        except pa.ArrowInvalid:
            return  # killed before the schema was on disk: no request had finished
        if not reader.schema.equals(schema()):
            raise RunDirectoryError(
                f"{path} was written by another version of fmbench; read it with that one, or measure again"
            )
        while True:
            try:
                batch = reader.read_next_batch()
            except (StopIteration, pa.ArrowInvalid, OSError):
                return  # the end, or a torn last batch, which is what a kill may cost
            yield batch


def read_table(directory: Path) -> pa.Table:
    """All records of a run's folder, in the order in which they finished.

    Raises:
        RunDirectoryError: the log is missing or of another version.
    """
    import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

    path = Path(directory) / RECORDS
    if not path.exists():
        raise RunDirectoryError(f"{directory} has no {RECORDS}: is it a run's folder?")
    return pa.Table.from_batches(list(read_batches(path)), schema=schema())


def rewrite(path: Path, change: Callable[[pa.RecordBatch], pa.RecordBatch]) -> None:
    """Replace each batch of a closed log by ``change(batch)``; the file is whole at every moment."""
    import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

    fresh = path.with_suffix(".fresh")
    try:
        with fresh.open("wb") as file:
            with pa.ipc.new_stream(file, schema()) as writer:
                for batch in read_batches(path):
                    writer.write_batch(change(batch))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    finally:
        with suppress(FileNotFoundError):
            fresh.unlink()
