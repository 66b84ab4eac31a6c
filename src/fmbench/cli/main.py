"""The commands. What they import is imported when they run: help, a list of plugins and a mistake cost no libraries."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from fmbench.cli.billing import tell_billing
from fmbench.cli.calibrating import calibrate
from fmbench.cli.cleaning import cleanup
from fmbench.cli.ending import BAD_USE, EXPECTED, mend_streams, tell
from fmbench.cli.simulating import simulate

if TYPE_CHECKING:
    from fmbench import SLO

__all__ = ["commands", "main"]


class _Slo(click.ParamType):  # type: ignore[type-arg]  # generic only for its checkers
    """``latency_p95_seconds=5,ttft_p99_seconds=1``."""

    name = "limits"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> SLO:
        from fmbench import SLO, ConfigError  # noqa: PLC0415 - only for who gives one

        try:
            return value if isinstance(value, SLO) else SLO.parse(value)
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class _Share(click.ParamType):  # type: ignore[type-arg]  # generic only for its checkers
    """``5%`` or ``0.05``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        text = str(value).strip()
        try:
            return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            self.fail(f"{value!r} is no share, such as 5% or 0.05", param, ctx)


class _Rates(click.ParamType):  # type: ignore[type-arg]  # generic only for its checkers
    """``600``, or ``60,600,6000``."""

    name = "rates"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[float]:
        try:
            return [float(part) for part in str(value).split(",")]
        except ValueError:
            self.fail(f"{value!r} is no rate, such as 600, nor a list of them, such as 60,600", param, ctx)


class _Price(click.ParamType):  # type: ignore[type-arg]  # generic only for its checkers
    """``ml.g5.12xlarge=4.25``, or ``NAME=0.2,0.6`` by tokens."""

    name = "name=usd"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, float | dict[str, float]]:
        name, _, text = str(value).rpartition("=")
        try:
            prices = [float(part) for part in text.split(",")]
        except ValueError:
            prices = []
        if not name or len(prices) not in (1, 2):
            self.fail(f"{value!r} is no NAME=USD_PER_HOUR, nor NAME=USD_PER_M_INPUT,USD_PER_M_OUTPUT", param, ctx)
        by_tokens = ("usd_per_million_input_tokens", "usd_per_million_output_tokens")
        return name, prices[0] if len(prices) == 1 else dict(zip(by_tokens, prices, strict=True))


_as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
_out_option = click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), help="The run's folder; runs/NAME-TIME by default."
)
_directory_argument = click.argument("directory", type=click.Path(path_type=Path))
_config_argument = click.argument("config", type=click.Path(path_type=Path))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}, invoke_without_command=True)
@click.version_option(package_name="fmbench-harness", prog_name="fmbench")
@click.pass_context
def commands(context: click.Context) -> None:
    """Benchmark foundation-model endpoints: latency, throughput and cost, with the error of the measurement shown.

    Exit status: 0 done and valid; 1 done, but invalid, an SLO missed, a deployment failed or a limit reached; 2 wrong use or
    configuration; 3 something could not be deleted; 130 interrupted, after everything was taken down.
    """
    if context.invoked_subcommand != "cleanup":
        tell_billing()
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        context.exit(BAD_USE)


@commands.command()
@_out_option
@_as_json
def quickstart(out: Path | None, as_json: bool) -> NoReturn:
    """Measure a real engine on this machine: llama.cpp with a small model made here, in about a minute."""
    from fmbench.cli.quickstart import REQUESTS_PER_MINUTE, quickstart_benchmark  # noqa: PLC0415 - see above
    from fmbench.cli.running import run_benchmark  # noqa: PLC0415 - see above

    benchmark = quickstart_benchmark()
    sys.exit(run_benchmark(benchmark, out, as_json=as_json, resumable=False, requests_per_minute=REQUESTS_PER_MINUTE))


@commands.command()
@_config_argument
@_out_option
@click.option("--resume", is_flag=True, help="Go on with an unfinished run in --out: only what is missing is sent.")
@_as_json
def run(config: Path, out: Path | None, resume: bool, as_json: bool) -> NoReturn:
    """Deploy, measure, delete and report what CONFIG asks for."""
    from fmbench import load_config  # noqa: PLC0415 - see above
    from fmbench.cli.running import run_benchmark  # noqa: PLC0415 - see above

    if resume and out is None:
        raise click.UsageError("--resume needs --out, the folder of the unfinished run")
    sys.exit(run_benchmark(load_config(config), out, as_json=as_json, resume=resume))


@commands.command()
@_config_argument
@_as_json
def plan(config: Path, as_json: bool) -> None:
    """Tell what CONFIG would do, for how long at most and at what most cost. Nothing is touched."""
    from fmbench import load_config  # noqa: PLC0415 - see above

    planned = load_config(config).plan()
    click.echo(json.dumps(planned.as_dict(), indent=2) if as_json else str(planned))


