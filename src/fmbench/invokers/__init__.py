"""Invokers: they speak an endpoint's protocol."""

from __future__ import annotations

from fmbench.invokers.functions import from_call, from_stream
from fmbench.invokers.openai import OpenAI
from fmbench.invokers.sagemaker import SageMaker
from fmbench.invokers.tgi import TGI

__all__ = ["TGI", "OpenAI", "SageMaker", "from_call", "from_stream"]
