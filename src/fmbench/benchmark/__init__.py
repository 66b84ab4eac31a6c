"""Deploy, connect, measure, report.

``benchmark`` holds the face, ``cases`` turns what the user gave into experiments, ``drawing`` makes prompts of prompt
sources, ``conducting`` deploys and takes down, ``measuring`` runs one experiment, ``sitting`` gives a run its thread,
``run_file`` and ``results_file`` write, ``tokenizers`` counts.
"""

from __future__ import annotations

from fmbench.benchmark.benchmark import Benchmark
from fmbench.benchmark.cases import Case
from fmbench.benchmark.planning import Plan
from fmbench.benchmark.progress import Progress
from fmbench.benchmark.tokenizers import load_tokenizer

__all__ = ["Benchmark", "Case", "Plan", "Progress", "load_tokenizer"]
