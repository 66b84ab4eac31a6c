"""Prompt sources: they yield prompts, the same ones each time."""

from __future__ import annotations

from fmbench.prompts.dataset import Dataset
from fmbench.prompts.python_topics import PythonTopics

__all__ = ["Dataset", "PythonTopics"]
