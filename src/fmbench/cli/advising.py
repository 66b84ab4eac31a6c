"""Advice on a run that is there, for the terminal."""

from __future__ import annotations

import json

import click

from fmbench import SLO, Result
from fmbench.cli.outcome import advice_status
from fmbench.cli.showing import show_advice

__all__ = ["advise_on"]


def advise_on(result: Result, slo: SLO | None, rates: list[float] | None, *, as_json: bool) -> int:
    """Print the advice; the exit status.

    Args:
        result: What was measured.
        slo: What is fast enough; the run's own where there is none.
        rates: The requests a minute that have to be served; several give a table.
        as_json: Whether to print one JSON object.
    """
    if rates is not None and len(rates) > 1:
        table = result.advise(slo, requests_per_minute=rates)
        click.echo(json.dumps(table.as_dict(), indent=2, allow_nan=False) if as_json else str(table))
        return max(map(advice_status, table))
    advice = result.advise(slo, requests_per_minute=rates[0] if rates else None)
    if as_json:
        click.echo(json.dumps(advice.as_dict(), indent=2, allow_nan=False))
    else:
        show_advice(advice)
    return advice_status(advice)
