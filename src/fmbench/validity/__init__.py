"""May these numbers be believed? Verdicts with reasons and remedies (``checks`` makes them, and needs numpy)."""

from __future__ import annotations

from fmbench.validity.check import Check, Verdict, worst

__all__ = ["Check", "Verdict", "worst"]
