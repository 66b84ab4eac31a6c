"""Distributions: of the prompts' lengths, and cumulative ones of latency, TTFT and ITL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from fmbench.reporters.charts.axes import Scale, cumulative
from fmbench.reporters.charts.bins import edges_of
from fmbench.reporters.charts.chart import Chart, Panel, Series
from fmbench.reporters.charts.ink import INK, PAPER, mark

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from numpy.typing import NDArray
    from pandas import DataFrame

    from fmbench import Experiment
    from fmbench.reporters.charts.view import View

    Steps = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]

__all__ = ["itl_distribution", "latency_distribution", "prompt_lengths", "ttft_distribution"]


def prompt_lengths(view: View, bin_tokens: int | None) -> Chart:
    """How many prompts there are of which length, each prompt once."""
    import pandas as pd  # noqa: PLC0415 - heavy

    lengths = _lengths_by_set(view)
    edges = edges_of(lengths, bin_tokens) if lengths else []
    counts = {name: _histogram(values, edges) for name, values in lengths.items()}
    rows = [
        {"prompts": name, "from_tokens": start, "below_tokens": end, "count": int(count)}
        for name, row in counts.items()
        for start, end, count in zip(edges[:-1], edges[1:], row, strict=True)
    ]
    return Chart(
        name="prompt_length_distribution",
        title="Prompt length distribution",
        caption="How many prompts have how many tokens, each distinct prompt counted once, as counted by the server or the "
        "tokenizer.",
        panels=[Panel("", partial(_draw_lengths, counts=counts, edges=edges), _sets(list(counts)))] if lengths else [],
        numbers=pd.DataFrame(rows, columns=["prompts", "from_tokens", "below_tokens", "count"]),
        reason=None if lengths else "no prompt's tokens were counted",
    )


def _lengths_by_set(view: View) -> dict[str, NDArray[np.float64]]:
    sets = {one.name: one.prompts for one in view.experiments}
    records = view.result.read_records(columns=["experiment", "prompt_id", "prompt_tokens"])
    known = records[records["prompt_tokens"].notna()]
    known = known.assign(prompts=known["experiment"].map(sets)).drop_duplicates(["prompts", "prompt_id"])
    return {
        name: rows["prompt_tokens"].to_numpy(dtype="float64")
        for name in view.prompt_sets
        if len(rows := known[known["prompts"] == name])
    }


_HATCHES = ("", "//", "\\\\", "--", "xx", "||", "++")


def _sets(names: Sequence[str]) -> list[Series]:
    """The prompt sets, where there are several."""
    return [Series(name, mark(i), "area", _HATCHES[i % 7]) for i, name in enumerate(names)] if len(names) > 1 else []


def _histogram(values: NDArray[np.float64], edges: Sequence[float]) -> NDArray[np.int64]:
    import numpy as np  # noqa: PLC0415 - heavy

    return np.histogram(values, edges)[0]


def _draw_lengths(axes: Axes, *, counts: Mapping[str, NDArray[np.int64]], edges: Sequence[float]) -> None:
    import numpy as np  # noqa: PLC0415 - heavy
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415 - heavy

    below = np.zeros(len(edges) - 1)
    lefts, widths = np.array(edges[:-1]), np.diff(edges)
    for index, row in enumerate(counts.values()):
        some = row > 0
        axes.bar(
            lefts[some], row[some], widths[some], below[some], align="edge", color=mark(index).colour, edgecolor=PAPER,
            linewidth=0.5, hatch=_HATCHES[index % 7], hatch_linewidth=0.5,
        )  # fmt: skip
        below += row
    axes.set_xlabel("Prompt length (tokens)")
    axes.set_ylabel("Prompts")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(visible=False, axis="x")


def latency_distribution(view: View) -> Chart:
    """The cumulative distribution of the headline latency."""
    return _by_load(view, "latency", title="Latency", axis="Latency")


def ttft_distribution(view: View) -> Chart:
    """The cumulative distribution of the time to first token."""
    return _by_load(view, "ttft", title="Time to first token (TTFT)", axis="TTFT")


def itl_distribution(view: View) -> Chart:
    """The cumulative distribution of the gaps between arrivals."""
    return _by_load(view, "itl", title="Inter-token latency (ITL)", axis="ITL")


def _by_load(view: View, metric: str, *, title: str, axis: str) -> Chart:
    """One panel a group, one line a load."""
    steps: Steps = {one.name: cumulative(getattr(one, metric)) for one in view.experiments}
    scale = Scale.of_seconds(times for times, _ in steps.values())
    panels, drawn = [], []
    for group, experiments in view.groups():
        known = [one for one in experiments if len(steps[one.name][0])]
        if known:
            draw = partial(_draw_cumulative, view=view, experiments=known, steps=steps, scale=scale, axis=axis)
            loads = dict.fromkeys(one.load for one in known)
            series = [Series(load, mark(view.loads.index(load)), "line") for load in loads]
            panels.append(Panel(view.label(group), draw, series))
            drawn += known
    return Chart(
        name=f"{metric}_ecdf",
        title=f"{title}: cumulative distribution",
        caption=f"The share of {'gaps between arrivals' if metric == 'itl' else 'requests'} that took no longer than so much; "
        "the further to the left a line, the faster. The dotted lines are the median and the 95th percentile.",
        panels=panels,
        numbers=_cumulative_numbers(drawn, steps),
        reason=None if panels else _why_nothing(view, metric),
    )


def _why_nothing(view: View, metric: str) -> str:
    reasons = dict.fromkeys(reason for one in view.experiments if (reason := one.reasons.get(metric)) is not None)
    return "; ".join(reasons) or "there is no experiment"


def _draw_cumulative(
    axes: Axes, *, view: View, experiments: Sequence[Experiment], steps: Steps, scale: Scale, axis: str
) -> None:
    for experiment in experiments:
        look = mark(view.loads.index(experiment.load))
        times, shares = steps[experiment.name]
        axes.step(times * scale.factor, shares, where="post", color=look.colour, linestyle=look.line)
    for share in (0.5, 0.95):
        axes.axhline(share, color=INK, linewidth=0.8, linestyle=":", zorder=1)
    scale.apply(axes, "x", axis)
    axes.set_ylim(0, 1.01)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 0.95], ["0", "25%", "50%", "75%", "95%"])
    axes.set_ylabel("Share")


def _cumulative_numbers(experiments: Sequence[Experiment], steps: Steps) -> DataFrame:
    import pandas as pd  # noqa: PLC0415 - heavy

    columns = ["experiment", "deployment", "prompts", "load", "seconds", "share"]
    parts = []
    for one in experiments:
        times, shares = steps[one.name]
        about = {"experiment": one.name, "deployment": one.deployment, "prompts": one.prompts, "load": one.load}
        parts.append(pd.DataFrame({**about, "seconds": times, "share": shares}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=columns)
