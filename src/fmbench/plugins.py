"""Adapters by name: entry points, listed without importing anything, imported when asked for."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, NamedTuple

from fmbench.errors import PluginBroken, PluginError, PluginNotFound

__all__ = ["DEPLOYERS", "INVOKERS", "PROMPT_SOURCES", "REPORTERS", "Plugin", "Plugins"]

_EXTRAS = {"xllamacpp": "local", "gguf": "local", "transformers": "transformers", "torch": "transformers"}
"""Which of our extras brings a module that an adapter may find missing."""


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
        entries = self._found.get(name, [])
        if not entries:
            raise PluginNotFound(self._unknown(name), group=self.group, name=name)
        if len(entries) > 1:
            both = " and ".join(sorted(_distribution(entry) for entry in entries))
            raise PluginError(f"the {self.what} {name!r} is claimed by both {both}: uninstall one", group=self.group, name=name)
        [entry] = entries
        try:
            target: Callable[..., Any] = entry.load()
        except Exception as error:
            raise PluginBroken(self._broken(entry, error), group=self.group, name=name) from error
        return target

    def forget(self) -> None:
        """Look again at the next question; for a process that installs distributions while it runs."""
        self.__dict__.pop("_found", None)

    def _unknown(self, name: str) -> str:
        near = get_close_matches(name, self.names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.names()) or 'none'}"
        return f"there is no {self.what} called {name!r}; {hint}"

    def _broken(self, entry: EntryPoint, error: Exception) -> str:
        text = f"the {self.what} {entry.name!r} of {_distribution(entry)} cannot be imported: {type(error).__name__}: {error}"
        extra = _EXTRAS.get((error.name or "").split(".")[0]) if isinstance(error, ImportError) else None
        return text if extra is None else f'{text}; install it with: pip install "fmbench-harness[{extra}]"'


def _distribution(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else "an unknown distribution"


DEPLOYERS = Plugins("fmbench.deployers", "deployer")
PROMPT_SOURCES = Plugins("fmbench.prompt_sources", "prompt source")
INVOKERS = Plugins("fmbench.invokers", "invoker")
REPORTERS = Plugins("fmbench.reporters", "reporter")
