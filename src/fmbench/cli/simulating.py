"""``fmbench simulate``: the simulated server in the foreground."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["simulate"]


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen; any free one by default.")
@click.option(
    "--service",
    default="batching",
    show_default=True,
    help="batching, fixed or queueing, with fields: fixed:ttft_seconds=0.05,itl_seconds=0.01",
)
@click.option("--faults", default="", help="Such as 500=0.01,reset=0.02: the share of requests by fault.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the faults.")
@click.option("--reply-tokens", type=click.IntRange(1), help="After so many tokens the model ends by itself.")
@click.option("--log", type=click.Path(dir_okay=False, path_type=Path), help="Write the true time of every token here.")
def simulate(*, port: int, service: str, faults: str, seed: int, reply_tokens: int | None, log: Path | None) -> None:
    """Serve a model of an inference server, until interrupted.

    It speaks OpenAI's chat and completions, TGI and SageMaker's runtime, and prints its URL once it listens.
    """
    from fmbench.simulator import Faults, ServerOptions, parse_model  # noqa: PLC0415 - only this command needs it
    from fmbench.simulator.child import serve_until_told  # noqa: PLC0415 - only this command needs it

    options = ServerOptions(
        service=parse_model(service),
        port=port,
        log=log,
        faults=Faults.parse(faults, seed=seed),
        reply_tokens=reply_tokens,
    )
    serve_until_told(options, click.echo)
