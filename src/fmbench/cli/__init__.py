"""The command line, thin over the public names.

``main`` holds the commands, ``running`` runs a benchmark for the terminal, ``signals`` lets it be interrupted, ``progress``
shows how it goes (``board`` says what), ``showing`` prints what came out, ``outcome`` and ``ending`` say with which exit
status, ``quickstart`` is the embedded default.
"""

from __future__ import annotations

from fmbench.cli.main import main

__all__ = ["main"]
