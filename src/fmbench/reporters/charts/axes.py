"""What all axes have in common: scales that suit the values, ticks that can be read, steps that are not too many."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from fmbench import Distribution

__all__ = ["MANY", "Scale", "cumulative", "level_ticks"]

MANY = 2000
"""More points than these in one panel are drawn as an image: a page of vectors would be slow, and no sharper."""

_WIDE = {"s": 30, "tokens": 100}
"""Values whose largest is so many times their smallest are drawn to a logarithmic scale."""

_STEPS = 150
"""As many steps as an eye can tell apart in a cumulative distribution."""


@dataclass(frozen=True, slots=True)
class Scale:
    """One axis that several panels share, so that they can be compared.

    Args:
        low: Its least value.
        high: Its greatest.
        factor: What values are multiplied with.
        unit: Their unit then.
        logarithmic: Whether equal distances are equal ratios.
    """

    low: float
    high: float
    factor: float
    unit: str
    logarithmic: bool

    @classmethod
    def of_seconds(cls, values: Iterable[NDArray[np.float64]], *, from_zero: bool = False) -> Scale:
        """The scale for times in seconds; in milliseconds where none reaches a second.

        Args:
            values: All that has to fit.
            from_zero: Where it starts unless it is logarithmic.
        """
        return _scale(values, "s", from_zero=from_zero)

    @classmethod
    def of_tokens(cls, values: Iterable[NDArray[np.float64]]) -> Scale:
        """The scale for lengths in tokens."""
        return _scale(values, "tokens", from_zero=True)

    def apply(self, axes: Axes, which: Literal["x", "y"], label: str) -> None:
        """Set one axis of a panel up."""
        axis = axes.xaxis if which == "x" else axes.yaxis
        limits = self._limits()
        if which == "x":
            axes.set_xscale("log" if self.logarithmic else "linear")
            axes.set_xlim(*limits)
        else:
            axes.set_yscale("log" if self.logarithmic else "linear")
            axes.set_ylim(*limits)
        axis.set_label_text(f"{label} ({self.unit})")
        if self.logarithmic:
            _log_ticks(axes, which, decades=self.high / self.low)

    def _limits(self) -> tuple[float, float]:
        low, high = self.low * self.factor, self.high * self.factor
        if self.logarithmic:
            return low / 1.1, high * 1.1
        room = (high - low) * 0.04 or abs(high) * 0.1 or 1.0
        return (0 if low == 0 else low - room), high + room


def _scale(values: Iterable[NDArray[np.float64]], unit: str, *, from_zero: bool) -> Scale:
    import numpy as np  # noqa: PLC0415 - heavy

    known = np.concatenate([np.empty(0), *values])
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    logarithmic = low > 0 and high / low > _WIDE[unit]
    small = unit == "s" and high < 1
    start = 0.0 if from_zero and not logarithmic else low
    return Scale(start, high, 1000.0 if small else 1.0, "ms" if small else unit, logarithmic)


def _log_ticks(axes: Axes, which: Literal["x", "y"], *, decades: float) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - heavy

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if decades < 300 else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def level_ticks(axes: Axes, levels: Sequence[float]) -> None:
    """Put ticks where something was measured; doubling levels at equal distances."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator  # noqa: PLC0415 - heavy

    chosen = sorted(set(levels))
    if len(chosen) > 1 and chosen[-1] / chosen[0] >= 4:
        axes.set_xscale("log", base=2)
    axes.xaxis.set_major_locator(FixedLocator(_apart(chosen)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def _apart(levels: Sequence[float], most: int = 10) -> Sequence[float]:
    every = -(-len(levels) // most)
    return levels[::every]


def cumulative(values: Distribution) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The empirical distribution function as steps: the values, rising, and the share of all that is not above each.

    Of very many values, both ends are kept whole and evenly spaced ones in between.
    """
    import numpy as np  # noqa: PLC0415 - heavy

    ranks = np.arange(1, values.count + 1)
    if values.count > _STEPS:
        even = np.linspace(1, values.count, _STEPS)
        ends = np.concatenate([np.arange(1, 21), np.arange(values.count - 19, values.count + 1)])
        ranks = np.unique(np.concatenate([np.rint(even), ends]).astype(np.int64))
    return np.array(values.ranked(ranks.tolist())), ranks / values.count
