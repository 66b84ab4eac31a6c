"""Requests checked against botocore's own service models: what AWS would refuse is refused here."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from typing import Any

from fmbench import ConfigError
from fmbench.simulator.aws.problems import AwsError

__all__ = ["Shapes"]


class Shapes:
    """The service models, read when they are first needed.

    Raises:
        ConfigError: botocore is not installed.
    """

    def __init__(self) -> None:
        try:
            from botocore.loaders import Loader  # noqa: PLC0415 - the aws extra, and slow to import
            from botocore.validate import ParamValidator  # noqa: PLC0415 - the same
        except ImportError:
            raise ConfigError('the offline AWS needs the extra "aws": pip install "fmbench-harness[aws]"') from None
        self._loader = Loader()
        self._validator = ParamValidator()
        self._models: dict[str, Any] = {}
        self._patterns: dict[str, re.Pattern[str] | None] = {}

    def check(self, service: str, operation: str, given: Any) -> None:
        """Refuse what the model does not allow.

        Args:
            service: botocore's name of it.
            operation: The operation's name.
            given: The parameters.

        Raises:
            AwsError: there is no such operation, or something is missing, of another type, or out of its limits.
        """
        model = self._model(service)
        if operation not in model.operation_names:
            raise AwsError("UnknownOperationException", f"{operation} is no operation of {service}")
        shape = model.operation_model(operation).input_shape
        if shape is None:
            return
        if not isinstance(given, dict):
            raise AwsError("SerializationException", "The request is not a JSON object")
        report = self._validator.validate(given, shape)
        if report.has_errors():
            raise AwsError("ValidationException", report.generate_report())
        wrong = list(self._wrong(shape, given, ""))
        if wrong:
            count = f"{len(wrong)} validation error{'s' * (len(wrong) > 1)} detected: "
            raise AwsError("ValidationException", count + "; ".join(wrong))

    def values(self, service: str, shape: str) -> frozenset[str]:
        """An enumeration's values."""
        return frozenset(self._model(service).shape_for(shape).enum)

    def _model(self, service: str) -> Any:
        if service not in self._models:
            from botocore.model import ServiceModel  # noqa: PLC0415 - slow to import

            self._models[service] = ServiceModel(self._loader.load_service_model(service, "service-2"), service)
        return self._models[service]

    def _wrong(self, shape: Any, value: Any, path: str) -> Iterator[str]:
        """What botocore itself leaves to AWS: enumerations, patterns and upper limits."""
        kind = shape.type_name
        if kind == "structure":
            for name, member in shape.members.items():
                if name in value:
                    yield from self._wrong(member, value[name], f"{path}.{name[:1].lower()}{name[1:]}".lstrip("."))
        elif kind == "list":
            for index, item in enumerate(value):
                yield from self._wrong(shape.member, item, f"{path}.{index + 1}.member")
        elif kind == "map":
            for key, item in value.items():
                yield from self._wrong(shape.key, key, f"{path}.key")
                yield from self._wrong(shape.value, item, f"{path}.{key}.member")
        yield from self._out_of_limits(shape, value, path)

    def _out_of_limits(self, shape: Any, value: Any, path: str) -> Iterator[str]:
        most = shape.metadata.get("max")
        size = value if shape.type_name in {"integer", "long", "float", "double"} else None
        size = len(value) if shape.type_name in {"string", "list", "map", "blob"} else size
        failed = f"Value {value!r} at {path!r} failed to satisfy constraint: Member must "
        if most is not None and size is not None and size > most:
            yield failed + f"have length or value less than or equal to {most}"
        if shape.type_name != "string":
            return
        if shape.enum and value not in shape.enum:
            yield failed + f"satisfy enum value set: [{', '.join(sorted(shape.enum))}]"
        pattern = self._pattern(shape.metadata.get("pattern"))
        if pattern is not None and not pattern.fullmatch(value):
            yield failed + f"satisfy regular expression pattern: {pattern.pattern}"

    def _pattern(self, text: str | None) -> re.Pattern[str] | None:
        """It is Java's; ``None`` where Python cannot read it."""
        if text is None:
            return None
        if text not in self._patterns:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    self._patterns[text] = re.compile(text)
            except re.error:
                self._patterns[text] = None
        return self._patterns[text]
