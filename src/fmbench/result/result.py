"""Result: all that a run measured, made from its folder and from nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, overload

from fmbench.advice import SLO, Advice, AdviceTable, Comparison, advise
from fmbench.errors import ConfigError, FmbenchError, ReportError, RunDirectoryError
from fmbench.metrics import Figure
from fmbench.plugins import REPORTERS
from fmbench.recording import schema
from fmbench.result.cost import Cost, cost_of
from fmbench.result.deployment import Deployment
from fmbench.result.experiment import Experiment
from fmbench.result.folder import LISTS, RunFolder
from fmbench.result.page import result_html
from fmbench.result.repricing import Price, repriced
from fmbench.result.summary import summary_frame
from fmbench.validity import Check, Verdict, worst

if TYPE_CHECKING:
    import os

    import pandas as pd

__all__ = ["Result"]


class _Reporter(Protocol):
    """``fmbench.Reporter``, as seen from below it."""

    def report(self, result: Result, directory: Path) -> Sequence[Path]: ...


class Result:
    """A run, as its folder tells it: ``Result.load(directory)`` is what the live run returned.

    Every figure is a function of ``records.arrow`` and of the windows in ``run.json``.
    """

    def __init__(self, folder: RunFolder) -> None:
        document = folder.document
        self._folder = folder
        self.directory: Path = folder.directory
        """The run's folder."""
        self.name: str = document["name"]
        self.state: str = document["state"]
        """``finished``, ``cancelled``, or ``running``: it goes on, or it was killed."""
        self.simulated: bool = bool(document.get("simulated"))
        self.started_at: str = document["started_at"]
        """Wall-clock time, for people."""
        self.machine: Mapping[str, Any] = document["machine"]
        self.versions: Mapping[str, Any] = document["versions"]
        self.configuration: Mapping[str, Any] = document["configuration"]
        self.repriced: tuple[Mapping[str, Any], ...] = tuple(document.get("repriced") or ())
        """How prices were changed after the run, each time: ``prices``, ``multiplier``, ``region``."""
        self.slo: SLO | None = SLO(**document["slo"]) if document.get("slo") else None
        self.prompt_sets: tuple[Mapping[str, Any], ...] = tuple(document.get("prompt_sets") or ())
        self.problems: tuple[Mapping[str, Any], ...] = tuple(document.get("problems") or ())
        """What went wrong without ending the run: ``where``, ``kind``, ``message``."""
        self.deployments: tuple[Deployment, ...] = tuple(map(Deployment.of, document["deployments"]))
        self.experiments: tuple[Experiment, ...] = self._experiments(document["experiments"])
        """In the order of the cases."""

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Result:
        """Read a run's folder; one that was killed too (``state`` is ``running`` then).

        Raises:
            RunDirectoryError: the folder is missing, holds no run, is damaged, or was written in another format.
        """
        folder = RunFolder(Path(directory))
        try:
            return cls(folder)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            told = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise RunDirectoryError(f"{folder.directory / 'run.json'} is damaged: {told}") from error

    def reread(self) -> Result:
        """The same run with what ``run.json`` says by now. Figures that were made are kept: a finished run's do not change."""
        again = Result.load(self.directory)
        for mine, other in zip(self.experiments, again.experiments, strict=True):
            other.take_over(mine)
        return again

    def __repr__(self) -> str:
        simulated = ", simulated" if self.simulated else ""
        return (
            f"<Result {self.name!r} in {str(self.directory)!r}: {self.state}{simulated}, {len(self.experiments)} experiments>"
        )

    def _repr_html_(self) -> str:
        return result_html(self)

    @cached_property
    def records(self) -> pd.DataFrame:
        """One row a request, in the order in which they finished, without the columns that hold a value for each arrival."""
        return self.read_records()

    def read_records(self, *, arrivals: bool = False, columns: Sequence[str] | None = None) -> pd.DataFrame:
        """Read the records afresh.

        Args:
            arrivals: With ``arrivals_ns``, ``arrival_tokens`` and ``arrival_coalesced``: one number a token, so much memory.
            columns: Only these: of a great run, all of them take a kilobyte a request.
        """
        left_out = () if arrivals else LISTS
        kept = columns if columns is not None else [name for name in schema().names if name not in left_out]
        frame: pd.DataFrame = self._folder.table(columns=kept).to_pandas()
        return frame

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row an experiment, units in the columns' names; ``fmbench.result.SUMMARY`` tells what each holds."""
        return summary_frame(self.experiments)

    @cached_property
    def validity(self) -> tuple[Check, ...]:
        """May the numbers be believed? The run's own check, then those of each experiment."""
        from fmbench.validity.checks import shared_host  # noqa: PLC0415 - numpy starts threads

        up = [deployment.name for deployment in self.deployments if deployment.url is not None]
        run = [shared_host(up, [name for name in up if name in self._here])] if up else []
        return (*run, *(check for experiment in self.experiments for check in experiment.validity))

    @property
    def verdict(self) -> Verdict:
        """The worst of them."""
        return worst(self.validity)

    @cached_property
    def cost(self) -> Cost:
        """What the run cost, with and without start-up."""
        return cost_of(self.deployments, self._usd_of_tokens)

    @overload
    def advise(self, slo: SLO | None = None, *, requests_per_minute: float | None = None) -> Advice: ...
    @overload
    def advise(self, slo: SLO | None = None, *, requests_per_minute: Sequence[float]) -> AdviceTable: ...
    def advise(
        self, slo: SLO | None = None, *, requests_per_minute: float | Sequence[float] | None = None
    ) -> Advice | AdviceTable:
        """Say which measured configuration is the cheapest that keeps to an SLO, and how many instances serve a rate.

        Args:
            slo: The limits; the run's own where none are given.
            requests_per_minute: The rate to be served; a list of rates gives a table.

        Raises:
            ConfigError: there is no SLO, or a rate is not above 0.
        """
        wanted = slo or self.slo
        if wanted is None:
            raise ConfigError("slo: nothing says what is fast enough; give one, such as SLO(latency_p95_seconds=5)")
        if requests_per_minute is None or isinstance(requests_per_minute, int | float):
            return advise(self.experiments, wanted, requests_per_minute=requests_per_minute, simulated=self.simulated)
        return advise(self.experiments, wanted, requests_per_minute=requests_per_minute, simulated=self.simulated)

    def with_prices(
        self, prices: Mapping[str, Price] | None = None, *, multiplier: float = 1.0, region: str | None = None
    ) -> Result:
        """The same measurement at other prices: costs, advice and summary are made anew, and nothing is measured or written.

        Args:
            prices: By deployment, or by instance type; a deployment's own wins. Each is USD an hour of one instance, or
                ``{"usd_per_hour": …}``, or both of ``usd_per_million_input_tokens`` and ``usd_per_million_output_tokens``, or
                ``None`` where it is not known. It takes the place of all that was known of that price.
            multiplier: What every price is multiplied with: 0.64 for a savings plan that takes 36 % off.
            region: Where the endpoints would stand. Prices that ``prices`` does not name are then not known.

        Raises:
            ConfigError: a name that this run does not have, or what cannot be a price.
        """
        document = repriced(self._folder.document, prices or {}, multiplier=multiplier, region=region)
        return Result(self._folder.told_otherwise(document))

    def compare(
        self,
        other: Result | Sequence[Result],
        *,
        also: Sequence[Result] = (),
        metrics: Sequence[str] | None = None,
        margin: float = 0.0,
        confidence: float = 0.95,
        seed: int = 0,
        unequal: bool = False,
    ) -> Comparison:
        """Compare this run, the baseline, with another of the same workloads, the candidate.

        Experiments are paired by name, else by their workload. Each difference has an interval and a verdict: ``worse``,
        ``better`` or ``no evidence``. With one run a side, chance is judged among requests; with several, among runs.

        Args:
            other: The candidate; several runs of it as a list.
            also: Further runs of the baseline.
            metrics: ``latency_p95``, ``ttft_mean``, ``tps`` …; the usual ones unless given.
            margin: A change counts where it is shown to be more than this: 0.05 is 5 %.
            confidence: Of intervals; and that not one ``worse`` or ``better`` of the whole comparison is false.
            seed: For the draws; the same seed gives the same comparison.
            unequal: Whether to compare workloads that differ; the comparison says in what.

        Raises:
            ConfigError: the workloads differ (it says in what), none is on both sides, or an option cannot be.
        """
        from fmbench.advice.comparing import Asked, compare  # noqa: PLC0415 - numpy starts threads
        from fmbench.result.observing import observed  # noqa: PLC0415 - numpy starts threads

        sides = (self, *also), (other,) if isinstance(other, Result) else tuple(other)
        one, two = ([observed(run) for run in side] for side in sides)
        asked = Asked(metrics, margin, confidence, seed, unequal)
        return compare(one, two, asked)

    def report(self, reporter: str | _Reporter, directory: str | os.PathLike[str] | None = None) -> Sequence[Path]:
        """Write a report.

        Args:
            reporter: A reporter, or the name of a registered one.
            directory: Where to; the run's folder unless given.

        Returns:
            What was written.

        Raises:
            PluginError: there is none of that name.
            ReportError: it failed; the run's own files are as they were.
        """
        writer = REPORTERS.load(reporter)() if isinstance(reporter, str) else reporter
        target = self.directory if directory is None else Path(directory)
        try:
            return tuple(Path(path) for path in writer.report(self, target))
        except FmbenchError:
            raise
        except Exception as error:
            name = reporter if isinstance(reporter, str) else type(reporter).__name__
            raise ReportError(f"reporter {name} failed: {type(error).__name__}: {error}") from error

    @cached_property
    def _here(self) -> frozenset[str]:
        """The deployments that share the measuring machine."""
        from fmbench.validity.checks import on_this_host  # noqa: PLC0415 - numpy starts threads

        return frozenset(one.name for one in self.deployments if one.url is not None and on_this_host(one.url))

    def _experiments(self, entries: Sequence[Mapping[str, Any]]) -> tuple[Experiment, ...]:
        by_name = {deployment.name: deployment for deployment in self.deployments}
        return tuple(
            Experiment.of(entry, by_name[entry["deployment"]], self._folder, shared_host=entry["deployment"] in self._here)
            for entry in entries
        )

    def _usd_of_tokens(self, deployment: Deployment) -> Figure:
        """What the successful requests to one endpoint cost, warm-up included."""
        from fmbench.metrics.money import usd_of_tokens  # noqa: PLC0415 - numpy starts threads

        dear = [
            usd_of_tokens(sample, deployment.prices, sample.among("status", "ok"))
            for experiment in self.experiments
            if experiment.deployment == deployment.name
            for sample in (experiment.sample(),)
        ]
        unknown = [figure for figure in dear if figure.value is None]
        return unknown[0] if unknown else Figure(sum(figure.value or 0.0 for figure in dear), "USD")
