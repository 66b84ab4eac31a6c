"""The offline AWS on a socket: who asks what of which service, and the answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import orjson

from fmbench.simulator.aws import admin, hosting, tagging
from fmbench.simulator.aws.account import Account, Call
from fmbench.simulator.aws.options import AwsOptions
from fmbench.simulator.aws.problems import AwsError
from fmbench.simulator.aws.replies import request_id, runtime_error
from fmbench.simulator.aws.runtime import PATH, Runtime
from fmbench.simulator.aws.shapes import Shapes
from fmbench.simulator.aws.signed import Caller, Secrets, verified
from fmbench.simulator.connection import Connection, Incoming
from fmbench.simulator.envelopes import http_reply
from fmbench.simulator.flights import Flight
from fmbench.simulator.listening import Listener
from fmbench.simulator.truth import TruthLog

__all__ = ["OfflineServer"]

JSON = "application/x-amz-json-1.1"
_OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {**hosting.OPERATIONS, **tagging.OPERATIONS}
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
            caller = verified(incoming, self._keys, self._account.now())
            if invoked is not None and incoming.method == "POST":
                self._runtime.invoke(connection, incoming, caller, invoked[1], events=invoked[2] is not None)
                return
        except AwsError as error:
            if invoked is not None:
                connection.write(runtime_error(error.status, error.code, Message=error.message))
            else:
                connection.write(_error(error))
            connection.answered(incoming.keep_alive)
            return
        self._control(connection, incoming, caller)

    def _control(self, connection: Connection, incoming: Incoming, caller: Caller) -> None:
        service, _, operation = incoming.headers.get("x-amz-target", "").partition(".")
        event: dict[str, Any] = {"at": self._account.now(), "operation": operation, "region": caller.region}
        event |= {"access_key": caller.access_key, "name": "", "error": None}
        self._account.events.append(event)
        late = None
        try:
            given = _json(incoming)
            name = event["name"] = next((str(given[key]) for key in _NAMES if key in given), "")
            self._refuse_on_purpose(operation, name)
            answer = orjson.dumps(self._answer(service, operation, given, caller))
            reply = http_reply(200, answer, content_type=JSON, extra=f"x-amzn-RequestId: {request_id()}\r\n".encode())
            late = self._account.mischief.strikes("lost_reply", "slow_reply", name=name, operation=operation)
        except AwsError as error:
            event["error"] = error.code
            reply = _error(error)
        if late is not None and late.kind == "lost_reply":
            connection.reset()
            return
        if late is not None:
            asyncio.get_running_loop().call_later(late.seconds, _send, connection, reply, incoming.keep_alive)
            return
        _send(connection, reply, incoming.keep_alive)

    def _refuse_on_purpose(self, operation: str, name: str) -> None:
        struck = self._account.mischief.strikes("throttle", "denied", "internal", name=name, operation=operation)
        if struck is None:
            return
        if struck.kind == "throttle":
            raise AwsError("ThrottlingException", "Rate exceeded")
        if struck.kind == "internal":
            raise AwsError("InternalFailure", "The request processing has failed because of an unknown error.", 500)
        raise AwsError("AccessDeniedException", f"User is not authorized to perform: sagemaker:{operation}")

    def _answer(self, service: str, operation: str, given: Any, caller: Caller) -> dict[str, Any]:
        if service != "SageMaker" or operation not in _OPERATIONS:
            raise AwsError("UnknownOperationException", f"The offline AWS has no {service or caller.service} {operation}")
        if caller.service != "sagemaker":
            raise AwsError("InvalidSignatureException", "Credential should be scoped to correct service: 'sagemaker'.", 403)
        self._account.shapes.check("sagemaker", operation, given)
        return _OPERATIONS[operation](Call(self._account, caller, operation, given))


def _gone(connection: Connection) -> None:
    flight: Flight | None = connection.flight
    if flight is not None and flight.home is not None:
        flight.home.lost(flight)


def _json(incoming: Incoming) -> Any:
    try:
        return orjson.loads(bytes(incoming.body) or b"{}")
    except orjson.JSONDecodeError:
        raise AwsError("SerializationException", "The request is not JSON") from None


def _send(connection: Connection, reply: bytes, keep_alive: bool) -> None:
    connection.write(reply)
    connection.answered(keep_alive)


def _error(error: AwsError) -> bytes:
    extra = f"x-amzn-ErrorType: {error.code}\r\nx-amzn-RequestId: {request_id()}\r\n".encode()
    body = orjson.dumps({"__type": error.code, "message": error.message})
    return http_reply(error.status, body, content_type=JSON, extra=extra)
