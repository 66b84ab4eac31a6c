"""Latency against the prompt's length: every request as a point, and in bins as boxes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from fmbench.reporters.charts.axes import MANY, Scale
from fmbench.reporters.charts.bins import bin_label, width_of
from fmbench.reporters.charts.chart import Chart, Panel, Series
from fmbench.reporters.charts.ink import GRID, INK, Mark, mark
from fmbench.reporters.charts.view import Group

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from pandas import DataFrame

    from fmbench.reporters.charts.view import View

__all__ = ["across_deployments", "latency_by_prompt_tokens", "token_length_effect"]

_NOTHING = "no successful request has both a latency and a prompt whose tokens were counted"
_FEW = 5
"""Fewer values than these are drawn as they are: a box would claim more than it knows."""


def latency_by_prompt_tokens(view: View) -> Chart:
    """Each request: its prompt's tokens, its latency, its load."""
    known = _known(view)
    lengths, seconds = _scales(known)
    panels = [
        Panel(
            title,
            partial(_draw_points, view=view, rows=rows, lengths=lengths, seconds=seconds),
            [Series(load, mark(index), "points") for index, load in enumerate(view.loads) if (rows["load"] == load).any()],
        )
        for title, rows in _parts(view, known)
    ]
    columns = ["experiment", "deployment", "prompts", "load", "prompt_id", "prompt_tokens", "latency_seconds"]
    return Chart(
        name="latency_by_prompt_tokens",
        title="Prompt tokens and latency, by concurrency" if _closed(view) else "Prompt tokens and latency, by load",
        caption="Each point is one successful request.",
        panels=panels,
        numbers=known[columns],
        reason=None if panels else _NOTHING,
    )


def token_length_effect(view: View, bin_tokens: int | None) -> Chart:
    """Boxes by bins of prompt length, a colour a load; a panel a deployment."""
    known = _known(view)
    look = partial(_mark_of, view.loads)
    return _boxes(
        _parts(view, known),
        known,
        by=_By("load", view.loads, look, bin_tokens),
        name="token_length_effect",
        title="Effect of token length on inference latency",
        reason=None if len(known) else _NOTHING,
    )


def across_deployments(view: View, bin_tokens: int | None) -> Chart | None:
    """The same with a colour a deployment; a panel a load. ``None`` where there is one deployment alone."""
    if len(view.deployments) < 2:
        return None
    known = _known(view)
    parts = [
        (" · ".join(filter(None, (str(load), str(parameters)))), rows)
        for parameters, some in known.groupby("parameters", sort=False)
        for load in view.loads
        if len(rows := some[some["load"] == load])
    ]
    look = partial(_mark_of, view.deployments)
    return _boxes(
        iter(parts),
        known,
        by=_By("deployment", view.deployments, look, bin_tokens),
        name="token_length_effect_across_deployments",
        title="Effect of token length on inference latency, across deployments",
        reason=None if len(known) else _NOTHING,
    )


class _By(NamedTuple):
    """What the boxes of one bin differ in."""

    column: str
    order: Sequence[str]
    look: Callable[[str], Mark]
    bin_tokens: int | None


class _Box(NamedTuple):
    """One box, as numbers and as it is drawn (Tukey's: whiskers to the last value within 1.5 times the box's height)."""

    at: float
    label: str
    series: str
    seconds: NDArray[np.float64]
    quartiles: tuple[float, float, float]
    whiskers: tuple[float, float]


def _mark_of(order: Sequence[str], name: str) -> Mark:
    return mark(order.index(name))


def _closed(view: View) -> bool:
    return all(one.concurrency is not None for one in view.experiments)


def _known(view: View) -> DataFrame:
    requests = view.requests
    return requests[requests["prompt_tokens"].notna() & requests["latency_seconds"].notna()]


def _scales(known: DataFrame) -> tuple[Scale, Scale]:
    """For the lengths, and for the latencies."""
    lengths, seconds = (known[column].to_numpy(dtype="float64") for column in ("prompt_tokens", "latency_seconds"))
    return Scale.of_tokens([lengths]), Scale.of_seconds([seconds], from_zero=True)


def _parts(view: View, known: DataFrame) -> Iterator[tuple[str, DataFrame]]:
    """The requests of each deployment and set of parameters, prompt sets together: their lengths set them apart."""
    for (deployment, parameters), rows in known.groupby(["deployment", "parameters"], sort=False):
        yield view.label(Group(str(deployment), "", str(parameters)), without="prompts"), rows


def _draw_points(axes: Axes, *, view: View, rows: DataFrame, lengths: Scale, seconds: Scale) -> None:
    crowd = len(rows)
    size, alpha = (14, 0.75) if crowd < 500 else (8, 0.5) if crowd < MANY else (4, 0.3)
    for load in reversed(view.loads):
        some = rows[rows["load"] == load]
        if len(some):
            look = mark(view.loads.index(load))
            axes.scatter(
                some["prompt_tokens"], some["latency_seconds"] * seconds.factor, s=size, alpha=alpha, color=look.colour,
                marker=look.marker, linewidths=0, rasterized=crowd > MANY,
            )  # fmt: skip
    lengths.apply(axes, "x", "Prompt length")
    seconds.apply(axes, "y", "Latency")


