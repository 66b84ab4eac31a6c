"""A chart: panels that share a meaning, the numbers that they show, and the figure that they make."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from fmbench.reporters.charts.ink import INK, Mark
from fmbench.reporters.wording import shortened

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

__all__ = ["Chart", "Panel", "Series"]

_Place = Literal["outside lower left", "outside upper left"]
_WIDTH_INCHES, _HEIGHT_INCHES = 3.9, 2.6


class Series(NamedTuple):
    """One entry of a legend."""

    label: str
    look: Mark
    kind: Literal["line", "both", "points", "area"]
    hatch: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    """One set of axes.

    Args:
        title: What it shows of the chart's subject; empty where it shows all of it.
        draw: Draws it.
        series: What its legend tells apart; empty where there is nothing to tell apart.
        stretch: How many times the usual width it needs.
    """

    title: str
    draw: Callable[[Axes], None]
    series: Sequence[Series] = ()
    stretch: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One view of a result.

    Args:
        name: Its file's name, without an ending.
        title: Its heading.
        caption: How to read it, in a sentence or two.
        panels: What is drawn; none where there is nothing to draw.
        numbers: What is drawn, as numbers.
        reason: Why there is nothing to draw.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    numbers: DataFrame
    reason: str | None = None

    @property
    def stretch(self) -> float:
        """How many times the usual width its panels need."""
        return max((panel.stretch for panel in self.panels), default=1.0)

    def figure(self, panel: Panel | None = None) -> Figure:
        """One panel alone, without titles, for a page that sets its own; or the whole chart with them.

        To be called, and drawn, under ``settings``.
        """
        return self._whole() if panel is None else _alone(panel)

    def _whole(self) -> Figure:
        from matplotlib.figure import Figure  # noqa: PLC0415 - heavy

        columns = 1 if len(self.panels) == 1 or self.stretch > 1.5 else 2 if len(self.panels) < 5 else 3
        rows = math.ceil(len(self.panels) / columns)
        width = _WIDTH_INCHES * self.stretch * columns
        figure = Figure(figsize=(width, _HEIGHT_INCHES * rows + 0.6))
        figure.suptitle(self.title, fontweight="bold", x=0.01, ha="left")
        for index, panel in enumerate(self.panels):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.set_title(shortened(panel.title, int(13 * _WIDTH_INCHES * self.stretch)), loc="left")
            panel.draw(axes)
        _legend(figure, [series for panel in self.panels for series in panel.series], width, "outside lower left")
        return figure


def _alone(panel: Panel) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415 - heavy

    width = _WIDTH_INCHES * panel.stretch
    figure = Figure(figsize=(width, _HEIGHT_INCHES))
    panel.draw(figure.add_subplot())
    _legend(figure, panel.series, width, "outside upper left")
    return figure


def _legend(figure: Figure, series: Sequence[Series], width: float, where: _Place) -> None:
    """One legend for all panels, in as many columns as there is room for, each series once and in order."""
    entries = list(dict.fromkeys(series))
    if not entries:
        return
    labels = [shortened(entry.label, 44) for entry in entries]
    room = max(map(len, labels)) * 0.078 + 0.55
    rows = math.ceil(len(entries) / max(1, int((width - 0.2) / room)))
    columns = math.ceil(len(entries) / rows)
    figure.legend(list(map(_handle, entries)), labels, loc=where, ncols=columns, columnspacing=1.2, handlelength=2.6)


def _handle(entry: Series) -> Artist:
    from matplotlib.lines import Line2D  # noqa: PLC0415 - heavy
    from matplotlib.patches import Patch  # noqa: PLC0415 - heavy

    look = entry.look
    if entry.kind == "area":
        return Patch(facecolor=look.colour, edgecolor=INK, linewidth=0.6, hatch=entry.hatch)
    return Line2D(
        [], [], color=look.colour, linestyle="none" if entry.kind == "points" else look.line,
        marker="none" if entry.kind == "line" else look.marker,
    )  # fmt: skip
