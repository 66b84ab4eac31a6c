"""Deployers: they bring endpoints up and take them down."""

from __future__ import annotations

from fmbench.deployers.existing import ExistingEndpoint
from fmbench.deployers.llamacpp import LlamaCpp
from fmbench.deployers.process import Process
from fmbench.deployers.simulator import Simulator

__all__ = ["ExistingEndpoint", "LlamaCpp", "Process", "Simulator"]
