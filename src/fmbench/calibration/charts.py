"""The charts of a calibration."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from fmbench.calibration.budget import Budget
from fmbench.calibration.errors import Level, Spread
from fmbench.calibration.measuring import Calibration
from fmbench.metrics import Distribution
from fmbench.reporters.charts.axes import cumulative, level_ticks
from fmbench.reporters.charts.chart import Chart, Panel, Series
from fmbench.reporters.charts.ink import INK, Mark, mark

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["calibration_charts"]

ERRORS: dict[str, Callable[[Level], Spread | None]] = {
    "TTFT": lambda level: level.ttft_error,
    "ITL": lambda level: level.itl_error,
    "Latency": lambda level: level.latency_error,
}
LIMIT = Mark(INK, "", (0, (1, 3)))
LEAST_MS = 1e-4
"""Below a tenth of a microsecond nothing is drawn: it is less than the clocks can tell."""


def calibration_charts(calibration: Calibration) -> list[Chart]:
    """All of them, in the page's order."""
    return [_by_streams(calibration), _spread_of(calibration), _lateness(calibration)]


def _by_streams(calibration: Calibration) -> Chart:
    p50, p99 = mark(0), mark(1)
    limits = Series("budget", LIMIT, "line")
    series = [Series("median", p50, "both"), Series("p99", p99, "both"), limits]
    panels = [
        Panel(name, partial(_draw_errors, levels=calibration.levels, error=error, budget=calibration.budget), series)
        for name, error in ERRORS.items()
    ]
    return Chart(
        name="error_by_streams",
        title="Error against the number of streams",
        caption="How far what is reported lies from what the server did: the size of the median error, and the 99th percentile "
        "of its size. Dotted: what each of the two may be.",
        panels=panels,
        numbers=_numbers(calibration.levels),
    )


def _draw_errors(axes: Axes, *, levels: Sequence[Level], error: Callable[[Level], Spread | None], budget: Budget) -> None:
    known = [(level.streams, spread) for level in levels if (spread := error(level)) is not None]
    sizes = [[abs(spread.p50) for _, spread in known], [spread.p99 for _, spread in known]]
    for look, heights in zip((mark(0), mark(1)), sizes, strict=True):
        axes.plot(
            [streams for streams, _ in known], [max(height * 1e3, LEAST_MS) for height in heights],
            color=look.colour, marker=look.marker, linestyle=look.line,
        )  # fmt: skip
    for index, limit in enumerate((budget.median_seconds, budget.p99_seconds)):
        axes.axhline(limit * 1e3, color=mark(index).colour, linewidth=1.4, linestyle=LIMIT.line)
    _log_milliseconds(axes)
    level_ticks(axes, [level.streams for level in levels])
    axes.set_xlabel("Streams")
    axes.set_ylabel("Error (ms)")


def _spread_of(calibration: Calibration) -> Chart:
    looks = {level.streams: mark(index) for index, level in enumerate(calibration.levels)}
    panels = [
        Panel(
            name,
            partial(_draw_spread, levels=calibration.levels, error=error, looks=looks),
            [Series(f"{streams} stream" + "s" * (streams > 1), look, "line") for streams, look in looks.items()],
        )
        for name, error in ERRORS.items()
        if any(error(level) for level in calibration.levels)
    ]
    return Chart(
        name="error_spread",
        title="How errors are spread",
        caption="The share of requests (ITL: of gaps) whose error is no larger.",
        panels=panels,
        numbers=_numbers(calibration.levels),
    )


def _draw_spread(
    axes: Axes, *, levels: Sequence[Level], error: Callable[[Level], Spread | None], looks: dict[int, Mark]
) -> None:
    import numpy as np  # noqa: PLC0415 - heavy

    for level in levels:
        spread = error(level)
        if spread is None:
            continue
        values, shares = cumulative(Distribution(np.maximum(np.abs(spread.values) * 1e3, LEAST_MS), "ms"))
        look = looks[level.streams]
        axes.step(values, shares, where="post", color=look.colour, linestyle=look.line)
    _log_milliseconds(axes, "x")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("Size of the error (ms)")
    axes.set_ylabel("Share")


def _lateness(calibration: Calibration) -> Chart:
    client, server = mark(2), mark(3)
    panels = [
        Panel(
            "Who is late",
            partial(_draw_lateness, levels=calibration.levels),
            [Series("client's reader, p99", client, "both"), Series("truth server, p99", server, "both")],
        ),
        Panel(
            "Tokens that shared a read", partial(_draw_coalesced, calibration=calibration), [Series("budget", LIMIT, "line")]
        ),
    ]
    return Chart(
        name="lateness",
        title="Why",
        caption="The reader's delay behind the kernel is not in the figures: it is what a client without kernel times would "
        "have added. Where the truth server is late, it sends several tokens at once, which then share a read.",
        panels=panels,
        numbers=_numbers(calibration.levels),
    )


def _draw_lateness(axes: Axes, *, levels: Sequence[Level]) -> None:
    for look, spreads in (
        (mark(2), [level.client_delay for level in levels]),
        (mark(3), [level.server_lateness for level in levels]),
    ):
        known = [(level.streams, spread.p99) for level, spread in zip(levels, spreads, strict=True) if spread is not None]
        axes.plot(
            [streams for streams, _ in known], [max(value * 1e3, LEAST_MS) for _, value in known], color=look.colour,
            marker=look.marker, linestyle=look.line,
        )  # fmt: skip
    _log_milliseconds(axes)
    level_ticks(axes, [level.streams for level in levels])
    axes.set_xlabel("Streams")
    axes.set_ylabel("Lateness (ms)")


def _draw_coalesced(axes: Axes, *, calibration: Calibration) -> None:
    look, levels, limit = mark(0), calibration.levels, calibration.budget.coalesced_share * 100
    shares = [level.coalesced_share * 100 for level in levels]
    axes.plot([level.streams for level in levels], shares, color=look.colour, marker=look.marker, linestyle=look.line)
    axes.axhline(limit, color=INK, linewidth=1.4, linestyle=LIMIT.line)
    axes.set_ylim(0, max(*shares, limit) * 1.1)
    level_ticks(axes, [level.streams for level in levels])
    axes.set_xlabel("Streams")
    axes.set_ylabel("Tokens (%)")


def _log_milliseconds(axes: Axes, which: str = "y") -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter  # noqa: PLC0415 - heavy

    axis = axes.yaxis if which == "y" else axes.xaxis
    axes.set_yscale("log") if which == "y" else axes.set_xscale("log")
    low, high = axes.get_ylim() if which == "y" else axes.get_xlim()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high / low > 60 else (1.0, 2.0, 5.0), numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    axis.set_minor_formatter(NullFormatter())


def _numbers(levels: Sequence[Level]) -> Any:
    import pandas as pd  # noqa: PLC0415 - heavy

    spreads = ("ttft_error", "itl_error", "latency_error", "client_delay", "server_lateness")
    rows = []
    for level in levels:
        row: dict[str, Any] = {"streams": level.streams, "requests": level.requests}
        for name in spreads:
            spread: Spread | None = getattr(level, name)
            row |= {f"{name}_p50_ms": None if spread is None else spread.p50 * 1e3}
            row |= {f"{name}_p99_ms": None if spread is None else spread.p99 * 1e3}
        rows.append({**row, "coalesced_percent": level.coalesced_share * 100})
    return pd.DataFrame(rows)
