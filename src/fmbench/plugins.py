"""Adapters by name: entry points, listed without importing anything, imported when asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import Distribution, EntryPoint, entry_points
from typing import Any, NamedTuple

from fmbench.errors import PluginBroken, PluginError, PluginNotFound

__all__ = ["DEPLOYERS", "INVOKERS", "PROMPT_SOURCES", "REPORTERS", "Plugin", "Plugins", "extra_for"]

_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*).*?(?:;.*extra\s*==\s*['\"](?P<extra>[^'\"]+)['\"].*)?")
"""A line of ``Requires-Dist``: ``xllamacpp==1.0; extra == "local"``."""


class Plugin(NamedTuple):
    """One registered name."""

    group: str
    name: str
    distribution: str
    target: str


class Plugins:
    """The adapters of one entry-point group.

    Args:
        group: Such as ``fmbench.deployers``.
        what: One of them in words, for messages.
    """

    def __init__(self, group: str, what: str) -> None:
        self.group = group
        self.what = what

    @cached_property
    def _found(self) -> dict[str, list[EntryPoint]]:
        found: dict[str, list[EntryPoint]] = {}
        for entry in entry_points(group=self.group):
            twins = found.setdefault(entry.name, [])
            if all((_distribution(entry), entry.value) != (_distribution(twin), twin.value) for twin in twins):
                twins.append(entry)
        return found

    def __contains__(self, name: str) -> bool:
        if name not in self._found:
            self.__dict__.pop("_found")  # it may have been installed since this process looked last
        return name in self._found

    def names(self) -> tuple[str, ...]:
        """All registered names, sorted."""
        return tuple(sorted(self._found))

    def describe(self) -> tuple[Plugin, ...]:
        """Who registered what."""
        entries = [entry for name in self.names() for entry in self._found[name]]
        return tuple(Plugin(self.group, entry.name, _distribution(entry), entry.value) for entry in entries)

    def load(self, name: str) -> Callable[..., Any]:
        """The class, or the callable that returns an adapter, behind a name.

        Raises:
            PluginNotFound: nobody registered it.
            PluginBroken: importing it failed.
            PluginError: two distributions registered it.
        """
        entries = self._found[name] if name in self else []
        if not entries:
            raise PluginNotFound(self._unknown(name), group=self.group, name=name)
        if len(entries) > 1:
            raise PluginError(self._contested(entries), group=self.group, name=name)
        [entry] = entries
        try:
            target = entry.load()
        except Exception as error:
            raise PluginBroken(self._broken(entry, error), group=self.group, name=name) from error
        if not callable(target):
            text = (
                f"the {self.what} {name!r} of {_distribution(entry)} is {entry.value}, which is neither a class nor a function"
            )
            raise PluginBroken(text, group=self.group, name=name)
        made: Callable[..., Any] = target
        return made

    def _unknown(self, name: str) -> str:
        near = get_close_matches(name, self.names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.names()) or 'none'}"
        return f"there is no {self.what} called {name!r}; {hint}"

    def _contested(self, entries: list[EntryPoint]) -> str:
        claims = " and ".join(sorted({_distribution(entry) for entry in entries}))
        if len({_distribution(entry) for entry in entries}) == 1:
            return f"the {self.what} {entries[0].name!r} is registered twice by {claims}, with different targets"
        return f"the {self.what} {entries[0].name!r} is claimed by both {claims}: uninstall one"

    def _broken(self, entry: EntryPoint, error: Exception) -> str:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        text = f"the {self.what} {entry.name!r} of {_distribution(entry)} cannot be imported: {said}"
        missing = error.name if isinstance(error, ImportError) else None
        extra = None if missing is None or entry.dist is None else extra_for(missing, entry.dist)
        return text if extra is None else f'{text}; install it with: pip install "{_distribution(entry)}[{extra}]"'


def extra_for(module: str, distribution: Distribution) -> str | None:
    """The smallest extra of a distribution that brings a module; ``None`` where none does.

    Args:
        module: Its import name, dotted or not; it is found where its distribution is called the same.
        distribution: Whose extras.
    """
    lines = filter(None, map(_REQUIREMENT.fullmatch, distribution.requires or ()))
    brought = [(line["extra"], _normal(line["name"])) for line in lines if line["extra"] is not None]
    sizes = Counter(extra for extra, _ in brought)
    able = {extra for extra, name in brought if name == _normal(module.partition(".")[0])}
    return min(able, key=lambda extra: (sizes[extra], extra), default=None)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown distribution"


DEPLOYERS = Plugins("fmbench.deployers", "deployer")
PROMPT_SOURCES = Plugins("fmbench.prompt_sources", "prompt source")
INVOKERS = Plugins("fmbench.invokers", "invoker")
REPORTERS = Plugins("fmbench.reporters", "reporter")
