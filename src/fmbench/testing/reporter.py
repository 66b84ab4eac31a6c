"""What every reporter promises."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fmbench import Reporter
from fmbench.testing.asserting import require
from fmbench.testing.made_up import Kind, made_up_result

__all__ = ["check_reporter"]

KINDS: tuple[Kind, ...] = ("ordinary", "all_failed", "empty")
MEASURED = ("run.json", "records.arrow", "results.csv", "payload.jsonl", "endpoints.json")


def check_reporter(reporter: Reporter) -> None:
    """Check that a reporter takes an ordinary result, one whose requests all failed and an empty one, and changes nothing.

    Raises:
        AssertionError: it breaks a promise.
    """
    require(isinstance(reporter, Reporter), f"{reporter!r} has no report(result, directory)")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            _check(reporter, Path(folder), kind)


def _check(reporter: Reporter, folder: Path, kind: Kind) -> None:
    result = made_up_result(folder / "run", kind)
    before = {name: (folder / "run" / name).read_bytes() for name in MEASURED}
    summary = result.summary.copy()
    target = folder / "report"
    target.mkdir()
    written = reporter.report(result, target)
    for path in written:
        require(Path(path).exists(), f"{kind}: it names {path}, which it has not written")
        require(target in Path(path).resolve().parents, f"{kind}: it wrote {path}, which is not below the folder it was given")
    require(summary.equals(result.summary), f"{kind}: it changed the result")
    for name, content in before.items():
        require((folder / "run" / name).read_bytes() == content, f"{kind}: it changed the run's {name}")
