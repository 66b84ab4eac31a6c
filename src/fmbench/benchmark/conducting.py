"""Deploy concurrently, measure one experiment at a time, take down each endpoint after its last one."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from anyio import CancelScope, Event, Lock, create_task_group, get_cancelled_exc_class, sleep, to_thread
from anyio.lowlevel import checkpoint

from fmbench.benchmark.cases import Asked, Deployment, PromptSet, check_prompts
from fmbench.benchmark.drawing import Drawn, check_sources, draw
from fmbench.benchmark.endpoints_file import write_endpoints
from fmbench.benchmark.limits import Limits, standing_usd
from fmbench.benchmark.measuring import Payloads, Seat, Settings, measure_experiment, planned_requests
from fmbench.benchmark.portability import open_team
from fmbench.benchmark.progress import Progress
from fmbench.benchmark.run_file import RunFile
from fmbench.benchmark.sittings import Recorded
from fmbench.benchmark.undoing import note_standing, take_down, take_down_earlier
from fmbench.engine.flight import Assignment, record_of_unsent
from fmbench.errors import ConfigError, FmbenchError
from fmbench.interfaces import Endpoint, Invoker, Run
from fmbench.journal import Entries, Journal, Sitting, spent_usd, tags_of
from fmbench.load import conversing
from fmbench.recording import RECORDS, RecordLog
from fmbench.types import Record

__all__ = ["Conductor"]


class Conductor:
    """One run, from the first deployment to the last teardown."""

    def __init__(
        self,
        asked: Sequence[Asked],
        *,
        run_file: RunFile,
        recorded: Recorded,
        settings: Settings,
        limits: Limits,
        on_record: Callable[[Record], None] | None,
        on_progress: Callable[[Progress], None] | None,
    ) -> None:
        self._asked = asked
        self._file = run_file
        self._recorded = recorded
        self._settings = settings
        self._limits = limits
        self._on_record = on_record
        self._on_progress = on_progress
        self._payloads = Payloads(run_file.directory / "payload.jsonl")
        self._drawn: dict[tuple[PromptSet, str], Drawn] = {}
        self._exclusive: dict[Any, Lock] = {}
        self._fatal: FmbenchError | None = None
        self._token_usd = 0.0
        self._created: list[Entries] = []
        self._reached: str | None = None
        self.used: dict[str, Drawn] = {}
        """The prompts of each experiment that got as far as having some."""

    async def conduct(self) -> None:
        """Run it all.

        Raises:
            ConfigError: what could not be known before: no prompt left, an endpoint that nobody speaks to.
        """
        # Made here and not before: they belong to the loop that waits for them.
        self._first_drawn = Event()
        self._measuring = Lock()
        self._payloads.take_up()
        self._sitting = self._money()
        self._log = RecordLog(self._file.directory / RECORDS)
        try:
            # The workers' task group stands outside: what they refuse is the user's to mend, and is raised as it is.
            async with open_team(self._asked, self._settings.workers) as self._team, create_task_group() as group:
                group.start_soon(self._watch_limits, group.cancel_scope)
                await self._work()
                group.cancel_scope.cancel()
            if self._reached is not None:
                self._leave_out(self._reached)
        finally:
            self._log.close()
            note_standing(self._sitting.journal, self._file)
            self._sitting.over()
            self._file.document["prompt_sets"] = [drawn.as_json() for drawn in dict.fromkeys(self.used.values())]
            write_endpoints(self._file)
        if self._fatal is not None:
            raise self._fatal

    def _money(self) -> Sitting:
        """What is written down of everything that is created, and how long it may stand."""
        folder, run_id = self._file.directory, self._file.document["run_id"]
        self._spent_before = spent_usd(Journal(folder).entries(), time.time())
        deadline = self._limits.deadline(self._asked)
        tags = tags_of(run_id, deadline)
        return Sitting(folder, run=run_id, tags=tags, deadline=deadline, max_usd=self._limits.max_usd)

    async def _work(self) -> None:
        try:
            await to_thread.run_sync(check_sources, [(one.prompts, _tokenizer(one, None)) for one in self._asked])
        except FmbenchError as error:
            self._fatal = error
            return
        async with create_task_group() as group:
            self._group = group
            group.start_soon(self._draw_known)
            await take_down_earlier(self._sitting.journal, self._file)  # first: a new thing may need an earlier one's name
            for deployment in dict.fromkeys(one.deployment for one in self._asked):
                if open_ones := [one for one in self._asked if one.deployment is deployment and self._is_open(one)]:
                    group.start_soon(self._deployment, deployment, open_ones)

    def _is_open(self, one: Asked) -> bool:
        return self._file.experiment(one.name)["status"] in {"pending", "partial"}

    def _give_up(self, error: FmbenchError) -> None:
        """End the run for what the user must mend; everything is taken down first."""
        self._fatal = self._fatal or error
        self._group.cancel_scope.cancel()

    def tell(self, event: Any, deployment: str | None = None, **more: Any) -> None:
        """Pass a piece of news on to the caller."""
        if self._on_progress is None:
            return
        try:
            self._on_progress(Progress(event, deployment, **more))
        except Exception as error:  # noqa: BLE001 - the caller's own function must not end the run; it is told once
            self._on_progress = None
            self._file.problem("on_progress", type(error).__name__, str(error))

    # Prompts.

    async def _draw_known(self) -> None:
        """Draw, while endpoints come up, what needs no endpoint to be counted."""
        self.tell("prompts")
        try:
            for one in self._asked:
                tokenizer = _tokenizer(one, None)
                if tokenizer is None and getattr(one.prompts.source, "needs_tokenizer", False):
                    continue  # the endpoint may bring one
                drawn = await self._prompts(one, tokenizer)
                check_prompts(one, drawn.prompts)  # what they lack must be said before anything is sent
                self.used[one.name] = drawn
        except FmbenchError as error:
            self._give_up(error)
            return
        self._first_drawn.set()

    async def _prompts(self, one: Asked, tokenizer: Any) -> Drawn:
        key = (one.prompts, repr(tokenizer))
        if key not in self._drawn:
            self._drawn[key] = await to_thread.run_sync(draw, one.prompts, tokenizer)
        return self._drawn[key]

    # Deployments.

    async def _deployment(self, deployment: Deployment, experiments: Sequence[Asked]) -> None:
        """Enter and leave the deployer's context in this one task; a failure is a value."""
        name, entry = deployment.name, self._file.deployment(deployment.name)
        created = self._sitting.of(deployment.deployer, name)
        self._created.append(created)
        async with self._turn(deployment.exclusive):
            self.tell("deploying", name, message=_place(entry["facts"]))
            _start_again(entry, self._elapsed())
            try:
                async with deployment.deployer.deploy(self._run(created)) as endpoint:
                    await self._use(endpoint, deployment, experiments, entry)
                    self.tell("deleting", name)
            except get_cancelled_exc_class():
                raise
            except Exception as error:  # noqa: BLE001 - whatever a deployer raises, the others go on and the result says it
                await self._failed(deployment, experiments, entry, _innermost(error))
            finally:
                await take_down(created, deployment.deployer, self._file)
                entry["ended_ns"] = self._elapsed()
                self._file.save()
            self.tell("deleted", name)

    def _run(self, created: Entries) -> Run:
        return Run(
            name=self._file.document["name"],
            directory=self._file.directory,
            tags=self._sitting.tags,
            deadline=self._sitting.deadline,
            entries=created,
        )

    @asynccontextmanager
    async def _turn(self, exclusive: Any) -> AsyncGenerator[None]:
        if exclusive is None:
            yield
            return
        async with self._exclusive.setdefault(exclusive, Lock()):
            yield

    async def _use(
        self, endpoint: Endpoint, deployment: Deployment, experiments: Sequence[Asked], entry: dict[str, Any]
    ) -> None:
        shown = {"name": endpoint.name, "url": endpoint.url, "model": endpoint.model, "facts": dict(endpoint.facts)}
        entry |= {"status": "up", "error": None, "endpoint": shown, "ready_ns": self._elapsed()}
        if endpoint.facts.get("simulated"):
            self._file.document["simulated"] = True  # some can tell only once they are up
        self._file.save()
        self.tell("deployed", deployment.name)
        await self._first_drawn.wait()
        async with self._measuring:
            await self._experiments(experiments, endpoint)

    async def _experiments(self, experiments: Sequence[Asked], endpoint: Endpoint) -> None:
        for one in experiments:
            await self._experiment(one, endpoint)

    async def _failed(
        self, deployment: Deployment, experiments: Sequence[Asked], entry: dict[str, Any], error: BaseException
    ) -> None:
        said = {"kind": type(error).__name__, "message": _one_line(error)}
        if entry["status"] == "up":
            self._file.problem(f"taking down {deployment.name}", **said)
            return
        entry |= {"status": "failed", "error": said}
        self.tell("deploy_failed", deployment.name, message=said["message"])
        await self._first_drawn.wait()
        for one in experiments:
            self._not_sent(one, f"{deployment.name} did not come up: {said['message']}")

    # Experiments.

    async def _experiment(self, one: Asked, endpoint: Endpoint) -> None:
        entry = self._file.experiment(one.name)
        try:
            drawn = await self._prompts(one, _tokenizer(one, endpoint))
        except FmbenchError as error:
            self._give_up(error)
            await checkpoint()
            return
        self.used[one.name] = drawn
        invoker = one.invoker or endpoint.invoker or getattr(one.deployment.deployer, "invoker", None)
        if not isinstance(invoker, Invoker):
            self._give_up(ConfigError(f"{one.name}: nothing says how to speak to {endpoint.name}: give invoker="))
            await checkpoint()
            return
        try:
            await self._measure(one, entry, endpoint, invoker, drawn)
        except get_cancelled_exc_class():
            entry["status"] = "partial"
            raise
        except Exception as error:  # noqa: BLE001 - connecting or encoding failed; the other experiments go on
            self._file.problem(one.name, type(_innermost(error)).__name__, _one_line(_innermost(error)))
            self._not_sent(one, _one_line(_innermost(error)))
        self._file.save()

    async def _measure(self, one: Asked, entry: dict[str, Any], endpoint: Endpoint, invoker: Invoker, drawn: Drawn) -> None:
        rate = dict(endpoint.facts)
        done = self._recorded.numbers(one.name)
        counts = {"done": len(done), "errors": 0}
        planned = planned_requests(one, drawn.prompts, self._settings.warmup)
        self.tell("measuring", one.deployment.name, experiment=one.name, total=planned, done=counts["done"])

        def on_records(batch: Sequence[Any]) -> None:
            counts["done"] += len(batch)
            counts["errors"] += sum(record.status != "ok" for record in batch)
            self._token_usd += sum(_token_usd(record, rate) for record in batch)
            if batch:
                self._pass_on(batch)
                self.tell("progress", one.deployment.name, experiment=one.name, total=planned, **counts)

        seat = Seat(
            endpoint=endpoint, invoker=invoker, settings=self._settings, log=self._log,
            log_path=self._file.directory / RECORDS, payloads=self._payloads, team=self._team,
            on_records=on_records, whole_records=self._on_record is not None,
        )  # fmt: skip
        prefix, origin = self._prefix(one), self._file.origin_ns
        measured = await measure_experiment(one, entry, seat, drawn=drawn, id_prefix=prefix, origin_ns=origin, done=done)
        outcome = measured.outcome
        for said in measured.died:
            self._file.problem(one.name, "worker", said)
        if outcome.window is not None:
            entry["windows"].append(list(outcome.window))
        entry["planned"] = outcome.scheduled + len(done)
        entry |= (
            {"status": "measured", "reason": None}
            if outcome.stopped is None
            else {"status": "stopped", "reason": outcome.stopped}
        )
        self.tell("measured", one.deployment.name, experiment=one.name, total=planned, **counts)

    def _pass_on(self, batch: Sequence[Record]) -> None:
        if self._on_record is None:
            return
        try:
            for record in batch:
                self._on_record(record)
        except Exception as error:  # noqa: BLE001 - the caller's own function must not end the run; it is told once
            self._on_record = None
            self._file.problem("on_record", type(error).__name__, str(error))

    def _not_sent(self, one: Asked, reason: str) -> None:
        """Account for every request of an experiment that could not be measured."""
        entry = self._file.experiment(one.name)
        entry |= {"status": "not_sent", "reason": reason}
        drawn = self.used.get(one.name)
        done = self._recorded.numbers(one.name)
        records = [] if drawn is None else self._unsent(one, drawn, reason, done)
        self._log.append(records)
        entry["planned"] = len(records) + len(done)

    def _unsent(self, one: Asked, drawn: Drawn, reason: str, done: Collection[int]) -> list[Record]:
        if planned_requests(one, drawn.prompts, self._settings.warmup) is None:
            return []
        load = conversing(one.load, drawn.prompts)
        warmup, prompts = load.warmup(self._settings.warmup), load.arranged(drawn.prompts)
        self._file.experiment(one.name)["warmup"] = warmup
        assignment = Assignment(
            experiment=one.name, id_prefix=self._prefix(one), load=load, prompts=prompts, requests=(),
            warmup=warmup, origin_ns=self._file.origin_ns, estimate=len, max_new_tokens=one.parameters.max_new_tokens,
        )  # fmt: skip
        return [
            record_of_unsent(planned, assignment, reason)
            for stream in range(load.streams or 1)
            for planned in load.plan(prompts, warmup=warmup, stream=stream)
            if planned.number not in done
        ]

    def _prefix(self, one: Asked) -> str:
        return f"{self._file.document['run_id']}-{self._asked.index(one):03d}"

    # Time and money.

    def _elapsed(self) -> int:
        return self._file.now_ns()

    async def _watch_limits(self, scope: CancelScope) -> None:
        begun = time.perf_counter()
        while self._limits.max_hours is not None or self._limits.max_usd is not None:
            await sleep(0.5)
            hours = (time.perf_counter() - begun) / 3600
            self._reached = self._limits.reached(hours=hours, usd=self._spent_usd())
            if self._reached is not None:
                self._file.problem("limits", "limit", f"{self._reached}; what was not measured by then was left out")
                scope.cancel()
                return

    def _spent_usd(self) -> float:
        """By what was created, or by what endpoints are said to cost, whichever is more."""
        created = self._spent_before + sum(one.spent_usd() for one in self._created)
        return self._token_usd + max(created, standing_usd(self._asked, self._file))

    def _leave_out(self, reason: str) -> None:
        """Account for what a limit has kept from being measured."""
        for one in self._asked:
            entry = self._file.experiment(one.name)
            if entry["status"] == "pending":
                self._not_sent(one, reason)
            elif entry["status"] == "partial":
                entry["reason"] = reason


