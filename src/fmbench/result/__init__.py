"""What a run measured: ``Result`` and its experiments, made from the run's folder and from nothing else."""

from __future__ import annotations

from fmbench.result.cost import Cost, DeploymentCost
from fmbench.result.deployment import Deployment, Sitting
from fmbench.result.experiment import Experiment
from fmbench.result.result import Result
from fmbench.result.summary import SUMMARY, summary_rows

__all__ = ["SUMMARY", "Cost", "Deployment", "DeploymentCost", "Experiment", "Result", "Sitting", "summary_rows"]
