"""Deployers: they bring endpoints up and take them down. Each is imported when it is first asked for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_MODULES = {"ExistingEndpoint": "existing", "LlamaCpp": "llamacpp", "Process": "process", "Simulator": "simulator"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'sagemaker')}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
