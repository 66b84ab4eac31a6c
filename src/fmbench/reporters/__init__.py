"""Reporters: a result as files, as a page, as charts."""

from __future__ import annotations

from fmbench.reporters.drawings import Charts
from fmbench.reporters.files import Csv, Json
from fmbench.reporters.markdown import Markdown
from fmbench.reporters.page import Html

__all__ = ["Charts", "Csv", "Html", "Json", "Markdown"]
