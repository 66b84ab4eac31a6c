"""Html: the whole report as one page that needs nothing but itself."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import PositiveInt
from pydantic.dataclasses import dataclass

from fmbench import checked
from fmbench.reporters.answer import answer_of, prices_changed, trust_in, unknown_cost
from fmbench.reporters.charts import Chart, charts_of
from fmbench.reporters.charts.ink import rendered, settings
from fmbench.reporters.inline import inlined
from fmbench.reporters.summary import summary_table
from fmbench.reporters.wording import DASH, as_yaml, bare, bytes_of_memory, duration, figures, percent, usd

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

    from fmbench import Result

__all__ = ["Html"]

_TABLE_ROWS = 40
"""Numbers in so many rows are shown; more are for a spreadsheet."""

_PLAIN_BYTES, _PACKED_BYTES = 60_000, 400_000
"""Up to the first, numbers are in the page as they are; above, compressed, but no more of them than the second."""

_PARTS = {
    "decision": "The evidence",
    "load": "Throughput and latency as the load rises",
    "prompts": "Prompts and latency",
    "tokens": "The first token, and those after it",
}


@checked
@dataclass(frozen=True)
class Html:
    """Writes ``report.html``: the answer, how far to trust it, the summary, and every chart with its numbers.

    Args:
        bin_tokens: The width of the bins of prompt lengths; chosen by the lengths unless given.
    """

    bin_tokens: PositiveInt | None = None

    def report(self, result: Result, directory: Path) -> list[Path]:
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "report.html"
        path.write_text(_page(result, self.bin_tokens), encoding="utf-8", newline="\n")
        return [path]


class _Drawn(NamedTuple):
    """A chart, ready for the page."""

    chart: Chart
    panels: Sequence[tuple[str, Markup]]
    download: tuple[str, str] | None
    """A file's name, and its content as an address."""
    rows: Sequence[Sequence[str]] | None
    """The numbers with their headings, where they are few."""


def _page(result: Result, bin_tokens: int | None) -> str:
    charts = [_drawn(chart) for chart in charts_of(result, bin_tokens=bin_tokens)] if result.experiments else []
    parts = {part: [drawn for drawn in charts if _part(drawn.chart) == part] for part in _PARTS}
    answer = answer_of(result)
    return _template().render(
        result=result,
        answer=answer,
        trust=trust_in(result),
        summary=summary_table(result),
        decision=parts.pop("decision"),
        parts=[(part, _PARTS[part], drawn) for part, drawn in parts.items() if drawn],
        prices=prices_changed(result),
        errors=_errors(result),
        state=_state(result),
        unknown_cost=unknown_cost(result),
    )


def _part(chart: Chart) -> str:
    if chart.name in ("latency_by_throughput", "price_performance", "cost_by_requests"):
        return "decision"
    if chart.name.startswith(("ttft", "itl")):
        return "tokens"
    return "load" if chart.name.endswith(("_by_concurrency", "_by_rate")) else "prompts"


def _state(result: Result) -> str:
    """What has to be said before anything else of a run that did not come to its end."""
    states = {
        "cancelled": "This run was cancelled before its end; what it had measured by then is below.",
        "running": "This run was killed before its end, or goes on; what it had measured by then is below.",
    }
    return states.get(result.state, "")


def _errors(result: Result) -> list[tuple[str, str, int, str]]:
    """Failures by experiment and kind, with what the first of them said."""
    return [(one.name, kind, seen.count, seen.message) for one in result.experiments for kind, seen in one.errors.items()]


def _drawn(chart: Chart) -> _Drawn:
    panels = []
    for index, panel in enumerate(chart.panels):
        label = ": ".join(filter(None, (chart.title, panel.title)))
        with settings():
            svg = rendered(chart.figure(panel), "svg", transparent=True)
        panels.append((panel.title, inlined(svg, prefix=f"{chart.name}-{index}", label=label)))
    rows = [list(map(str, chart.numbers.columns)), *(list(map(_plain, row)) for row in chart.numbers.itertuples(index=False))]
    return _Drawn(chart, panels, _download(chart), rows if panels and len(rows) <= _TABLE_ROWS + 1 else None)


def _plain(value: Any) -> str:
    if isinstance(value, float):
        return figures(value, 4) if value == value else DASH  # noqa: PLR0124 - not a number is not itself
    return str(value)


def _download(chart: Chart) -> tuple[str, str] | None:
    text = chart.numbers.to_csv(index=False, float_format="%.6g", lineterminator="\n").encode()
    if not chart.panels:
        return None
    if len(text) <= _PLAIN_BYTES:
        return f"{chart.name}.csv", f"data:text/csv;charset=utf-8;base64,{base64.b64encode(text).decode()}"
    packed = gzip.compress(text, mtime=0)
    if len(packed) > _PACKED_BYTES:
        return None
    return f"{chart.name}.csv.gz", f"data:application/gzip;base64,{base64.b64encode(packed).decode()}"


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - read when a page is written

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "duration": _or_dash(duration), "figures": _or_dash(figures), "percent": _or_dash(percent), "usd": _or_dash(usd),
        "bare": _or_dash(bare), "gib": _or_dash(bytes_of_memory), "yaml": as_yaml,
    }  # fmt: skip
    here = files("fmbench.reporters")
    environment.globals["css"] = here.joinpath("page.css").read_text(encoding="utf-8")
    return environment.from_string(here.joinpath("page.html.j2").read_text(encoding="utf-8"))


def _or_dash(spoken: Any) -> Any:
    return lambda value: DASH if value is None else spoken(value)
