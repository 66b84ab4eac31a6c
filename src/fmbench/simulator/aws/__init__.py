"""The offline AWS: SageMaker's control plane and runtime on the loopback interface, for the real boto3.

``server`` takes a request to its service: ``signed`` says who sent it, ``shapes`` whether AWS would take it, ``hosting`` and
``tagging`` do it, on what ``account`` holds. ``runtime`` answers invocations with the simulator's queueing models, at the
made-up ``speeds`` of instance types, in the words of ``dialects`` and ``replies``. ``mischief`` is what goes wrong on purpose;
``admin`` and ``offline`` are how it is asked for. Nothing here is AWS's, and what it measures is labelled *simulated*.
"""

from __future__ import annotations

from fmbench.simulator.aws.mischief import CONTROL_KINDS, RUNTIME_KINDS
from fmbench.simulator.aws.offline import OfflineAWS, environment_of
from fmbench.simulator.aws.options import ACCOUNT, AwsOptions

__all__ = ["ACCOUNT", "CONTROL_KINDS", "RUNTIME_KINDS", "AwsOptions", "OfflineAWS", "environment_of"]
