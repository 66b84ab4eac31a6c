"""SageMaker's endpoints: made for a run and deleted after it, or found as they are.

``catalogue`` knows instance types and images, ``hub`` and ``plan`` turn what is wanted into requests (pure), ``control``
calls AWS, ``standing`` creates, waits and deletes, ``tagged`` finds what fmbench made without a journal.
"""

from __future__ import annotations

from fmbench.deployers.sagemaker.containers import SageMakerGPU, SageMakerNeuron
from fmbench.deployers.sagemaker.existing import SageMakerEndpoint
from fmbench.deployers.sagemaker.jumpstart import JumpStart
from fmbench.deployers.sagemaker.standing import delete_deployment
from fmbench.deployers.sagemaker.tagged import find_tagged

__all__ = ["JumpStart", "SageMakerEndpoint", "SageMakerGPU", "SageMakerNeuron", "delete_deployment", "find_tagged"]
