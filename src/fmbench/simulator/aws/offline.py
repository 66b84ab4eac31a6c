"""The offline AWS for tests and scripts: a child process, and a hand on it."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.error import HTTPError

from fmbench import ConfigError
from fmbench.simulator.aws.admin import PREFIX
from fmbench.simulator.aws.child import as_line
from fmbench.simulator.aws.options import AwsOptions

__all__ = ["OfflineAWS", "environment_of"]

STOP_SECONDS = 10.0
ASK_SECONDS = 10.0


def environment_of(options: AwsOptions, url: str) -> dict[str, str]:
    """The variables that lead boto3, and everything on top of it, to the offline AWS."""
    told = {
        "AWS_ENDPOINT_URL": url,
        "AWS_ACCESS_KEY_ID": options.access_key,
        "AWS_SECRET_ACCESS_KEY": options.secret_key,
        "AWS_DEFAULT_REGION": options.region,
        "AWS_REGION": options.region,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    return told if options.session_token is None else {**told, "AWS_SESSION_TOKEN": options.session_token}


class OfflineAWS:
    """A context in which an offline AWS runs, in a child process that ends with it, however this one ends.

    >>> with OfflineAWS(create_seconds=0.1) as aws:  # doctest: +SKIP
    ...     aws.fault("capacity", instance_type="ml.p4d.24xlarge")
    ...     subprocess.run(["fmbench", "run", "config.yml"], env={**os.environ, **aws.environment})
    ...     assert not aws.resources()

    Args:
        options: The fields of ``AwsOptions``.

    Raises:
        ConfigError: it does not start: the port is taken, or botocore is not installed.
    """

    def __init__(self, **options: Any) -> None:
        try:
            self.options: AwsOptions = AwsOptions(**options)
        except TypeError as error:
            raise ConfigError(f"the offline AWS: {error}") from None
        self._process: subprocess.Popen[str] | None = None
        self.url: str = ""
        """Where it listens."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-P", "-m", "fmbench.simulator.aws.child"]
        pipe = subprocess.PIPE
        # In a session of its own: Ctrl-C is for the clients, who have to delete what they made here.
        self._process = process = subprocess.Popen(  # noqa: S603 - this Python
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
        )
        assert process.stdin is not None  # noqa: S101 - asked for above
        assert process.stdout is not None  # noqa: S101 - the same
        process.stdin.write(as_line(self.options))
        process.stdin.flush()
        self.url = process.stdout.readline().strip()
        if not self.url:
            _, said = process.communicate()
            raise ConfigError(said.strip() or "the offline AWS ended at once")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        process = self._process
        if process is None:
            return
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()

    @property
    def environment(self) -> Mapping[str, str]:
        """The ``AWS_*`` variables that lead clients here."""
        return environment_of(self.options, self.url)

    def state(self) -> Mapping[str, Any]:
        """Everything: ``resources`` that are there, those that are ``gone``, and ``events``, the calls that came."""
        state: Mapping[str, Any] = self._ask("GET", "state")
        return state

    def resources(self, kind: str | None = None) -> Sequence[Mapping[str, Any]]:
        """What is there, or what of it is of a kind: model, endpoint-config, endpoint or inference-component."""
        return [one for one in self.state()["resources"] if kind in {None, one["kind"]}]

    def fault(self, kind: str, **fields: Any) -> None:
        """Have something go wrong; see ``CONTROL_KINDS`` and ``RUNTIME_KINDS``.

        Args:
            kind: What.
            fields: Of ``Fault``: ``times``, ``rate``, ``name``, ``instance_type``, ``operation``, ``seconds``.

        Raises:
            ConfigError: there is no such fault or field.
        """
        self._ask("POST", "faults", {"kind": kind, **fields})

    def mend(self) -> None:
        """Nothing more goes wrong on purpose."""
        self._ask("DELETE", "faults")

    def _ask(self, method: str, what: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{PREFIX}{what}", method=method, data=data)  # noqa: S310 - our own server
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=ASK_SECONDS) as reply:
                return json.load(reply)
        except HTTPError as error:
            with error:
                raise ConfigError(json.load(error)["error"]) from None
