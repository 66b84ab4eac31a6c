"""Invokers: they speak an endpoint's protocol."""

from __future__ import annotations

from fmbench.invokers.functions import from_call, from_stream
from fmbench.invokers.openai import OpenAI
from fmbench.invokers.sagemaker import SageMaker

__all__ = ["OpenAI", "SageMaker", "from_call", "from_stream"]
