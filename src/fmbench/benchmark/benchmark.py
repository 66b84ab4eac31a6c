"""``Benchmark``: what to deploy, what to send, how; and running it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fmbench import plugins
from fmbench.advice import SLO, Capacity
from fmbench.benchmark.capacity import capacity_run, capacity_thread
from fmbench.benchmark.cases import Asked, Case, multiply, name_cases
from fmbench.benchmark.concluding import conclude
from fmbench.benchmark.conducting import Conductor
from fmbench.benchmark.describing import describe
from fmbench.benchmark.limits import Limits
from fmbench.benchmark.measuring import Settings
from fmbench.benchmark.own_thread import OwnThread
from fmbench.benchmark.planning import Plan, hourly_usd, plan
from fmbench.benchmark.portability import portable_parts
from fmbench.benchmark.progress import Progress
from fmbench.benchmark.run_file import RunFile
from fmbench.benchmark.searching import Wanted, hunted, kind_of
from fmbench.benchmark.sittings import Recorded
from fmbench.errors import ConfigError
from fmbench.interfaces import Deployer, Invoker, PromptSource, Reporter
from fmbench.journal import is_reviving
from fmbench.load import Concurrency, ConstantRate, Load, Poisson
from fmbench.result import Result
from fmbench.types import Parameters, Prompt, Record
from fmbench.workers import inside_a_worker

__all__ = ["Benchmark"]

Prompts = PromptSource | Sequence[Prompt] | str
Over = type[Concurrency | Poisson | ConstantRate] | str
Several = Mapping[str, Prompts] | Sequence[Prompts]


class Benchmark:
    """Deploy candidates, drive each with your prompts, delete what was deployed, and say what was measured.

    Give either lists, which are multiplied out, or ``cases``. Every adapter may be an object or a registered name.

    Args:
        deployers: Brings endpoints up; one or a list. Equal ones are deployed once.
        prompts: One source, a list of sources, ``{name: source}``, or a list of ``Prompt``.
        loads: One or a list.
        cases: The general form: experiments one by one, instead of the three lists.
        parameters: How the models generate; one, or a list to compare.
        invoker: Speaks the endpoints' protocol, where neither the case nor the endpoint says.
        tokenizer: A tokenizer's folder, or a ``Tokenizer``; counts prompts, and replies of servers that do not count.
        reporters: What to write beside the raw files, after everything is taken down.
        slo: What the headline answer and the report hold results against.
        workers: How many processes measure. With more than one, the invoker, the prompts and the endpoint are pickled.
        warmup: Requests of each experiment that go first and do not count; ``None``: one for each stream of a closed load,
            ten for an open one.
        request_timeout_seconds: When a request is given up.
        drain_seconds: How long, after the end of sending, what is in flight is awaited before it is cancelled.
        stop_on_errors: An experiment whose first so many requests all fail stops.
        max_usd: The run ends when it has cost this much.
        max_hours: The run ends after so long.
        keep_text: Whether replies' texts are written down.
        columns: More columns for ``results.csv``: dotted paths into ``endpoints.json``.
        name: What the run is called.

    Raises:
        ConfigError: parts are missing, of the wrong kind, or do not fit together.
    """

    def __init__(
        self,
        *,
        deployers: Deployer | str | Sequence[Deployer | str] | None = None,
        prompts: Prompts | Several | None = None,
        loads: Load | Sequence[Load] | None = None,
        cases: Sequence[Case] | None = None,
        parameters: Parameters | Sequence[Parameters] | None = None,
        invoker: Invoker | str | None = None,
        tokenizer: Any = None,
        reporters: Reporter | str | Sequence[Reporter | str] = (),
        slo: SLO | None = None,
        workers: int = 1,
        warmup: int | None = None,
        request_timeout_seconds: float = 120.0,
        drain_seconds: float = 30.0,
        stop_on_errors: int = 20,
        max_usd: float | None = None,
        max_hours: float | None = None,
        keep_text: bool = True,
        columns: Sequence[str] = (),
        name: str | None = None,
    ) -> None:
        names: dict[int, str] = {}
        if cases is None:
            wanted, names = multiply(deployers=deployers, prompts=prompts, loads=loads, parameters=parameters or Parameters())
        elif any(part is not None for part in (deployers, prompts, loads, parameters)):
            raise ConfigError("give either cases, or deployers, prompts, loads and parameters")
        else:
            wanted = list(cases)
        self.name: str = name or "benchmark"
        self.slo = slo
        self._asked: tuple[Asked, ...] = name_cases(wanted, names, invoker=invoker, tokenizer=tokenizer)
        self._reporters = _reporters(reporters)
        self._columns = tuple(columns)
        self._settings = Settings(
            warmup=_at_least("warmup", warmup, 0),
            request_timeout_seconds=_above_zero("request_timeout_seconds", request_timeout_seconds),
            drain_seconds=_at_least("drain_seconds", drain_seconds, 0),
            stop_on_errors=_at_least("stop_on_errors", stop_on_errors, 1),
            keep_text=keep_text,
            workers=_at_least("workers", workers, 1),
        )
        self._limits = Limits(
            max_hours=None if max_hours is None else _above_zero("max_hours", max_hours),
            max_usd=None if max_usd is None else _above_zero("max_usd", max_usd),
        )
        self._refuse_unknown_prices()
        if workers > 1:
            portable_parts(self._asked)

    def plan(self) -> Plan:
        """Tell what would be done, for how long at most and at what most cost. Nothing is touched."""
        settings = self._settings
        return plan(
            self._asked,
            warmup=settings.warmup,
            timeout=settings.request_timeout_seconds,
            drain=settings.drain_seconds,
            max_usd=self._limits.max_usd,
            max_hours=self._limits.max_hours,
        )

    def run(
        self,
        directory: str | Path,
        *,
        resume: bool = False,
        on_record: Callable[[Record], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Result:
        """Run it all, in a thread of its own, and wait; works inside a running event loop too.

        Args:
            directory: Where to write; empty or absent, or, with ``resume``, an unfinished run's.
            resume: Go on with an unfinished run: only what has no record is sent.
            on_record: Told of each request, soon after it ended, in fmbench's thread.
            on_progress: Told how the run goes, in fmbench's thread.

        Raises:
            RunDirectoryError: the folder cannot be used.
            ConfigError: what could not be known before: no prompt left, an endpoint nobody speaks to.
        """
        return self._thread(directory, resume, on_record, on_progress).run()

    async def run_async(
        self,
        directory: str | Path,
        *,
        resume: bool = False,
        on_record: Callable[[Record], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Result:
        """The same as ``run``, awaited, on asyncio or trio; cancelling the task cancels the run and waits for its teardown."""
        return await self._thread(directory, resume, on_record, on_progress).run_async()

    def find_capacity(
        self,
        slo: SLO | None = None,
        *,
        over: Over = Concurrency,
        directory: str | Path,
        start: float | None = None,
        most: float | None = None,
        tolerance: float = 0.05,
        confidence: float = 0.95,
        max_requests: int = 100_000,
        resume: bool = False,
        on_record: Callable[[Record], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Capacity:
        """Find the highest load that keeps to an SLO, for each deployment, prompt set and set of parameters.

        Loads are doubled, bisected, then tried on both sides of where the SLO breaks until the interval of it is narrow,
        or a limit ends the search. Each probe is an experiment; endpoints stay up throughout. The benchmark's loads are unused.

        Args:
            slo: What has to hold; the benchmark's own by default. Failures count against every percentile.
            over: What is raised: ``Concurrency``, ``Poisson`` or ``ConstantRate``, or one of their names.
            directory: Where to write; empty or absent, or, with ``resume``, an unfinished search's.
            start: The first load; by default concurrency 1, or half the rate that one request at a time reaches.
            most: The highest load to try.
            tolerance: How far the interval may reach, as a share of the answer; for a concurrency, one is near enough.
            confidence: The interval's probability.
            max_requests: The most measured requests for one combination.
            resume: Go on with an unfinished search: what was measured is not measured again.
            on_record: As for ``run``.
            on_progress: As for ``run``.

        Raises:
            ConfigError: there is no SLO, or an argument is out of its range.
        """
        wanted = self._wanted(
            slo, over, start=start, most=most, tolerance=tolerance, confidence=confidence, max_requests=max_requests
        )
        return self._searching(wanted, directory, resume, on_record, on_progress).run()

    async def find_capacity_async(
        self,
        slo: SLO | None = None,
        *,
        over: Over = Concurrency,
        directory: str | Path,
        start: float | None = None,
        most: float | None = None,
        tolerance: float = 0.05,
        confidence: float = 0.95,
        max_requests: int = 100_000,
        resume: bool = False,
        on_record: Callable[[Record], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> Capacity:
        """The same as ``find_capacity``, awaited, as ``run_async`` is."""
        wanted = self._wanted(
            slo, over, start=start, most=most, tolerance=tolerance, confidence=confidence, max_requests=max_requests
        )
        return await self._searching(wanted, directory, resume, on_record, on_progress).run_async()

    def _wanted(self, slo: SLO | None, over: Over, **how: Any) -> Wanted:
        held = slo or self.slo
        if held is None:
            raise ConfigError("find_capacity needs an SLO, such as SLO(latency_p95_seconds=5)")
        wanted = Wanted(slo=held, kind=kind_of(over), **how)
        wanted.search(1.0)  # what is out of its range is said before anything is deployed
        return wanted

    def _searching(
        self,
        wanted: Wanted,
        directory: str | Path,
        resume: bool,
        on_record: Callable[[Record], None] | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> OwnThread[Capacity]:
        folder, targets = Path(directory).expanduser(), hunted(self._asked)
        configuration = self._configuration() | {"slo": wanted.slo.as_dict()}
        return capacity_thread(
            capacity_run(folder, targets, wanted, name=self.name, configuration=configuration, resume=resume),
            targets,
            wanted,
            self._reporters,
            settings=self._settings,
            limits=self._limits,
            on_record=on_record,
            on_progress=on_progress,
        )

    def _thread(
        self,
        directory: str | Path,
        resume: bool,
        on_record: Callable[[Record], None] | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> OwnThread[Result]:
        if inside_a_worker() or is_reviving():
            raise ConfigError("this program begins a run when it is imported; put that under if __name__ == '__main__':")
        folder = Path(directory).expanduser()
        if resume:
            run_file = RunFile.take_up(folder, asked=self._asked)
        else:
            run_file = RunFile.begin(folder, name=self.name, asked=self._asked, configuration=self._configuration())
        recorded = Recorded(folder)
        for entry in run_file.document["experiments"]:
            recorded.recover_window(entry)
        conductor = Conductor(
            self._asked,
            run_file=run_file,
            recorded=recorded,
            settings=self._settings,
            limits=self._limits,
            on_record=on_record,
            on_progress=on_progress,
        )

        async def conduct() -> None:
            try:
                await conductor.conduct()
            except ConfigError:
                run_file.end("cancelled")
                if not Recorded(folder):
                    run_file.discard()
                raise

        def concluding(cancelled: bool) -> Result:
            return conclude(run_file, conductor, () if cancelled else self._reporters, cancelled=cancelled)

        return OwnThread(conduct, concluding, loop=run_file.document["machine"]["loop"])

    def _configuration(self) -> dict[str, Any]:
        settings, limits = self._settings, self._limits
        return {
            "cases": [
                {
                    "name": one.name,
                    "deployer": describe(one.deployment.deployer),
                    "prompts": None if isinstance(one.prompts.source, list | tuple) else describe(one.prompts.source),
                    "invoker": describe(one.invoker),
                    "tokenizer": describe(one.tokenizer),
                }
                for one in self._asked
            ],
            "reporters": [describe(reporter) for _, reporter in self._reporters],
            "slo": None if self.slo is None else self.slo.as_dict(),
            "workers": settings.workers,
            "warmup": settings.warmup,
            "request_timeout_seconds": settings.request_timeout_seconds,
            "drain_seconds": settings.drain_seconds,
            "stop_on_errors": settings.stop_on_errors,
            "max_usd": limits.max_usd,
            "max_hours": limits.max_hours,
            "keep_text": settings.keep_text,
            "columns": list(self._columns),
        }

    def _refuse_unknown_prices(self) -> None:
        if self._limits.max_usd is None or self._limits.max_hours is not None:
            return
        for deployment in dict.fromkeys(one.deployment for one in self._asked):
            facts = deployment.facts()
            if hourly_usd(facts) is None and facts.get("usd_per_million_output_tokens") is None:
                raise ConfigError(
                    f"max_usd: the price of {deployment.name} is not known: give it usd_per_hour=, or set max_hours"
                )


def _reporters(reporters: Any) -> tuple[tuple[str, Reporter], ...]:
    listed = list(reporters) if isinstance(reporters, list | tuple) else [reporters]
    named = []
    for part in listed:
        reporter = plugins.REPORTERS.load(part)() if isinstance(part, str) else part
        if isinstance(reporter, type) or not isinstance(reporter, Reporter):
            raise ConfigError(f"reporters: {reporter!r} is not a Reporter; see the documentation's page on adapters")
        named.append((part if isinstance(part, str) else type(reporter).__name__, reporter))
    return tuple(named)


def _at_least(name: str, value: Any, least: int) -> Any:
    if value is not None and value < least:
        raise ConfigError(f"{name} must be {least} or more, not {value}")
    return value


def _above_zero(name: str, value: float) -> float:
    if not value > 0:
        raise ConfigError(f"{name} must be above 0, not {value}")
    return value
