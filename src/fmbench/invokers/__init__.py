"""Invokers: they speak an endpoint's protocol."""

from __future__ import annotations

from fmbench.invokers.functions import from_call, from_stream
from fmbench.invokers.openai import OpenAI

__all__ = ["OpenAI", "from_call", "from_stream"]