def _boxes(
    parts: Iterator[tuple[str, DataFrame]], known: DataFrame, *, by: _By, name: str, title: str, reason: str | None
) -> Chart:
    import pandas as pd  # noqa: PLC0415 - heavy

    panels, numbers = [], []
    if len(known):
        width = by.bin_tokens or width_of(known["prompt_tokens"].to_numpy(dtype="float64"))
        seconds = _scales(known)[1]
        for panel_title, rows in parts:
            boxes = list(_boxes_of(rows, by, width))
            stretch = min(2.2, max(1.0, len(boxes) / 18))
            draw = partial(_draw_boxes, boxes=boxes, by=by, seconds=seconds)
            present = sorted({box.series for box in boxes}, key=by.order.index)
            panels.append(Panel(panel_title, draw, [Series(name, by.look(name), "area") for name in present], stretch))
            numbers += [_as_row(panel_title, box, by) for box in boxes]
    return Chart(
        name=name,
        title=title,
        caption="Requests by the length of their prompt. A box holds the middle half, its line is the median; whiskers reach "
        f"to the last value within 1.5 box heights, points lie beyond. Fewer than {_FEW} requests are drawn as points alone.",
        panels=panels,
        numbers=pd.DataFrame(numbers, columns=list(_columns(by))),
        reason=reason,
    )


def _columns(by: _By) -> Sequence[str]:
    about = ["panel", "prompt_tokens", by.column, "requests"]
    return [*about, *(f"{name}_seconds" for name in ("whisker_low", "q1", "median", "q3", "whisker_high"))]


def _as_row(panel: str, box: _Box, by: _By) -> dict[str, Any]:
    figures = (box.whiskers[0], *box.quartiles, box.whiskers[1])
    return dict(zip(_columns(by), (panel, box.label, box.series, len(box.seconds), *figures), strict=True))


def _boxes_of(rows: DataFrame, by: _By, width: int) -> Iterator[_Box]:
    """The boxes from left to right: bins by length, in each the series in their order."""
    bins = rows["prompt_tokens"].astype("int64") // width
    present = [name for name in by.order if (rows[by.column] == name).any()]
    for place, start in enumerate(sorted(bins.unique())):
        for index, series in enumerate(present):
            some = rows[(bins == start) & (rows[by.column] == series)]
            if len(some):
                at = place + (index + 0.5) / len(present) * 0.84 - 0.42
                values = some["latency_seconds"].to_numpy(dtype="float64")
                yield _box(at, bin_label(start * width, width), series, values)


def _box(at: float, label: str, series: str, values: NDArray[np.float64]) -> _Box:
    import numpy as np  # noqa: PLC0415 - heavy

    q1, median, q3 = (float(q) for q in np.quantile(values, (0.25, 0.5, 0.75)))
    reach = 1.5 * (q3 - q1)
    inside = values[(values >= q1 - reach) & (values <= q3 + reach)]
    whiskers = min(q1, float(inside.min())), max(q3, float(inside.max()))
    return _Box(at, label, series, values, (q1, median, q3), whiskers)


def _draw_boxes(axes: Axes, *, boxes: Sequence[_Box], by: _By, seconds: Scale) -> None:
    width = 0.72 / max(1, len({box.series for box in boxes}))
    for series in dict.fromkeys(box.series for box in boxes):
        mine = [box for box in boxes if box.series == series]
        _draw_series(axes, [box for box in mine if len(box.seconds) >= _FEW], width, by.look(series), seconds.factor)
        for box in mine:
            values = _beyond(box) if len(box.seconds) >= _FEW else box.seconds
            _draw_points_at(axes, box.at, values * seconds.factor, by.look(series))
    _dress(axes, boxes)
    seconds.apply(axes, "y", "Latency")
    axes.set_ylabel(f"Latency ({'seconds' if seconds.unit == 's' else 'milliseconds'})")


def _draw_series(axes: Axes, boxes: Sequence[_Box], width: float, look: Mark, factor: float) -> None:
    """The boxes of one colour. Not by ``Axes.bxp``: it reads every setting, and so chooses the caller's backend for good."""
    import numpy as np  # noqa: PLC0415 - heavy

    if not boxes:
        return
    at = np.array([box.at for box in boxes])
    q1, median, q3 = np.array([box.quartiles for box in boxes]).T * factor
    low, high = np.array([box.whiskers for box in boxes]).T * factor
    axes.bar(at, q3 - q1, width, q1, color=look.colour, edgecolor=INK, linewidth=0.6, zorder=2)
    axes.hlines(median, at - width / 2, at + width / 2, color=INK, linewidth=1.4, zorder=3)
    for start, end in ((low, q1), (q3, high)):
        axes.vlines(at, start, end, color=INK, linewidth=0.7, zorder=2)
    for cap in (low, high):
        axes.hlines(cap, at - width / 4, at + width / 4, color=INK, linewidth=0.7, zorder=2)


def _beyond(box: _Box) -> NDArray[np.float64]:
    low, high = box.whiskers
    return box.seconds[(box.seconds < low) | (box.seconds > high)]


def _draw_points_at(axes: Axes, at: float, heights: NDArray[np.float64], look: Mark) -> None:
    axes.plot(
        [at] * len(heights), heights, "o", color=look.colour, markersize=3, alpha=0.7, markeredgewidth=0,
        rasterized=len(heights) > MANY // 20,
    )  # fmt: skip


def _dress(axes: Axes, boxes: Sequence[_Box]) -> None:
    """The bins' names below, and a line between them."""
    labels: Mapping[int, str] = {round(box.at): box.label for box in boxes}
    axes.set_xticks(list(labels), list(labels.values()), rotation=30 if len(labels) > 6 else 0)
    axes.set_xlim(-0.5, max(labels) + 0.5)
    for edge in range(max(labels)):
        axes.axvline(edge + 0.5, color=GRID, linewidth=1.2)
    axes.grid(visible=False, axis="x")
    axes.set_xlabel("Prompt length (tokens)")
