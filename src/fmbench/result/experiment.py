"""One case, as measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from fmbench.advice import SLO
from fmbench.metrics import Distribution, Figure, Prices
from fmbench.result.deployment import Deployment
from fmbench.result.folder import RunFolder
from fmbench.types import Facts
from fmbench.validity import Check, Verdict, worst

if TYPE_CHECKING:
    import pyarrow as pa

    from fmbench.metrics import Sample
    from fmbench.result.reading import Failure, Reading

__all__ = ["Experiment"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Experiment:
    """One case, as measured. Its figures are made from the records when the first of them is asked for.

    Args:
        name: Unique within the run.
        deployment: The deployment's name.
        prompts: The prompt set's name.
        parameters: The generation parameters that were given.
        load: The load, for people: ``concurrency 4``.
        load_fields: The load as JSON: its type and its fields.
        concurrency: A closed load's level; ``None`` for an open one.
        per_second: An open load's rate; ``None`` for a closed one.
        status: ``pending``, ``measured``, ``stopped`` (all of the first requests failed), ``partial`` or ``not_sent``.
        reason: Why it is not ``measured``.
        planned: How many requests were planned, warm-up included; ``None`` where only time ends them.
        warmup: How many of them are warm-up.
        windows: Each window's start and end, in nanoseconds from the run's start; a resumed experiment has several.
        clock: ``kernel`` (whether arrivals have kernel time stamps) and ``offset_step_ns``.
        cpu: What measuring cost: ``process_seconds``, ``wall_seconds``, ``pressure_percent``.
        queue: How long the measuring thread waited for a processor: ``waited_seconds``, ``ran_seconds``, ``timeslices``.
        loop_lag: How late its loop came: ``samples``, ``p50_ns``, ``p99_ns``, ``max_ns``, ``grain_ns``.
        workers: What became of each worker process, where there were several.
        facts: What is known of its endpoint.
    """

    name: str
    deployment: str
    prompts: str
    parameters: Mapping[str, Any]
    load: str
    load_fields: Mapping[str, Any]
    concurrency: int | None
    per_second: float | None
    status: str
    reason: str | None
    planned: int | None
    warmup: int | None
    windows: tuple[tuple[int, int], ...]
    clock: Mapping[str, Any]
    cpu: Mapping[str, Any]
    queue: Mapping[str, Any]
    loop_lag: Mapping[str, Any]
    workers: tuple[Mapping[str, Any], ...]
    facts: Facts
    _folder: RunFolder = field(repr=False)
    _shared_host: bool = field(repr=False)
    _first_payload: int | None = field(repr=False)

    @classmethod
    def of(cls, entry: Mapping[str, Any], deployment: Deployment, folder: RunFolder, *, shared_host: bool) -> Experiment:
        """An experiment out of its entry in ``run.json``."""
        return cls(
            name=entry["name"],
            deployment=entry["deployment"],
            prompts=entry["prompts"],
            parameters=entry["parameters"],
            load=entry["load_text"],
            load_fields=entry["load"],
            concurrency=entry["concurrency"],
            per_second=entry["per_second"],
            status=entry["status"],
            reason=entry["reason"],
            planned=entry["planned"],
            warmup=entry["warmup"],
            windows=tuple((start, end) for start, end in entry["windows"]),
            clock=entry.get("clock") or {},
            cpu=entry.get("cpu") or {},
            queue=entry.get("queue") or {},
            loop_lag=entry.get("loop_lag") or {},
            workers=tuple(entry.get("workers") or ()),
            facts=deployment.facts,
            _folder=folder,
            _shared_host=shared_host,
            _first_payload=entry.get("payload_first_line"),
        )

    def table(self) -> pa.Table:
        """Its records, as they stand in ``records.arrow``."""
        return self._folder.table(self.name)

    @property
    def window_seconds(self) -> float:
        """The length of its windows together; 0 where there is none."""
        return sum(end - start for start, end in self.windows) / 1e9

    @property
    def counts(self) -> Mapping[str, int]:
        """How many requests ended ``ok``, ``error``, ``timeout``, ``cancelled``, ``not_sent``; warm-up included."""
        return self._reading.counts

    @property
    def errors(self) -> Mapping[str, Failure]:
        """The failures by kind, the most frequent first: how many, and what the first one said."""
        return self._reading.errors

    @property
    def validity(self) -> tuple[Check, ...]:
        """What the checks found."""
        return self._reading.checks

    @property
    def verdict(self) -> Verdict:
        """The worst of them."""
        return worst(self.validity)

    @property
    def reasons(self) -> Mapping[str, str]:
        """Why a figure is not known, by its name; a figure that is known is not in it."""
        unknown = {name: values.why_none() for name, values in self._reading.distributions.items()}
        unknown |= {name: figure.reason for name, figure in self._reading.figures.items() if figure.value is None}
        return {name: reason for name, reason in unknown.items() if reason is not None}

    @property
    def latency(self) -> Distribution:
        """The headline latency in seconds: response under an open load, service under a closed one."""
        return self._reading.distributions["latency"]

    @property
    def service_latency(self) -> Distribution:
        """Last token's arrival - sent, in seconds."""
        return self._reading.distributions["service_latency"]

    @property
    def response_latency(self) -> Distribution:
        """Last token's arrival - due, in seconds."""
        return self._reading.distributions["response_latency"]

    @property
    def ttft(self) -> Distribution:
        """First token's arrival - sent, in seconds."""
        return self._reading.distributions["ttft"]

    @property
    def itl(self) -> Distribution:
        """The gaps between arrivals, in seconds; over gaps."""
        return self._reading.distributions["itl"]

    @property
    def tpot(self) -> Distribution:
        """Time per output token after the first, in seconds."""
        return self._reading.distributions["tpot"]

    @property
    def token_throughput(self) -> Distribution:
        """Completion tokens a second, as a single request saw them."""
        return self._reading.distributions["token_throughput"]

    @property
    def client_delay(self) -> Distribution:
        """By how many seconds the reader came after the kernel, each request's worst."""
        return self._reading.distributions["client_delay"]

    @property
    def prompt_tokens(self) -> Distribution:
        """The prompts' lengths in tokens."""
        return self._reading.distributions["prompt_tokens"]

    @property
    def completion_tokens(self) -> Distribution:
        """The replies' lengths in tokens."""
        return self._reading.distributions["completion_tokens"]

    @property
    def tps(self) -> float | None:
        """Transactions a second."""
        return self._reading.figures["tps"].value

    @property
    def output_throughput(self) -> float | None:
        """Completion tokens a second, from the whole endpoint."""
        return self._reading.figures["output_throughput"].value

    @property
    def error_rate(self) -> float | None:
        """The share of requests that failed."""
        return self._reading.figures["error_rate"].value

    @property
    def cost_per_1000_requests_usd(self) -> float | None:
        """What 1,000 successful requests cost at the measured rate, start-up left out."""
        return self._reading.figures["cost_per_1000_requests_usd"].value

    @property
    def usd_per_million_output_tokens(self) -> float | None:
        """What 1,000,000 completion tokens cost at the measured rate, start-up left out."""
        return self._reading.figures["usd_per_million_output_tokens"].value

    def goodput(self, slo: SLO) -> float | None:
        """Requests a second that were within each of the SLO's limits on latencies; ``None`` where that cannot be told."""
        from fmbench.metrics.formulas import goodput  # noqa: PLC0415 - numpy starts threads

        return goodput(self.sample(), slo.request_limits()).value

    def good_share(self, slo: SLO) -> float | None:
        """The share of the sent requests that were; failures were not. ``None`` where that cannot be told."""
        from fmbench.metrics.formulas import good_share  # noqa: PLC0415 - numpy starts threads

        return good_share(self.sample(), slo.request_limits()).value

    @cached_property
    def _reading(self) -> Reading:
        """Everything at once, so that the records are read once and not kept."""
        from fmbench.result.reading import read  # noqa: PLC0415 - numpy starts threads
        from fmbench.validity.lengths import fills_replies  # noqa: PLC0415 - numpy starts threads

        step, write = self.clock.get("offset_step_ns"), self.clock.get("write_delay_ns")
        return read(
            self.sample(),
            Prices.of(self.facts),
            experiment=self.name,
            status=self.status,
            reason=self.reason,
            planned=self.planned,
            ended=self._folder.document["state"] != "running",
            load=self.load_fields,
            streams=self.concurrency,
            max_new_tokens=self.parameters.get("max_new_tokens"),
            exact_length=bool(self.parameters.get("force_length")) or fills_replies(self._folder.payload(self._first_payload)),
            shared_host=self._shared_host,
            clock_step_seconds=None if step is None else step / 1e9,
            write_delay_seconds=None if write is None else write / 1e9,
            cpu=self.cpu,
            queue=self.queue,
            loop_lag=self.loop_lag,
            workers=self.workers,
        )

    def take_over(self, other: Experiment) -> None:
        """Have the figures that were made of the same records already."""
        if "_reading" in other.__dict__:
            self.__dict__["_reading"] = other.__dict__["_reading"]

    def sample(self) -> Sample:
        from fmbench.metrics import Sample  # noqa: PLC0415 - numpy starts threads

        return Sample(partial(self._folder.log.parts, self.name), self.windows, open_load=self.concurrency is None)

    def figure(self, name: str) -> Figure:
        """A single figure with its unit and, where it is not known, the reason: ``experiment.figure("tps").reason``.

        Args:
            name: ``tps``, ``output_throughput``, ``error_rate``, ``cost_per_1000_requests_usd`` or
                ``usd_per_million_output_tokens``.
        """
        return self._reading.figures[name]
