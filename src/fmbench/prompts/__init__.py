"""Prompt sources: they yield prompts, the same ones each time."""

from __future__ import annotations

from fmbench.prompts.dataset import Dataset
from fmbench.prompts.huggingface import HuggingFace
from fmbench.prompts.lengths import PROFILES, Fixed, LogNormal, Normal, Uniform
from fmbench.prompts.python_topics import PythonTopics
from fmbench.prompts.synthetic import Synthetic
from fmbench.prompts.trace import Trace

__all__ = [
    "PROFILES",
    "Dataset",
    "Fixed",
    "HuggingFace",
    "LogNormal",
    "Normal",
    "PythonTopics",
    "Synthetic",
    "Trace",
    "Uniform",
]
