"""What the user asked for, as a list of experiments: names resolved, lists multiplied out, parts checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import product
from typing import Any

from fmbench import plugins
from fmbench.errors import ConfigError
from fmbench.interfaces import Deployer, Invoker, PromptSource
from fmbench.load import Load, conversing
from fmbench.types import Parameters, Prompt

__all__ = ["Asked", "Case", "Deployment", "PromptSet", "multiply", "name_cases"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One experiment as asked for. Every adapter may be an object or a registered name."""

    deployer: Deployer | str
    prompts: PromptSource | Sequence[Prompt] | str
    load: Load
    parameters: Parameters = field(default_factory=Parameters)
    invoker: Invoker | str | None = None
    tokenizer: Any = None
    name: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PromptSet:
    """A prompt source and what people call it; a source with a template for each model is one of that name for each."""

    name: str
    source: PromptSource


@dataclass(frozen=True, slots=True, eq=False)
class Deployment:
    """A deployer and what people call it."""

    name: str
    deployer: Deployer

    @property
    def exclusive(self) -> Any:
        return getattr(self.deployer, "exclusive", None)

    def facts(self) -> Mapping[str, Any]:
        """What is known before deploying."""
        describe = getattr(self.deployer, "describe", None)
        return {} if describe is None else dict(describe())


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One experiment, its parts resolved and named."""

    name: str
    deployment: Deployment
    prompts: PromptSet
    load: Load
    parameters: Parameters
    invoker: Invoker | None
    tokenizer: Any


def multiply(
    *, deployers: Any, prompts: Any, loads: Any, parameters: Parameters | Sequence[Parameters]
) -> tuple[list[Case], dict[int, str]]:
    """The product of the lists, endpoint by endpoint, and the names the user gave to prompt sources, by ``id``.

    Raises:
        ConfigError: a list is empty or missing.
    """
    several = _listed(deployers, "deployers")
    sources, names = _sources(prompts)
    cases = [
        Case(deployer=deployer, prompts=source, load=load, parameters=one)
        for deployer, source, one, load in product(several, sources, _listed(parameters, "parameters"), _listed(loads, "loads"))
    ]
    return cases, names


def _listed(value: Any, what: str) -> list[Any]:
    if value is None:
        raise ConfigError(f"{what} is missing: give one, or a list")
    values = list(value) if isinstance(value, list | tuple) else [value]
    if not values:
        raise ConfigError(f"{what} is empty: give at least one")
    return values


def _sources(prompts: Any) -> tuple[list[Any], dict[int, str]]:
    if isinstance(prompts, Mapping):
        return _listed(list(prompts.values()), "prompts"), {id(source): str(name) for name, source in prompts.items()}
    if isinstance(prompts, list | tuple) and prompts and all(isinstance(item, Prompt) for item in prompts):
        return [prompts], {}
    return _listed(prompts, "prompts"), {}


def name_cases(
    cases: Iterable[Case], names: Mapping[int, str], *, invoker: Invoker | str | None, tokenizer: Any
) -> tuple[Asked, ...]:
    """Resolve registered names, share equal deployers and sources, and give each experiment a name of its own.

    Raises:
        ConfigError: a part is of the wrong kind, or two experiments have one name.
    """
    deployments: list[Deployment] = []
    sets = _Sets()
    parts = []
    for case in cases:
        deployment = _shared(deployments, _resolved(case.deployer, plugins.DEPLOYERS, Deployer, "deployers"))
        source = _resolved(case.prompts, plugins.PROMPT_SOURCES, PromptSource, "prompts")
        parts.append((case, deployment, sets.shared(source, names.get(id(case.prompts)), deployment)))
    if not parts:
        raise ConfigError("cases is empty: give at least one")
    many_sets = len(sets.named) > 1
    varied = _varied([case.parameters for case, *_ in parts if isinstance(case.parameters, Parameters)])
    loads = [case.load for case, *_ in parts if is_dataclass(case.load)]
    asked = [
        Asked(
            name=case.name or _name(case, deployment, prompts if many_sets else None, varied, loads),
            deployment=deployment,
            prompts=prompts,
            load=_checked(case.load, Load, "loads"),
            parameters=_checked(case.parameters, Parameters, "parameters"),
            invoker=_invoker(case.invoker if case.invoker is not None else invoker, deployment.deployer),
            tokenizer=case.tokenizer if case.tokenizer is not None else tokenizer,
        )
        for case, deployment, prompts in parts
    ]
    _refuse_twins(asked)
    _refuse_one_resource_twice(deployments)
    for one in asked:
        _refuse_unspeakable(one)
    for one in asked:
        if isinstance(one.prompts.source, Sequence):  # else what a load needs of them is seen when they are drawn
            check_prompts(one, one.prompts.source)
    return tuple(sorted(asked, key=lambda one: deployments.index(one.deployment)))


def check_prompts(one: Asked, prompts: Sequence[Prompt]) -> None:
    """Refuse prompts that the load, the parameters or the invoker cannot send.

    Raises:
        ConfigError: they are not as the load needs them, or continue conversations that cannot be had.
    """
    load = conversing(one.load, prompts)
    load.arranged(prompts)
    if load is one.load:
        return
    invoker = one.invoker or getattr(one.deployment.deployer, "invoker", None)
    if not getattr(invoker, "sends_messages", True):
        raise ConfigError(
            f"invoker: {type(invoker).__name__} as it is set sends plain texts, but prompts continue conversations (after=), "
            "which are sent as chat messages: use one for chat, such as openai with api: chat"
        )
    if isinstance(one.parameters.truncate, str):
        raise ConfigError(
            f"parameters: truncate={one.parameters.truncate!r} cannot be had for conversations (after=): a later turn's length "
            "is not known before; give a number"
        )


def _varied(several: Sequence[Parameters]) -> tuple[str, ...]:
    """The names of the parameters that are not the same everywhere."""
    names = dict.fromkeys(name for one in several for name in one.given())
    return tuple(name for name in names if len({repr(getattr(one, name)) for one in several}) > 1)


def _name(case: Case, deployment: Deployment, prompts: PromptSet | None, told: Sequence[str], loads: Sequence[Any]) -> str:
    words = [deployment.name, *([prompts.name] if prompts else []), str(case.load)]
    if rivals := [load for load in loads if str(load) == str(case.load) and load != case.load]:
        names = [part.name for part in fields(rivals[0])]
        words += [
            f"{name}={own}"
            for name in names
            if (own := getattr(case.load, name)) is not None and any(getattr(rival, name) != own for rival in rivals)
        ]
    if told:
        words.append(" ".join(f"{name}={value}" for name in told if (value := getattr(case.parameters, name)) is not None))
    return ", ".join(words)


def _refuse_unspeakable(one: Asked) -> None:
    """Refuse parameters that the invoker cannot say, where it is known before deploying and can tell."""
    invoker = one.invoker or getattr(one.deployment.deployer, "invoker", None)
    if (check := getattr(invoker, "check", None)) is not None:
        check(one.parameters)


def _refuse_twins(asked: Sequence[Asked]) -> None:
    names = [one.name for one in asked]
    if twins := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two experiments are called {twins[0]!r}: ask for it once, or give each case a name")


def _refuse_one_resource_twice(deployments: Sequence[Deployment]) -> None:
    """One would be taken for the other, and neither could be told to stand or to be gone."""
    seen: dict[Any, str] = {}
    for one in deployments:
        if (resource := getattr(one.deployer, "resource", None)) is None:
            continue
        if (other := seen.setdefault(resource, one.name)) != one.name:
            words = " ".join(map(str, resource)) if isinstance(resource, tuple) else str(resource)
            raise ConfigError(f"{other} and {one.name} would both create {words}: give each a name of its own")


def _resolved(part: Any, registry: Any, kind: type[Any], what: str) -> Any:
    if isinstance(part, str):
        part = registry.load(part)()
    return _checked(part, kind, what)


def _invoker(part: Invoker | str | None, deployer: Any) -> Invoker | None:
    """The case's or the benchmark's; else the deployer's where that is a name; what else it has, its endpoint will tell."""
    if part is None and isinstance(named := getattr(deployer, "invoker", None), str):
        part = named
    return None if part is None else _resolved(part, plugins.INVOKERS, Invoker, "invoker")


