"""The offline AWS on a socket: who asks what of which service, and the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from fmbench.simulator.aws import admin, components, hosting, hub, identity, prices, tagging
from fmbench.simulator.aws.account import Account, Call
from fmbench.simulator.aws.options import AwsOptions
from fmbench.simulator.aws.problems import AwsError
from fmbench.simulator.aws.protocols import Asked, language_of
from fmbench.simulator.aws.replies import runtime_error
from fmbench.simulator.aws.runtime import PATH, Runtime
from fmbench.simulator.aws.shapes import Shapes
from fmbench.simulator.aws.signed import Caller, Secrets, verified
from fmbench.simulator.connection import Connection, Incoming
from fmbench.simulator.flights import Flight
from fmbench.simulator.listening import Listener
from fmbench.simulator.truth import TruthLog

__all__ = ["OfflineServer"]


class _Service(NamedTuple):
    """One of AWS's services."""

    model: str | None
    """botocore's name of its model; without one its requests are not checked against it."""
    signed_as: str
    operations: Mapping[str, Callable[[Call], dict[str, Any]]]


_SAGEMAKER = {**hosting.OPERATIONS, **components.OPERATIONS, **tagging.OPERATIONS, **hub.OPERATIONS}
_TAGGING = tagging.TAGGING_OPERATIONS
SERVICES: Mapping[str, _Service] = {
    "SageMaker": _Service("sagemaker", "sagemaker", _SAGEMAKER),
    "AWSPriceListService": _Service("pricing", "pricing", prices.OPERATIONS),
    "ResourceGroupsTaggingAPI_20170126": _Service("resourcegroupstaggingapi", "tagging", _TAGGING),
    "ServiceQuotasV20190624": _Service("service-quotas", "servicequotas", identity.QUOTA_OPERATIONS),
    "sts": _Service(None, "sts", identity.STS_OPERATIONS),
    "iam": _Service(None, "iam", identity.IAM_OPERATIONS),
}
"""By the names that their protocols send, or, where those send none, that stand in the signature."""
_NAMES = ("EndpointName", "EndpointConfigName", "ModelName", "InferenceComponentName", "ResourceArn")


class OfflineServer:
    """Serves on the running loop until told to end.

    Args:
        options: How it behaves.

    Raises:
        ConfigError: botocore is not installed.
    """

    def __init__(self, options: AwsOptions) -> None:
        self._options = options
        self._account = Account(options, Shapes(), time.time)
        self._keys = {options.access_key: Secrets(options.secret_key, options.session_token)}

    async def run(self, up: Callable[[str], None], end: asyncio.Event) -> None:
        """Serve.

        Args:
            up: Called with the URL once it listens.
            end: When to stop.

        Raises:
            ConfigError: the address cannot be had.
        """
        log = TruthLog(self._options.log)
        self._runtime = Runtime(self._account, log)
        listener = Listener(self._options.host, self._options.port, asked=self._asked, gone=_gone, ticked=log.flush)
        try:
            await listener.run(up, end)
        finally:
            self._runtime.close()
            log.close()

    def _asked(self, connection: Connection, incoming: Incoming) -> None:
        path = incoming.path
        if path.startswith(admin.PREFIX):
            told = admin.answered(self._account, self._runtime, incoming.method, path, bytes(incoming.body))
            connection.write(told)
            connection.answered(incoming.keep_alive)
            return
        invoked = PATH.fullmatch(path)
        try:
            caller = self._caller(incoming)
            if invoked is not None and incoming.method == "POST":
                self._runtime.invoke(connection, incoming, caller, invoked[1], events=invoked[2] is not None)
                return
        except AwsError as error:
            failed = (
                runtime_error(error.status, error.code, Message=error.message)
                if invoked
                else language_of(incoming).failed(error)
            )
            _send(connection, failed, incoming.keep_alive)
            return
        self._control(connection, incoming, caller)

    def _control(self, connection: Connection, incoming: Incoming, caller: Caller) -> None:
        language, late = language_of(incoming), None
        event: dict[str, Any] = {"at": self._account.now(), "operation": "", "region": caller.region}
        event |= {"access_key": caller.access_key, "name": "", "error": None}
        event["user_agent"] = incoming.headers.get("user-agent", "")
        self._account.events.append(event)
        try:
            asked = language.read(incoming)
            given = asked.given if isinstance(asked.given, dict) else {}
            name = next((str(given[key]) for key in _NAMES if key in given), "")
            event |= {"operation": asked.operation, "name": name}
            self._refuse_on_purpose(asked.operation, name)
            reply = language.said(asked.operation, self._answer(asked, caller))
            late = self._account.mischief.strikes("lost_reply", "slow_reply", name=name, operation=asked.operation)
        except AwsError as error:
            event["error"] = error.code
            reply = language.failed(error)
        if late is not None and late.kind == "lost_reply":
            connection.reset()
        elif late is not None:
            asyncio.get_running_loop().call_later(late.seconds, _send, connection, reply, incoming.keep_alive)
        else:
            _send(connection, reply, incoming.keep_alive)

    def _caller(self, incoming: Incoming) -> Caller:
        caller = verified(incoming, self._keys, self._account.now())
        if self._account.mischief.strikes("expired") is not None:
            raise AwsError("ExpiredTokenException", "The security token included in the request is expired", 403)
        return caller

    def _refuse_on_purpose(self, operation: str, name: str) -> None:
        struck = self._account.mischief.strikes("throttle", "denied", "internal", name=name, operation=operation)
        if struck is None:
            return
        if struck.kind == "throttle":
            raise AwsError("ThrottlingException", "Rate exceeded")
        if struck.kind == "internal":
            raise AwsError("InternalFailure", "The request processing has failed because of an unknown error.", 500)
        raise AwsError("AccessDeniedException", f"User is not authorized to perform: sagemaker:{operation}")

    def _answer(self, asked: Asked, caller: Caller) -> dict[str, Any]:
        service = SERVICES.get(asked.target or caller.service)
        if service is None or asked.operation not in service.operations:
            said = f"The offline AWS has no {asked.operation or 'operation'} of {asked.target or caller.service}"
            raise AwsError("UnknownOperationException", said)
        if caller.service != service.signed_as:
            said = f"Credential should be scoped to correct service: '{service.signed_as}'."
            raise AwsError("InvalidSignatureException", said, 403)
        if service.model is not None:
            self._account.shapes.check(service.model, asked.operation, asked.given)
        return service.operations[asked.operation](Call(self._account, caller, asked.operation, asked.given))


def _gone(connection: Connection) -> None:
    flight: Flight | None = connection.flight
    if flight is not None and flight.home is not None:
        flight.home.lost(flight)


def _send(connection: Connection, reply: bytes, keep_alive: bool) -> None:
    connection.write(reply)
    connection.answered(keep_alive)
