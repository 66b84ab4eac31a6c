"""What every reporter promises."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from fmbench import Reporter
from fmbench.testing.asserting import require
from fmbench.testing.made_up import Kind, made_up_result

__all__ = ["check_reporter"]

KINDS: tuple[Kind, ...] = ("ordinary", "all_failed", "empty")


def check_reporter(reporter: Reporter) -> None:
    """Check that a reporter takes an ordinary result, one whose requests all failed and an empty one, and changes none.

    Args:
        reporter: The reporter, which is given a folder beside the run's.

    Raises:
        AssertionError: it breaks a promise.
    """
    require(isinstance(reporter, Reporter), f"{reporter!r} has no report(result, directory)")
    for kind in KINDS:
        with tempfile.TemporaryDirectory() as folder:
            _check(reporter, Path(folder), kind)


def _check(reporter: Reporter, folder: Path, kind: Kind) -> None:
    result = made_up_result(folder / "run", kind)
    before = _contents(folder / "run")
    summary = result.summary.copy()
    target = folder.resolve() / "report"
    target.mkdir()
    written = reporter.report(result, target)
    require(
        isinstance(written, Sequence) and not isinstance(written, str),
        f"{kind}: it returned {written!r}, which is no list of files",
    )
    for path in written:
        require(Path(path).exists(), f"{kind}: it names {path}, which it has not written")
        require(target in Path(path).resolve().parents, f"{kind}: it wrote {path}, which is not below the folder it was given")
    require(summary.equals(result.summary), f"{kind}: it changed the result")
    after = _contents(folder / "run")
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    require(not changed, f"{kind}: it changed the run's {', '.join(changed)}")


def _contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}
