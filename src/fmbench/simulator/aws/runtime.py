"""InvokeEndpoint and InvokeEndpointWithResponseStream: each instance of each endpoint is a queueing model of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from fmbench.simulator.aws.account import Account, Resource
from fmbench.simulator.aws.dialects import BadInput, dialect_of, understood
from fmbench.simulator.aws.mischief import RUNTIME_KINDS
from fmbench.simulator.aws.options import ACCOUNT
from fmbench.simulator.aws.problems import AwsError
from fmbench.simulator.aws.replies import Container, Reply
from fmbench.simulator.aws.signed import Caller
from fmbench.simulator.aws.speeds import Served, served
from fmbench.simulator.connection import Connection, Incoming
from fmbench.simulator.faults import FAULT_HEADER
from fmbench.simulator.flights import Flight, Flights
from fmbench.simulator.formats import Asked
from fmbench.simulator.truth import TruthLog

__all__ = ["PATH", "Runtime"]

PATH: re.Pattern[str] = re.compile(r"/endpoints/([^/?]+)/invocations(-response-stream)?")
MOST_BODY_BYTES = 6_291_456
TIMED_OUT = (
    "Your invocation timed out while waiting for a response from container primary. Review the latency metrics for each"
    " container in Amazon CloudWatch, resolve the issue, and try again."
)


class _Instances:
    """What serves one variant."""

    def __init__(
        self, variant: Mapping[str, Any], container: Mapping[str, Any], does: Served, copies: int, log: TruthLog
    ) -> None:
        self.variant = str(variant["VariantName"])
        self.container = container
        self.positions = does.positions
        self._flights = [Flights(does.service.start(), log) for _ in range(copies)]
        self._least = variant.get("RoutingConfig", {}).get("RoutingStrategy") == "LEAST_OUTSTANDING_REQUESTS"
        self._turn = 0

    def next(self) -> Flights:
        """The instance for the next request: the idlest one, or each in turn (AWS's default is at random)."""
        if self._least:
            return min(self._flights, key=lambda flights: flights.in_flight)
        self._turn += 1
        return self._flights[self._turn % len(self._flights)]

    def close(self) -> None:
        """End them."""
        for flights in self._flights:
            flights.close()


class Runtime:
    """Answers invocations.

    Args:
        account: Whose endpoints.
        log: Where the true times go.
    """

    def __init__(self, account: Account, log: TruthLog) -> None:
        self._account = account
        self._log = log
        self._serving: dict[Resource, _Instances] = {}
        self.invocations: dict[str, int] = {}
        """How many requests came, by the endpoint's ARN."""

    def close(self) -> None:
        """End every instance."""
        for instances in self._serving.values():
            instances.close()

    def invoke(self, connection: Connection, incoming: Incoming, caller: Caller, name: str, *, events: bool) -> None:
        """Begin to answer.

        Raises:
            AwsError: there is no such endpoint in service, or the request is refused before a container sees it.
        """
        endpoint = self._endpoint(caller, unquote(name))
        self.invocations[endpoint.arn] = self.invocations.get(endpoint.arn, 0) + 1
        if len(incoming.body) > MOST_BODY_BYTES:
            said = f"Request {len(incoming.body)} bytes exceeds the maximum of {MOST_BODY_BYTES} bytes"
            raise AwsError("ValidationError", said)
        component = incoming.headers.get("x-amzn-sagemaker-inference-component")
        instances = self._instances(endpoint, component)
        container = Container(endpoint.name, endpoint.region, instances.variant)
        image, environment = instances.container.get("Image", ""), instances.container.get("Environment", {})
        fault = self._fault(incoming, endpoint)
        try:
            form, asked = understood(bytes(incoming.body), dialect_of(image), environment)
        except BadInput as refusal:
            connection.write(container.failed(400, str(refusal)))
            connection.answered(incoming.keep_alive)
            return
        echoed = incoming.headers.get("x-amzn-sagemaker-custom-attributes")
        reply = Reply(form, container, asked, events=events, echoed=echoed, fault=fault)
        flight = Flight(connection, incoming, reply, asked._replace(streamed=asked.streamed and events), fault)
        self._fly(flight, asked, instances, connection)

    def _fly(self, flight: Flight, asked: Asked, instances: _Instances, connection: Connection) -> None:
        total = asked.prompt_tokens + asked.output_tokens
        if instances.positions is not None and total > instances.positions:
            said = f"`inputs` tokens + `max_new_tokens` must be <= {instances.positions}. Given: {asked.prompt_tokens} `inputs`"
            connection.write(flight.speaker.error(422, f"{said} tokens and {asked.output_tokens} `max_new_tokens`"))
            connection.answered(flight.keep_alive)
            return
        if flight.fault == "split":
            connection.trickle()
        home = instances.next()
        home.submit(flight)
        if not flight.asked.streamed:
            limit = self._account.options.invoke_limit_seconds
            asyncio.get_running_loop().call_later(limit, home.give_up, flight, 0, TIMED_OUT)

    def _endpoint(self, caller: Caller, name: str) -> Resource:
        now, endpoint = self._account.now(), self._account.get(caller.region, "endpoint", name)
        if endpoint is None or endpoint.status(now) != "InService":
            raise AwsError("ValidationError", f"Endpoint {name} of account {ACCOUNT} not found.")
        return endpoint

    def _instances(self, endpoint: Resource, component: str | None) -> _Instances:
        of: Resource = endpoint
        variant = endpoint.serves[0]
        container = variant.get("Container")
        if container is None or component is not None:
            found = None if component is None else self._account.get(endpoint.region, "inference-component", component)
            if found is None or found.asked["EndpointName"] != endpoint.name:
                said = "Inference Component Name header is required" if component is None else f"{component} not found"
                raise AwsError("ValidationError", f"{said} for endpoint {endpoint.name}.")
            if found.status(self._account.now()) != "InService":
                raise AwsError("ModelNotReadyException", f"Inference component {component} is not in service.", 429)
            of, container = found, found.serves[0]["Container"]
        copies = (
            variant.get("InitialInstanceCount", 1) if of is endpoint else of.asked.get("RuntimeConfig", {}).get("CopyCount", 1)
        )
        if of not in self._serving:
            does = served(variant.get("InstanceType", ""), container, self._account.options.speed)
            self._serving[of] = _Instances(variant, container, does, max(1, copies), self._log)
        return self._serving[of]

    def _fault(self, incoming: Incoming, endpoint: Resource) -> str | None:
        asked = incoming.headers.get(FAULT_HEADER)
        if asked is not None:
            if asked not in {*RUNTIME_KINDS, "none"}:
                raise AwsError("ValidationError", f"{FAULT_HEADER}: there is no {asked!r}")
            return None if asked == "none" else asked
        struck = self._account.mischief.strikes(*RUNTIME_KINDS, name=endpoint.name, instance_types=list(endpoint.instances))
        return None if struck is None else struck.kind