@commands.command()
@_config_argument
@click.option("--slo", type=_Slo(), help="Such as latency_p95_seconds=5,ttft_p99_seconds=1; CONFIG's own by default.")
@click.option("--over", type=click.Choice(["concurrency", "poisson", "constant"]), default="concurrency", show_default=True)
@click.option("--start", type=float, help="The first load to try.")
@click.option("--most", type=float, help="The highest load to try.")
@click.option("--tolerance", type=float, default=0.05, show_default=True, help="How far the interval may reach, as a share.")
@click.option("--max-requests", type=int, default=100_000, show_default=True, help="For each combination, at most.")
@_out_option
@click.option("--resume", is_flag=True, help="Go on with an unfinished search in --out: only what is missing is sent.")
@_as_json
def capacity(config: Path, slo: SLO | None, out: Path | None, resume: bool, as_json: bool, **how: Any) -> NoReturn:
    """Find the highest load at which each combination of CONFIG keeps to an SLO. CONFIG's own loads are not used."""
    from fmbench import load_config  # noqa: PLC0415 - see above
    from fmbench.cli.searching import search_capacity  # noqa: PLC0415 - see above

    if resume and out is None:
        raise click.UsageError("--resume needs --out, the folder of the unfinished search")
    sys.exit(search_capacity(load_config(config), slo, out, as_json=as_json, resume=resume, **how))


@commands.command()
@_directory_argument
@click.option("--reporter", "reporters", multiple=True, default=("html",), show_default=True, help="Which; may be given again.")
def report(directory: Path, reporters: tuple[str, ...]) -> None:
    """Write reports of a run again."""
    from fmbench import Result  # noqa: PLC0415 - see above

    result = Result.load(directory)
    for name in reporters:
        for path in result.report(name):
            click.echo(path)


@commands.command()
@_directory_argument
@click.option("--slo", type=_Slo(), help="Such as latency_p95_seconds=5,ttft_p99_seconds=1; the run's own by default.")
@click.option("--requests-per-minute", type=_Rates(), help="How many requests have to be served; 60,600 gives a table.")
@click.option("--price", "prices", type=_Price(), multiple=True, help="NAME=USD_PER_HOUR of a deployment or instance type.")
@click.option("--price-multiplier", type=float, default=1.0, show_default=True, help="For all prices: 0.7 is 30 % off.")
@click.option("--region", help="Where the endpoints would stand; prices that --price does not name are then not known.")
@_as_json
def advise(  # noqa: PLR0917 - a parameter an option
    directory: Path,
    slo: SLO | None,
    requests_per_minute: list[float] | None,
    prices: tuple[tuple[str, float | dict[str, float]], ...],
    price_multiplier: float,
    region: str | None,
    as_json: bool,
) -> NoReturn:
    """Say which measured configuration is the cheapest that keeps to an SLO, and how many of it are needed."""
    from fmbench import Result  # noqa: PLC0415 - see above
    from fmbench.cli.advising import advise_on  # noqa: PLC0415 - see above

    result = Result.load(directory)
    if prices or price_multiplier != 1 or region is not None:
        result = result.with_prices(dict(prices), multiplier=price_multiplier, region=region)
    sys.exit(advise_on(result, slo, requests_per_minute, as_json=as_json))


@commands.command()
@click.argument("baseline", type=click.Path(path_type=Path))
@click.argument("candidate", type=click.Path(path_type=Path))
@click.option("--metric", "metrics", multiple=True, help="latency_p95, ttft_mean, tps, error_rate …; may be given again.")
@click.option("--margin", type=_Share(), default="0", show_default=True, help="A change counts if it is more: 5% or 0.05.")
@click.option("--confidence", type=_Share(), default="95%", show_default=True, help="That no verdict at all is a false claim.")
@click.option("--seed", type=int, default=0, show_default=True, help="For the draws of the bootstrap.")
@click.option("--unequal", is_flag=True, help="Compare workloads that differ all the same; the result says in what.")
@_as_json
def compare(  # noqa: PLR0917 - a parameter an option
    baseline: Path,
    candidate: Path,
    metrics: tuple[str, ...],
    margin: float,
    confidence: float,
    seed: int,
    unequal: bool,
    as_json: bool,
) -> NoReturn:
    """Compare two runs of the same workloads; status 1 where CANDIDATE is shown to be worse, or was not measured.

    Each is the folder of a run, or a folder of such folders: runs of the same, whose scatter then decides.
    """
    from fmbench.cli.comparing import compare_runs  # noqa: PLC0415 - see above

    options = {"metrics": metrics or None, "margin": margin, "confidence": confidence, "seed": seed, "unequal": unequal}
    sys.exit(compare_runs(baseline, candidate, as_json=as_json, **options))


@commands.command()
@_as_json
def plugins(as_json: bool) -> None:
    """List the adapters that are installed. Nothing is imported."""
    from fmbench.plugins import DEPLOYERS, INVOKERS, PROMPT_SOURCES, REPORTERS  # noqa: PLC0415 - see above

    rows = [plugin for group in (DEPLOYERS, PROMPT_SOURCES, INVOKERS, REPORTERS) for plugin in group.describe()]
    if as_json:
        click.echo(json.dumps([row._asdict() for row in rows], indent=2))
        return
    for row in rows:
        click.echo(f"{row.group.removeprefix('fmbench.'):<16} {row.name:<16} {row.distribution:<20} {row.target}")


commands.add_command(simulate)
commands.add_command(calibrate)
commands.add_command(cleanup)


def main() -> NoReturn:
    """Run a command; a user's mistake is one line and status 2, never a traceback."""
    mend_streams()
    try:
        status = commands.main(prog_name="fmbench", standalone_mode=False)
    except EXPECTED as error:
        sys.exit(tell(error))
    sys.exit(status if isinstance(status, int) else 0)
