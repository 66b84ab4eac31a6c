"""YAML in, ``Benchmark`` out.

``document`` reads YAML and remembers the line of everything, ``parts`` makes adapters and loads of it, ``reading`` makes
the benchmark.
"""

from __future__ import annotations

from fmbench.config.reading import load_config

__all__ = ["load_config"]
