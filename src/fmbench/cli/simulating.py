"""``fmbench simulate``: the simulated server in the foreground."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from fmbench import ConfigError

__all__ = ["simulate"]

MISLEADING = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_SAGEMAKER", "AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME")
"""Variables that would win over those of the offline AWS, or do not belong to its credentials."""


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; any free one by default.")
@click.option(
    "--service",
    help="batching (the default), fixed or queueing, with fields: fixed:ttft_seconds=0.05,itl_seconds=0.01",
)
@click.option("--faults", default="", help="Such as 500=0.01,reset=0.02: the share of requests by fault.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the faults.")
@click.option("--reply-tokens", type=click.IntRange(1), help="After so many tokens the model ends by itself.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Write the true time of every token here.")
@click.option("--aws", is_flag=True, help="Serve the offline AWS instead, and print the variables that lead clients to it.")
@click.option("--speed", type=float, help="With --aws: how many times faster than made up every instance type is.")
@click.option("--create-seconds", type=float, help="With --aws: how long an endpoint is Creating.")
def simulate(
    *,
    port: int,
    service: str | None,
    faults: str,
    seed: int,
    reply_tokens: int | None,
    log: Path | None,
    aws: bool,
    speed: float | None,
    create_seconds: float | None,
) -> None:
    """Serve a model of an inference server, until interrupted.

    It speaks OpenAI's chat and completions, TGI and SageMaker's runtime, and prints its URL once it listens. With --aws it is
    SageMaker: its control plane and runtime, for boto3 and whatever stands on it.
    """
    if aws:
        _refuse("without --aws", {"--service": service, "--reply-tokens": reply_tokens})
        chosen = {"port": port, "log": log, "fault_seed": seed, "speed": speed, "create_seconds": create_seconds}
        _simulate_aws(faults, {name: value for name, value in chosen.items() if value is not None})
        return
    _refuse("with --aws", {"--speed": speed, "--create-seconds": create_seconds})
    from fmbench.simulator import Faults, ServerOptions, parse_model  # noqa: PLC0415 - only this command needs it
    from fmbench.simulator.child import serve_until_told  # noqa: PLC0415 - only this command needs it

    options = ServerOptions(
        service=parse_model(service or "batching"),
        port=port,
        log=log,
        faults=Faults.parse(faults, seed=seed),
        reply_tokens=reply_tokens,
    )
    serve_until_told(options, click.echo)


def _refuse(where: str, given: dict[str, object]) -> None:
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"{name} is only for fmbench simulate {where}")


def _simulate_aws(faults: str, chosen: dict[str, Any]) -> None:
    from fmbench.simulator.aws import AwsOptions, environment_of  # noqa: PLC0415 - only this command needs it
    from fmbench.simulator.aws.child import serve_until_told  # noqa: PLC0415 - the same
    from fmbench.simulator.faults import parse_rates  # noqa: PLC0415 - the same

    options = AwsOptions(faults=parse_rates(faults), **chosen)

    def up(url: str) -> None:
        click.echo(f"unset {' '.join(MISLEADING)}")
        for name, value in environment_of(options, url).items():
            click.echo(f"export {name}={shlex.quote(value)}")

    serve_until_told(options, up)
