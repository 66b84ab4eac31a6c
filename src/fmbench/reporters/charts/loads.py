"""What becomes of throughput and latency as the load rises."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fmbench.reporters.charts.axes import Scale, level_ticks
from fmbench.reporters.charts.chart import Chart, Panel, Series
from fmbench.reporters.charts.ink import INK, Mark, mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fmbench import Experiment
    from fmbench.reporters.charts.view import View

__all__ = ["latency_by_load", "throughput_by_load"]


class _Kind(NamedTuple):
    """Closed or open loads, which have no scale in common."""

    word: str
    axis: str
    opened: bool


_KINDS = (_Kind("concurrency", "Concurrency (requests in flight)", False), _Kind("rate", "Rate (requests due a second)", True))


class _Rate(NamedTuple):
    """What is told by the second."""

    name: str
    attribute: str
    label: str

    def of(self, experiment: Experiment) -> float | None:
        """Its value; ``None`` where it is not known."""
        value: float | None = getattr(experiment, self.attribute)
        return value


_RATES = (
    _Rate("throughput", "tps", "Requests a second"),
    _Rate("output_throughput", "output_throughput", "Output tokens a second"),
)


class _Line(NamedTuple):
    label: str
    look: Mark
    experiments: Sequence[Experiment]


_DUE = Series("all that was due", Mark(INK, "none", ":"), "line")
_SLO = Series("SLO: limit on the 95th percentile", Mark(INK, "none", "--"), "line")


def throughput_by_load(view: View) -> list[Chart]:
    """Requests and tokens a second against concurrency, and against rate where there are open loads."""
    return [_throughput(view, kind, rate) for kind in _KINDS if _lines_by_panel(view, kind) for rate in _RATES]


def latency_by_load(view: View) -> list[Chart]:
    """The headline latency against the same."""
    return [_latency(view, kind) for kind in _KINDS if _lines_by_panel(view, kind)]


def _series(lines: Sequence[_Line]) -> list[Series]:
    return [Series(line.label, line.look, "both") for line in lines] if len(lines) > 1 else []


def _level(experiment: Experiment) -> float:
    return float(experiment.concurrency or experiment.per_second or 0)


def _lines_by_panel(view: View, kind: _Kind) -> dict[str, list[_Line]]:
    """A panel a prompt set and set of parameters, in it a line a deployment."""
    panels: dict[str, list[_Line]] = {}
    for group, experiments in view.groups():
        mine = [
            one for one in experiments if (one.concurrency is None) == kind.opened and _level(one)
        ]  # a ramp has no one rate
        if mine:
            line = _Line(group.deployment, mark(view.deployments.index(group.deployment)), mine)
            panels.setdefault(view.label(group, without="deployment"), []).append(line)
    return panels


def _throughput(view: View, kind: _Kind, rate: _Rate) -> Chart:
    by_panel = _lines_by_panel(view, kind)
    most = max((rate.of(one) or 0 for lines in by_panel.values() for line in lines for one in line.experiments), default=0)
    due = [_DUE] if kind.opened and rate.attribute == "tps" else []
    panels = [
        Panel(title, partial(_draw_rates, lines=lines, rate=rate, kind=kind, most=most), [*_series(lines), *due])
        for title, lines in by_panel.items()
        if any(rate.of(one) for line in lines for one in line.experiments)
    ]
    return Chart(
        name=f"{rate.name}_by_{kind.word}",
        title=f"{rate.label} against {kind.word}",
        caption="What the endpoint got done in the window. Where the line no longer rises, more load only makes requests wait.",
        panels=panels,
        numbers=_numbers(view, kind, (rate.attribute,)),
        reason=None if panels else "nothing was completed",
    )


def _draw_rates(axes: Axes, *, lines: Sequence[_Line], rate: _Rate, kind: _Kind, most: float) -> None:
    for line in lines:
        known = [(_level(one), value) for one in line.experiments if (value := rate.of(one)) is not None]
        axes.plot(
            [level for level, _ in known], [value for _, value in known], color=line.look.colour, marker=line.look.marker,
            linestyle=line.look.line,
        )  # fmt: skip
    levels = sorted({_level(one) for line in lines for one in line.experiments})
    if kind.opened and rate.attribute == "tps":
        axes.plot(levels, levels, color=INK, linestyle=_DUE.look.line, linewidth=0.9, scaley=False)
    level_ticks(axes, levels)
    axes.set_ylim(0, most * 1.06 or 1)
    axes.set_xlabel(kind.axis)
    axes.set_ylabel(rate.label)


def _latency(view: View, kind: _Kind) -> Chart:
    import numpy as np  # noqa: PLC0415 - heavy

    by_panel = _lines_by_panel(view, kind)
    seen = [one for lines in by_panel.values() for line in lines for one in line.experiments]
    heights = [value for one in seen for value in _percentiles(one).values() if value is not None]
    limit = _limit(view)
    scale = Scale.of_seconds([np.array([*heights, *([limit] if limit is not None and heights else [])])], from_zero=True)
    panels = [
        Panel(
            title,
            partial(_draw_latency, lines=lines, scale=scale, kind=kind, limit=limit),
            [*_series(lines), *([] if limit is None else [_SLO])],
        )
        for title, lines in by_panel.items()
        if any(one.latency.p50 is not None for line in lines for one in line.experiments)
    ]
    headline = "from when requests were due" if kind.opened else "from when requests were sent"
    return Chart(
        name=f"latency_by_{kind.word}",
        title=f"Latency against {kind.word}",
        caption=f"Median (lower, whole markers) and 95th percentile (upper, hollow markers) {headline}; bars are 95% "
        "confidence intervals. A percentile that too few requests stand behind is left out.",
        panels=panels,
        numbers=_numbers(view, kind, ()),
        reason=None if panels else "no experiment has the 11 successful requests that a median needs",
    )


def _limit(view: View) -> float | None:
    """The SLO's limit on the 95th percentile of latency."""
    return None if view.result.slo is None else view.result.slo.as_dict().get("latency_p95_seconds")