def _checked(part: Any, kind: type[Any], what: str) -> Any:
    if isinstance(part, type) or not isinstance(part, kind):
        raise ConfigError(f"{what}: {part!r} is not a {kind.__name__}; see the documentation's page on adapters")
    return part


def _shared(deployments: list[Deployment], deployer: Deployer) -> Deployment:
    for known in deployments:
        if known.deployer is deployer or known.deployer == deployer:
            return known
    given = getattr(deployer, "name", None) or getattr(deployer, "label", None) or _kebab(type(deployer))
    name = _free(given, [known.name for known in deployments])
    deployments.append(Deployment(name, deployer))
    return deployments[-1]


class _Sets:
    """The prompt sets so far: equal sources are one, in one form for each template that a model wants."""

    def __init__(self) -> None:
        self.named: list[tuple[Any, str]] = []
        self._forms: list[PromptSet] = []

    def shared(self, source: Any, name: str | None, deployment: Deployment) -> PromptSet:
        called = next((known for one, known in self.named if one is source or (name is None and one == source)), None)
        if called is None:
            kind = "prompts" if isinstance(source, list | tuple) else type(source).__name__.lower()
            called = _free(name or getattr(source, "name", None) or kind, [known for _, known in self.named])
            self.named.append((source, called))
        for_model = getattr(source, "for_model", None)
        form = source if for_model is None else for_model(_names_of(deployment))
        for known in self._forms:
            if known.name == called and (known.source is form or known.source == form):
                return known
        self._forms.append(PromptSet(called, form))
        return self._forms[-1]


def _names_of(deployment: Deployment) -> list[str]:
    """What a deployment and its model are called, before there is an endpoint."""
    given = (getattr(deployment.deployer, name, None) for name in ("model", "model_id", "endpoint_name"))
    return [deployment.name, *(str(name) for name in given if name is not None)]


def _kebab(kind: type) -> str:
    """``ExistingEndpoint`` as ``existing-endpoint``."""
    return re.sub(r"(?<!^)(?=[A-Z][a-z])", "-", kind.__name__).lower()


def _free(name: str, taken: Sequence[str]) -> str:
    if name not in taken:
        return name
    return next(other for number in range(2, len(taken) + 3) if (other := f"{name}-{number}") not in taken)
