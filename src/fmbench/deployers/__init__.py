"""Deployers: they bring endpoints up and take them down."""

from __future__ import annotations

from fmbench.deployers.existing import ExistingEndpoint
from fmbench.deployers.llamacpp import LlamaCpp
from fmbench.deployers.process import Process
from fmbench.deployers.sagemaker import JumpStart, SageMakerEndpoint, SageMakerGPU, SageMakerNeuron
from fmbench.deployers.simulator import Simulator

__all__ = [
    "ExistingEndpoint",
    "JumpStart",
    "LlamaCpp",
    "Process",
    "SageMakerEndpoint",
    "SageMakerGPU",
    "SageMakerNeuron",
    "Simulator",
]
