"""How a run ended, as an exit status."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fmbench import Advice, Experiment, Result
from fmbench.cli.billing import about
from fmbench.cli.ending import BAD_USE, DONE, INVALID
from fmbench.journal import Journal

__all__ = ["advice_status", "exit_status", "kept", "nothing_measured", "standing"]

_REMEDIES = {
    "unauthorized": "check api_key_env or headers",
    "not_found": "check url (the root, before /v1) and model",
    "validation": "check model and parameters",
    "throttled": "lower loads, or have the endpoint's limit raised",
    "not_ready": "wait until the server has loaded its model",
    "server": "see the server's own log",
    "model_error": "see the server's own log",
    "decode": "check url and the invoker",
    "protocol": "check url: does HTTP answer there?",
    "connect": "check url, and that the server is up",
    "timeout": "raise request_timeout_seconds, or lower loads",
}


def exit_status(result: Result) -> int:
    """0 where the result is whole and valid and something meets the SLO, 2 where the user must mend what was asked, else 1.

    A deployment that failed for another reason, such as a quota, is an outcome: nothing may be wrong with what was asked.
    """
    errors = [deployment.error for deployment in result.deployments if deployment.status == "failed"]
    failed = bool(errors)
    mishap = any(error is None or error["kind"] != "ConfigError" for error in errors)
    if nothing_measured(result) is not None and not mishap:
        return BAD_USE
    missed = result.slo is not None and not _met(result.advise())
    return INVALID if failed or _limited(result) or missed or result.verdict == "fail" else DONE


def advice_status(advice: Advice) -> int:
    """0 where something meets the SLO and was measured properly, else 1."""
    return DONE if _met(advice) and (advice.best is None or advice.best.verdict != "fail") else INVALID


def nothing_measured(result: Result) -> str | None:
    """Why not a single request succeeded, in one line; ``None`` where one did, or where a limit ended the run before.

    Then an address, a key, a command or a model is not what it should be.
    """
    if _limited(result) or any(experiment.counts["ok"] for experiment in result.experiments):
        return None
    reasons = list(dict.fromkeys(_reasons(result)))
    more = f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
    return f"nothing was measured: {reasons[0] if reasons else 'no request was sent'}{more}"


def standing(directory: Path) -> list[str]:
    """A line for each thing that the run created and that is not deleted, with its price; it goes on costing."""
    return [f"STILL THERE, {about(entry)}" for entry in Journal(directory).standing()]


def kept(directory: Path) -> list[str]:
    """A line for each thing that was asked to be kept."""
    remedy = f"delete it with: fmbench cleanup {directory} --kept"
    return [f"KEPT, {about(entry)}; {remedy}" for entry in Journal(directory).kept()]


def _met(advice: Advice) -> bool:
    return any(candidate.standing == "met" for candidate in advice.candidates)


def _limited(result: Result) -> bool:
    return any(problem["kind"] == "limit" for problem in result.problems)


def _reasons(result: Result) -> Iterator[str]:
    failed = {deployment.name for deployment in result.deployments if deployment.status == "failed"}
    for deployment in result.deployments:
        if deployment.status == "failed" and deployment.error is not None:
            yield f"{deployment.name} did not come up: {deployment.error['message']}"
    for experiment in result.experiments:
        if experiment.deployment not in failed:
            yield from _reasons_of(experiment)


def _reasons_of(experiment: Experiment) -> Iterator[str]:
    for kind, failure in experiment.errors.items():
        if kind != "not_sent":
            remedy = f"; {_REMEDIES[kind]}" if kind in _REMEDIES else ""
            yield f"{experiment.deployment} answered no request: {failure.message}{remedy}"
    if not experiment.errors and experiment.reason:
        yield f"{experiment.name}: {experiment.reason}"
