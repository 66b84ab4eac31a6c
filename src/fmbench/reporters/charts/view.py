"""What the charts draw: a result's counted requests as one table, and the order and the names of what they differ in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from fmbench.reporters.wording import pairs

if TYPE_CHECKING:
    from pandas import DataFrame

    from fmbench import Experiment, Result

__all__ = ["Group", "View"]


class Group(NamedTuple):
    """What is drawn apart: a deployment, a prompt set and the parameters, over which the load is varied."""

    deployment: str
    prompts: str
    parameters: str


class View:
    """A result as the charts see it.

    Args:
        result: The result; it is only read.
    """

    def __init__(self, result: Result) -> None:
        self.result = result
        self.experiments: Sequence[Experiment] = result.experiments
        self.deployments: list[str] = list(dict.fromkeys(one.deployment for one in self.experiments))
        self.prompt_sets: list[str] = list(dict.fromkeys(one.prompts for one in self.experiments))
        self.parameters: list[str] = list(dict.fromkeys(self.parameters_of(one) for one in self.experiments))
        self.loads: list[str] = [one.load for one in sorted({one.load: one for one in self.experiments}.values(), key=_level)]

    @cached_property
    def _varied(self) -> list[str]:
        """The parameters in which experiments differ."""
        given = [one.parameters for one in self.experiments]
        names = dict.fromkeys(name for parameters in given for name in parameters)
        return [name for name in names if len({json.dumps(one.get(name), default=str) for one in given}) > 1]

    def parameters_of(self, experiment: Experiment) -> str:
        """The parameters that tell it from others; empty where all have the same."""
        return pairs({name: experiment.parameters.get(name, "default") for name in self._varied})

    def group_of(self, experiment: Experiment) -> Group:
        """The group that it belongs to."""
        return Group(experiment.deployment, experiment.prompts, self.parameters_of(experiment))

    def label(self, group: Group, *, without: str = "") -> str:
        """A group's name: only what tells it from the others of this result.

        Args:
            group: The group.
            without: A field that is told elsewhere, or does not matter.
        """
        several = {"deployment": self.deployments, "prompts": self.prompt_sets, "parameters": self.parameters}
        told = [getattr(group, field) for field, values in several.items() if len(values) > 1 and field != without]
        return " · ".join(told)

    def groups(self) -> Iterator[tuple[Group, list[Experiment]]]:
        """Each group with its experiments, by rising load."""
        grouped: dict[Group, list[Experiment]] = {}
        for experiment in sorted(self.experiments, key=_level):
            grouped.setdefault(self.group_of(experiment), []).append(experiment)
        for group in dict.fromkeys(map(self.group_of, self.experiments)):
            yield group, grouped[group]

    @cached_property
    def requests(self) -> DataFrame:
        """The requests that latencies stand on: succeeded, due in a window, no warm-up. One row each; times in seconds."""
        import pandas as pd  # noqa: PLC0415 - heavy

        records = self.result.read_records(columns=_READ)
        named = {one.name: one for one in self.experiments}
        parts = [_counted(rows, named[str(name)], self) for name, rows in records.groupby("experiment", sort=False)]
        kept = [part for part in parts if len(part)]
        return pd.concat(kept, ignore_index=True) if kept else pd.DataFrame(columns=list(_COLUMNS))


_READ = (
    *("experiment", "prompt_id", "prompt_tokens", "phase", "status"),
    *("due_ns", "sent_ns", "last_token_ns", "last_byte_ns"),
)
_COLUMNS = ("experiment", "deployment", "prompts", "parameters", "load", "prompt_id", "prompt_tokens", "latency_seconds")


def _level(experiment: Experiment) -> tuple[bool, float, str]:
    """Closed loads by their concurrency, then open ones by their rate."""
    opened = experiment.concurrency is None
    return opened, experiment.per_second or 0.0 if opened else experiment.concurrency or 0.0, experiment.load


def _counted(rows: DataFrame, experiment: Experiment, view: View) -> DataFrame:
    import pandas as pd  # noqa: PLC0415 - heavy

    due = pd.Series(data=False, index=rows.index)
    for start, end in experiment.windows:
        due |= rows["due_ns"].between(start, end)
    mine = rows[due & rows["phase"].isin(["measured", "drain"]) & (rows["status"] == "ok")]
    begun = mine["due_ns"] if experiment.concurrency is None else mine["sent_ns"]
    ended = mine["last_token_ns"].fillna(mine["last_byte_ns"])
    group = view.group_of(experiment)
    return pd.DataFrame(
        {
            "experiment": experiment.name,
            **group._asdict(),
            "load": experiment.load,
            "prompt_id": mine["prompt_id"],
            "prompt_tokens": mine["prompt_tokens"].astype("float64"),
            "latency_seconds": (ended - begun).astype("float64") / 1e9,
        }
    )
