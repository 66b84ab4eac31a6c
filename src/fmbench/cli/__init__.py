"""The command line, thin over the public names.

``main`` holds the commands, ``running`` runs a benchmark for the terminal, ``progress`` shows how it goes, ``showing``
prints what came out, ``quickstart`` is the embedded default.
"""

from __future__ import annotations

from fmbench.cli.main import main

__all__ = ["main"]
