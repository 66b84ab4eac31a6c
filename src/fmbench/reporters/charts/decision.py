"""The charts that a decision stands on: latency against throughput and against price, cost against the rate to be served."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fmbench.reporters.charts.axes import Scale
from fmbench.reporters.charts.chart import Chart, Panel, Series
from fmbench.reporters.charts.ink import INK, Mark, mark
from fmbench.reporters.rates import NO_LIMIT, rates_for, read_as, slo_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from fmbench import AdviceTable, Point
    from fmbench.reporters.charts.view import View

__all__ = ["cost_by_requests", "latency_throughput", "price_performance"]

_LIMIT = Series("the SLO's limit", Mark(INK, "none", "--"), "line")
_FRONT = Series("Pareto front", Mark(INK, "none", ":"), "line")
_COLUMNS = (
    *("experiment", "deployment", "prompts", "load", "requests_per_minute", "latency_seconds", "usd_per_1000_requests"),
    *("meets", "on_front"),
)


def latency_throughput(view: View) -> Chart:
    """The latency that the SLO limits against what one instance does: a line a deployment, its loads from left to right."""
    points, label, limit = _points(view)
    return Chart(
        name="latency_by_throughput",
        title=f"{label} against throughput",
        caption="A marker a measured load, by rising load"
        + ("; hollow ones miss the SLO, whose limit is dashed" if limit is not None else "")
        + ". Best: lower right.",
        panels=[
            Panel(title, partial(_draw_curve, view=view, points=some, scale=_scale(points, limit), label=label, limit=limit),
                  [*_deployments(view, some), *([] if limit is None else [_LIMIT])])
            for title, some in _by_prompts(view, points)
        ],
        numbers=_numbers(points),
        reason=None if points else f"no experiment has both a throughput and a {label}",
    )  # fmt: skip


def price_performance(view: View) -> Chart:
    """The same latency against the price of 1,000 requests, and the front of what nothing beats."""
    points, label, limit = _points(view)
    priced = [point for point in points if point.usd_per_1000_requests is not None]
    return Chart(
        name="price_performance",
        title="Price and performance",
        caption="A marker a measured load; ringed ones nothing beats in latency, throughput and cost together (the Pareto "
        "front). Dotted: the front in price and latency alone. Best: lower left.",
        panels=[
            Panel(title, partial(_draw_prices, view=view, points=some, scale=_scale(priced, limit), label=label, limit=limit),
                  [*_deployments(view, some), _FRONT, *([] if limit is None else [_LIMIT])])
            for title, some in _by_prompts(view, priced)
        ],
        numbers=_numbers(priced),
        reason=None if priced else "no price is known: give deployers usd_per_hour, or call result.with_prices()",
    )  # fmt: skip


def cost_by_requests(view: View) -> Chart | None:
    """What serving a rate within the SLO costs, or takes in instances where no price is known; ``None`` where nothing does."""
    import pandas as pd  # noqa: PLC0415 - heavy

    table = rates_for(view.result)
    if table is None:
        return None
    rows = [
        {
            "deployment": one.deployment, "prompts": one.prompts, "requests_per_minute": advice.requests_per_minute,
            "instances": one.instances, "instance_type": one.instance_type, "usd_per_hour": one.usd_per_hour,
            "usd_per_1000_requests": one.usd_per_1000_requests_at_rate, "best": one is advice.best_for(one.prompts),
        }
        for advice in table for one in advice.candidates if one.standing == "met"
    ]  # fmt: skip
    if not rows:
        return None
    numbers = pd.DataFrame(rows)
    priced = numbers["usd_per_hour"].notna().any()
    return Chart(
        name="cost_by_requests",
        title="Cost of a rate within the SLO" if priced else "Instances for a rate within the SLO",
        caption="Whole instances, each at the capacity that was measured. Best: the lowest line.",
        panels=[
            Panel("" if len(view.prompt_sets) == 1 else name, partial(_draw_rates, view=view, table=table, prompts=name,
                  column="usd_per_hour" if priced else "instances"), _met(view, table, name))
            for name in view.prompt_sets if any(row["prompts"] == name for row in rows)
        ],
        numbers=numbers,
    )  # fmt: skip


def _points(view: View) -> tuple[Sequence[Point], str, float | None]:
    """The experiments as points, the latency's name, and its limit in seconds."""
    slo = slo_of(view.result)
    points = view.result.advise(slo).points
    limit = next((value for name, value in slo.as_dict().items() if name != "error_rate"), NO_LIMIT)
    name = (
        points[0].latency if points else next(name for name in (*slo.as_dict(), "latency_p95_seconds") if name != "error_rate")
    )
    return points, read_as(name), None if limit >= NO_LIMIT else limit


def _scale(points: Sequence[Point], limit: float | None) -> Scale:
    import numpy as np  # noqa: PLC0415 - heavy

    return Scale.of_seconds(
        [np.array([*(one.latency_seconds for one in points), *([] if limit is None else [limit])])], from_zero=True
    )


def _by_prompts(view: View, points: Sequence[Point]) -> list[tuple[str, list[Point]]]:
    several = len(view.prompt_sets) > 1
    found = [(name, [point for point in points if point.prompts == name]) for name in view.prompt_sets]
    return [(name if several else "", some) for name, some in found if some]


def _deployments(view: View, points: Sequence[Point]) -> list[Series]:
    return [
        Series(name, mark(view.deployments.index(name)), "both") for name in dict.fromkeys(one.deployment for one in points)
    ]


