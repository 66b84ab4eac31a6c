"""Loads of several kinds in one run, some of which have no one rate, can all be drawn."""

from fmbench import Benchmark, ConstantRate, Parameters, Prompt, Ramp
from fmbench.deployers import ExistingEndpoint
from fmbench.testing import FakeServer


def test_a_ramp_beside_a_constant_rate_has_its_charts(tmp_path):
    with FakeServer(tokens=2) as server:
        result = Benchmark(
            deployers=ExistingEndpoint(server.url, name="server", model="m"),
            prompts=[Prompt(id=str(number), text=f"prompt {number}") for number in range(10)],
            loads=[ConstantRate(50, requests=20), Ramp(20, 60, requests=20)],
            parameters=Parameters(max_new_tokens=2),
            reporters=["html", "charts"],
        ).run(tmp_path / "run")
    assert list(result.problems) == []
    assert (tmp_path / "run" / "report.html").exists()
