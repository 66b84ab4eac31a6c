"""The record log as it is read: an experiment at a time, some records at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING

from fmbench.errors import RunDirectoryError
from fmbench.recording import schema
from fmbench.recording.log import parts_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RecordedLog"]

PART_BYTES = 4_000_000
"""About how much is read at a time: enough that numpy's calls cost nothing, little enough that many copies of it fit."""

Place = tuple[Path, int]
"""A file, and where in it a batch begins."""

_TEXTS = ("completion", "server_timings")


class RecordedLog:
    """``records.arrow``, read in passes.

    Where each experiment's records stand is looked up once, so that a pass over one experiment does not read the others.
    What was appended after that is not seen: every figure stands on the same records.

    Args:
        path: The file; a log that is not there is empty.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, list[Place]] = {}
        self._files: list[tuple[Path, int, int]] = []

    def batches(self, experiment: str) -> Iterator[pa.RecordBatch]:
        """An experiment's records in batches as they were appended.

        Raises:
            RunDirectoryError: the log is of another version.
        """
        places = self._places().get(experiment)
        for batch in self._at(places) if places else ():
            names = batch.column("experiment").to_pylist()
            yield batch if names.count(experiment) == len(names) else batch.filter(_where(names, experiment))

    def parts(self, experiment: str) -> Iterator[pa.RecordBatch]:
        """An experiment's records without their texts, in batches of some megabytes, however they were appended.

        Raises:
            RunDirectoryError: the log is of another version.
        """
        kept = [name for name in schema().names if name not in _TEXTS]
        gathered: list[pa.RecordBatch] = []
        for batch in self.batches(experiment):
            gathered.append(batch.select(kept))
            if sum(each.nbytes for each in gathered) >= PART_BYTES:
                yield from _alike(gathered)
                gathered = []
        yield from _alike(gathered)

    def _places(self) -> dict[str, list[Place]]:
        """Where each experiment's batches begin."""
        files = [path for path in (self._path, *parts_of(self._path)) if path.exists()]
        state = [(path, path.stat().st_dev, path.stat().st_ino) for path in files]
        if state != self._files:  # the first time, or a resumed run has written it anew, or taken in a worker's part
            self._files, self._found = state, {}
            # A part that was being taken in when the process was killed stands in the log too, up to some batch.
            taken: set[str] = set()
            for path in files:
                for place, batch in _scanned(path):
                    if len(files) > 1:
                        first = batch.column("id")[0].as_py()
                        if first in taken:
                            continue
                        taken.add(first)
                    for name in dict.fromkeys(batch.column("experiment").to_pylist()):
                        self._found.setdefault(name, []).append((path, place))
        return self._found

    def _at(self, places: Iterable[Place]) -> Iterator[pa.RecordBatch]:
        import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

        for path, some in groupby(places, key=itemgetter(0)):
            with pa.OSFile(str(path)) as file:
                for _, place in some:
                    if file.tell() != place:
                        file.seek(place)
                    yield pa.ipc.read_record_batch(pa.ipc.read_message(file), schema())


def _scanned(path: Path) -> Iterator[tuple[int, pa.RecordBatch]]:
    """Each batch and where it begins, up to where a kill cut the log short."""
    import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

    with pa.OSFile(str(path)) as file:
        try:
            written = pa.ipc.read_schema(pa.ipc.read_message(file))
        except (pa.ArrowInvalid, EOFError):
            return  # killed before the schema was on disk: no request had finished
        if not written.equals(schema()):
            raise RunDirectoryError(
                f"{path} was written by another version of fmbench; read it with that one, or measure again"
            )
        while True:
            place = file.tell()
            try:
                batch = pa.ipc.read_record_batch(pa.ipc.read_message(file), written)
            except (EOFError, pa.ArrowInvalid, OSError):
                return  # the end, or a torn last batch, which is what a kill may cost
            yield place, batch


def _where(names: list[str], experiment: str) -> pa.BooleanArray:
    """Which rows are an experiment's; without pyarrow's comparison, which imports pandas."""
    import numpy as np  # noqa: PLC0415 - numpy starts threads
    import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

    mine = [name == experiment for name in names]
    return pa.Array.from_buffers(pa.bool_(), len(mine), [None, pa.py_buffer(np.packbits(mine, bitorder="little"))])


def _alike(gathered: list[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Small batches as one, a large one as several."""
    import pyarrow as pa  # noqa: PLC0415 - `import fmbench` stays light

    whole = gathered if len(gathered) < 2 else pa.Table.from_batches(gathered).combine_chunks().to_batches()
    for batch in whole:
        rows = max(1, batch.num_rows * PART_BYTES // max(1, batch.nbytes))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)