def _lines(view: View, points: Sequence[Point]) -> list[tuple[Mark, list[Point]]]:
    """The points of each deployment, closed and open loads and parameters apart, by rising load."""
    order = {one.name: (str(view.group_of(one)), one.concurrency is None) for one in view.experiments}
    rank = {one.name: index for index, one in enumerate(one for _, some in view.groups() for one in some)}
    lines: dict[Any, list[Point]] = {}
    for point in sorted(points, key=lambda each: rank[each.experiment]):
        lines.setdefault((point.deployment, order[point.experiment]), []).append(point)
    return [(mark(view.deployments.index(key[0])), some) for key, some in lines.items()]


def _draw_curve(axes: Axes, *, view: View, points: Sequence[Point], scale: Scale, label: str, limit: float | None) -> None:
    for look, some in _lines(view, points):
        x = [one.requests_per_minute for one in some]
        y = [one.latency_seconds * scale.factor for one in some]
        axes.plot(x, y, color=look.colour, linestyle=look.line, linewidth=1.2, zorder=2)
        _draw_markers(axes, look, some, x, y)
    if limit is not None:
        axes.axhline(limit * scale.factor, color=INK, linewidth=1.0, linestyle=_LIMIT.look.line, zorder=1)
    axes.set_xlim(left=0)
    axes.set_xlabel("Requests a minute, one instance")
    scale.apply(axes, "y", label)


def _draw_prices(axes: Axes, *, view: View, points: Sequence[Point], scale: Scale, label: str, limit: float | None) -> None:
    for look, some in _lines(view, points):
        x = [one.usd_per_1000_requests or 0.0 for one in some]
        _draw_markers(axes, look, some, x, [one.latency_seconds * scale.factor for one in some])
    ringed = [one for one in points if one.on_front]
    axes.plot(
        [one.usd_per_1000_requests or 0.0 for one in ringed], [one.latency_seconds * scale.factor for one in ringed],
        linestyle="none", marker="o", markersize=11, markerfacecolor="none", color=INK, markeredgewidth=0.8, zorder=4,
    )  # fmt: skip
    steps = _staircase(points)
    axes.step(
        [x for x, _ in steps], [y * scale.factor for _, y in steps], where="post", color=INK, linewidth=1.0,
        linestyle=_FRONT.look.line, zorder=1,
    )  # fmt: skip
    if limit is not None:
        axes.axhline(limit * scale.factor, color=INK, linewidth=1.0, linestyle=_LIMIT.look.line, zorder=1)
    _price_axis(axes, [one.usd_per_1000_requests or 0.0 for one in points])
    scale.apply(axes, "y", label)


def _price_axis(axes: Axes, prices: Sequence[float]) -> None:
    """From nought, or logarithmic where prices are of different orders."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - heavy

    axes.set_xlabel("USD per 1,000 requests")
    if min(prices) > 0 and max(prices) / min(prices) > 8:
        axes.set_xscale("log")
        axes.set_xlim(min(prices) / 1.3, max(prices) * 1.3)
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.6g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xlim(0, max(prices) * 1.08 or 1.0)


def _staircase(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Those that nothing beats in price and latency alone, the cheapest first."""
    steps: list[tuple[float, float]] = []
    for one in sorted(points, key=lambda each: (each.usd_per_1000_requests or 0.0, each.latency_seconds)):
        if not steps or one.latency_seconds < steps[-1][1]:
            steps.append((one.usd_per_1000_requests or 0.0, one.latency_seconds))
    return steps


def _draw_markers(axes: Axes, look: Mark, points: Sequence[Point], x: Sequence[float], y: Sequence[float]) -> None:
    """A marker a load: hollow where it misses the SLO."""
    for one, across, up in zip(points, x, y, strict=True):
        axes.plot(
            [across], [up], marker=look.marker, color=look.colour, linestyle="none", zorder=3,
            markerfacecolor="none" if one.meets is False else look.colour,
        )  # fmt: skip


def _met(view: View, table: AdviceTable, prompts: str) -> list[Series]:
    names = [one.deployment for one in table.advices[0].candidates if one.standing == "met" and one.prompts == prompts]
    return [Series(name, mark(view.deployments.index(name)), "both") for name in dict.fromkeys(names)]


def _draw_rates(axes: Axes, *, view: View, table: AdviceTable, prompts: str, column: str) -> None:
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: PLC0415 - heavy

    for same in table.candidates():
        values = [getattr(one, column) for one in same]
        if same[0].prompts != prompts or same[0].standing != "met" or None in values:
            continue
        look = mark(view.deployments.index(same[0].deployment))
        axes.plot(table.rates, values, color=look.colour, linestyle=look.line, marker=look.marker)
    for which, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        (axes.set_xscale if which == "x" else axes.set_yscale)("log")
        axis.set_minor_locator(NullLocator())
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axes.xaxis.set_major_locator(FixedLocator(list(table.rates)))
    axes.set_xlabel("Requests a minute to be served")
    axes.set_ylabel("USD an hour" if column == "usd_per_hour" else "Instances")


def _numbers(points: Sequence[Point]) -> Any:
    import pandas as pd  # noqa: PLC0415 - heavy

    rows = [{**point.as_dict(), "latency_metric": point.latency} for point in points]
    return pd.DataFrame(rows, columns=[*_COLUMNS, "latency_metric"])