def _tokenizer(one: Asked, endpoint: Endpoint | None) -> Any:
    if one.tokenizer is not None:
        return one.tokenizer
    own = getattr(one.deployment.deployer, "tokenizer", None)
    return own if own is not None or endpoint is None else endpoint.tokenizer


def _place(facts: Mapping[str, Any]) -> str | None:
    """Where it is deployed and as whom, where that is known before."""
    return ", ".join(f"{name} {facts[name]}" for name in ("region", "role") if facts.get(name)) or None


def _start_again(entry: dict[str, Any], at: int) -> None:
    if entry["started_ns"] is not None:
        entry["earlier"].append({name: entry[name] for name in ("started_ns", "ready_ns", "ended_ns")})
    entry |= {"status": "pending", "error": None, "started_ns": at, "ready_ns": None, "ended_ns": None}


def _token_usd(record: Record, facts: dict[str, Any]) -> float:
    prices = facts.get("usd_per_million_input_tokens") or 0.0, facts.get("usd_per_million_output_tokens") or 0.0
    return ((record.prompt_tokens or 0) * prices[0] + (record.completion_tokens or 0) * prices[1]) / 1e6


def _innermost(error: BaseException) -> BaseException:
    """The one error that a task group wrapped."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if isinstance(error, FmbenchError) else f"{type(error).__name__}: {text}"
