"""For authors of adapters: conformance checks that any test framework can call, and the fakes that they need.

A check raises ``AssertionError`` with a plain reason. None of them needs pytest.
"""

from __future__ import annotations

from fmbench.testing.deployer import check_deployer
from fmbench.testing.fake_server import FakeServer
from fmbench.testing.in_process import Echo, InProcess
from fmbench.testing.invoker import check_invoker
from fmbench.testing.made_up import made_up_result
from fmbench.testing.prompt_source import check_prompt_source
from fmbench.testing.reporter import check_reporter

__all__ = [
    "Echo",
    "FakeServer",
    "InProcess",
    "check_deployer",
    "check_invoker",
    "check_prompt_source",
    "check_reporter",
    "made_up_result",
]
