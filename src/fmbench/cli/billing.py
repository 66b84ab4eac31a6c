"""What earlier runs have left standing, told before every command. No library of a cloud is loaded for it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fmbench.cli.ending import say
from fmbench.journal import Journal
from fmbench.journal.process import is_running
from fmbench.journal.state import forget, noted

__all__ = ["about", "price", "tell_billing"]


def tell_billing() -> None:
    """Say what still bills, a line for each thing; nothing of runs that go on."""
    for entry in noted():
        if not is_running(entry["process"]):
            for line in _lines(Path(entry["directory"]), entry["run"]):
                say(line)


def price(rate: float | None) -> str:
    """A rate in words."""
    return "at a price that is not known" if rate is None else f"at {rate:g} USD an hour"


def about(entry: Mapping[str, Any]) -> str:
    """An entry of a journal in words: what it costs, and what it is."""
    return f"{price(entry.get('usd_per_hour'))}: {json.dumps(entry['handle'])}"


def _lines(directory: Path, run: str) -> Iterator[str]:
    journal = Journal(directory)
    if not journal.path.exists():
        yield f"the run {run} may have left something that bills, and {directory} has no journal any more: fmbench cleanup"
        return
    standing, kept = journal.standing(), journal.kept()
    if not standing and not kept:
        forget(directory)
    # What nobody but its own run could delete was told when that ended; nothing here can learn whether it is gone.
    told = journal.is_over()
    for one in standing:
        if not (told and one.get("deployer") is None):
            yield f"STILL BILLING, {about(one)}; delete it with: fmbench cleanup {directory}"
    for one in kept:
        yield f"KEPT, {about(one)}; delete it with: fmbench cleanup {directory} --kept"
