"""YAML in, ``Benchmark`` out.

``document`` reads YAML and remembers the line of everything, ``parts`` makes adapters and loads of it, ``reading`` makes
the benchmark.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fmbench.benchmark import Benchmark

__all__ = ["load_config"]


def load_config(path: str | PathLike[str]) -> Benchmark:
    """Read a configuration. Relative paths in it are relative to its folder.

    Raises:
        ConfigError: something is wrong; the message begins with ``FILE:LINE``.
        PluginError: an adapter it names cannot be imported.
    """
    from fmbench.config.reading import benchmark_of  # noqa: PLC0415 - scripts need no YAML

    return benchmark_of(Path(path).expanduser())
