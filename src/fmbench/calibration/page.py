"""A calibration as a page that needs nothing but itself, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmbench.calibration.charts import calibration_charts
from fmbench.calibration.measuring import Calibration
from fmbench.reporters.charts import Chart
from fmbench.reporters.charts.ink import rendered, settings
from fmbench.reporters.inline import inlined
from fmbench.reporters.wording import DASH, duration, figures, percent

if TYPE_CHECKING:
    from jinja2 import Template

__all__ = ["headline", "signed", "write_calibration"]

LEAST_SECONDS = 1e-7
"""The clocks cannot tell less."""
_CHIPS = {"met": "pass", "missed": "fail", "unclear": "warn"}


def write_calibration(calibration: Calibration) -> Sequence[Path]:
    """Write ``calibration.json`` and ``calibration.html`` into the run's folder."""
    page, data = calibration.directory / "calibration.html", calibration.directory / "calibration.json"
    data.write_text(json.dumps(calibration.as_dict(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
    page.write_text(_page(calibration), encoding="utf-8", newline="\n")
    return page, data


def headline(calibration: Calibration) -> str:
    """What came out, in a sentence."""
    outcomes: dict[str, list[int]] = {"met": [], "missed": [], "unclear": []}
    for level in calibration.levels:
        outcomes[calibration.budget.judge(level).outcome].append(level.streams)
    unclear = f"; at {_counted(outcomes['unclear'])} nothing can be told" if outcomes["unclear"] else ""
    if calibration.met:
        return f"This machine meets the error budget at {_counted(outcomes['met'])}{unclear}."
    if outcomes["missed"]:
        return f"This machine misses the error budget at {_counted(outcomes['missed'])}{unclear}."
    return "Nothing can be told: the truth server itself was late. Calibrate when the machine is idle."


def _counted(streams: Sequence[int]) -> str:
    """``1, 16 and 64 streams``."""
    *first, last = map(str, streams)
    return f"{', '.join(first)} and {last} streams" if first else f"{last} stream{'' if last == '1' else 's'}"


def signed(seconds: float | None) -> str:
    """A time with its sign, which an error has."""
    if seconds is None:
        return DASH
    if abs(seconds) < LEAST_SECONDS:
        return f"<{duration(LEAST_SECONDS)}"
    return ("−" if seconds < 0 else "") + duration(abs(seconds))  # noqa: RUF001 - a minus sign


def _page(calibration: Calibration) -> str:
    cores = calibration.cores
    apart = f"the truth server on core {cores.server}, the client on core {cores.client}"
    return _template().render(
        it=calibration,
        sentence=headline(calibration),
        judged=[(level, calibration.budget.judge(level)) for level in calibration.levels],
        chips=_CHIPS,
        place="server and client on one core" if cores.client is None else apart,
        charts=[_drawn(chart) for chart in calibration_charts(calibration)],
    )


def _drawn(chart: Chart) -> tuple[Chart, list[Any], list[list[str]]]:
    panels = []
    for index, panel in enumerate(chart.panels):
        with settings():
            svg = rendered(chart.figure(panel), "svg", transparent=True)
        panels.append((panel.title, inlined(svg, prefix=f"{chart.name}-{index}", label=f"{chart.title}: {panel.title}")))
    numbers = [list(map(str, chart.numbers.columns))]
    numbers += [[_plain(cell) for cell in row] for row in chart.numbers.itertuples(index=False)]
    return chart, panels, numbers


def _plain(cell: Any) -> str:
    return DASH if cell is None or cell != cell else figures(float(cell))  # noqa: PLR0124 - not a number is not itself


def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - read when a page is written

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {
        "duration": lambda value: DASH if value is None else duration(value),
        "percent": lambda value: DASH if value is None else percent(value),
        "count": lambda value: DASH if value is None else f"{value:,.0f}",
        "signed": signed,
    }
    environment.globals["css"] = files("fmbench.reporters").joinpath("page.css").read_text(encoding="utf-8")
    return environment.from_string(files("fmbench.calibration").joinpath("page.html.j2").read_text(encoding="utf-8"))
