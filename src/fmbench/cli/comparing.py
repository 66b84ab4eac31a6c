"""Comparing runs for the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from fmbench import Comparison, ConfigError, Result
from fmbench.cli.ending import DONE, INVALID
from fmbench.cli.showing import show_comparison

__all__ = ["compare_runs"]


def compare_runs(baseline: Path, candidate: Path, *, as_json: bool, **options: Any) -> int:
    """Compare, print, and say by the exit status whether the candidate may pass.

    Args:
        baseline: A run's folder, or a folder of such.
        candidate: The same.
        as_json: Whether to print one JSON object.
        **options: Of ``Result.compare``.
    """
    first, *also = _runs(baseline)
    try:
        comparison = first.compare(_runs(candidate), also=also, **options)
    except ConfigError as error:
        raise ConfigError(str(error).replace("unequal=True", "--unequal")) from None
    if as_json:
        click.echo(json.dumps(comparison.as_dict(), indent=2, allow_nan=False))
    else:
        show_comparison(comparison)
    return _status(comparison)


def _runs(folder: Path) -> list[Result]:
    """The run in a folder, or the runs in its folders."""
    below = sorted(path.parent for path in folder.glob("*/run.json")) if not (folder / "run.json").exists() else []
    return [Result.load(path) for path in below or [folder]]


def _status(comparison: Comparison) -> int:
    return INVALID if comparison.regressions or comparison.missing or comparison.verdict == "not compared" else DONE