def _draw_latency(axes: Axes, *, lines: Sequence[_Line], scale: Scale, kind: _Kind, limit: float | None) -> None:
    for line in lines:
        for q, filled in ((0.5, True), (0.95, False)):
            _draw_percentile(axes, line, q, filled=filled, factor=scale.factor)
    if limit is not None:
        axes.axhline(limit * scale.factor, color=INK, linewidth=0.9, linestyle=_SLO.look.line)
    level_ticks(axes, [_level(one) for line in lines for one in line.experiments])
    scale.apply(axes, "y", "Latency")
    axes.set_xlabel(kind.axis)


def _draw_percentile(axes: Axes, line: _Line, q: float, *, filled: bool, factor: float) -> None:
    known = [(one, value) for one in line.experiments if (value := one.latency.quantile(q)) is not None]
    if not known:
        return
    heights = [value * factor for _, value in known]
    bounds = [one.latency.interval(q) or (value, value) for one, value in known]
    below = [max(0.0, value - low) * factor for (_, value), (low, _) in zip(known, bounds, strict=True)]
    above = [max(0.0, high - value) * factor for (_, value), (_, high) in zip(known, bounds, strict=True)]
    axes.errorbar(
        [_level(one) for one, _ in known], heights, [below, above], color=line.look.colour, marker=line.look.marker,
        linestyle=line.look.line if filled else (0, (1.2, 2)), capsize=2, elinewidth=0.9,
        markerfacecolor=line.look.colour if filled else "none",
    )  # fmt: skip


def _numbers(view: View, kind: _Kind, figures: Sequence[str]) -> Any:
    import pandas as pd  # noqa: PLC0415 - heavy

    rows = []
    for lines in _lines_by_panel(view, kind).values():
        for one in (one for line in lines for one in line.experiments):
            row = {"experiment": one.name, "deployment": one.deployment, "prompts": one.prompts, kind.word: _level(one)}
            row |= {name: getattr(one, name) for name in figures}
            rows.append(row if figures else row | _percentiles(one))
    return pd.DataFrame(rows)


def _percentiles(experiment: Experiment) -> dict[str, float | None]:
    row: dict[str, float | None] = {}
    for q in (0.5, 0.95):
        low, high = experiment.latency.interval(q) or (None, None)
        name = f"latency_p{q * 100:g}"
        row |= {f"{name}_seconds": experiment.latency.quantile(q), f"{name}_low_seconds": low, f"{name}_high_seconds": high}
    return row
