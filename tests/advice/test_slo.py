import copy
import pickle

import pytest

from fmbench.advice import SLO
from fmbench.errors import ConfigError
from fmbench.metrics import Limit, quantile_of


def test_an_slo_is_a_value():
    slo = SLO(latency_p95_seconds=5, ttft_p99_seconds=1)
    assert slo == SLO(ttft_p99_seconds=1.0, latency_p95_seconds=5.0) != SLO(latency_p95_seconds=5)
    assert hash(slo) == hash(SLO(ttft_p99_seconds=1, latency_p95_seconds=5))
    assert pickle.loads(pickle.dumps(slo)) == copy.deepcopy(slo) == slo
    assert slo.as_dict() == {"latency_p95_seconds": 5, "ttft_p99_seconds": 1}
    assert SLO(**slo.as_dict()) == slo
    assert eval(repr(slo)) == slo
    with pytest.raises(AttributeError, match="cannot be changed"):
        slo.latency_p95_seconds = 6
    with pytest.raises(AttributeError, match="cannot be changed"):
        del slo._limits


def test_the_command_lines_form():
    assert SLO.parse(" latency_p95_seconds=5, ttft_p99_seconds = 1.5,error_rate=0,itl_p99.9_seconds=2") == SLO(
        latency_p95_seconds=5, ttft_p99_seconds=1.5, error_rate=0, itl_p99_9_seconds=2
    )


@pytest.mark.parametrize("metric", ["latency", "response", "service", "ttft", "itl", "tpot"])
@pytest.mark.parametrize("statistic", ["p50", "p90", "p95", "p99", "mean", "p80", "p99_9", "p5"])
def test_every_metric_and_statistic_can_be_limited(metric, statistic):
    assert SLO(**{f"{metric}_{statistic}_seconds": 1}).request_limits()[0].statistic == statistic


def test_limits_on_single_requests_leave_the_error_rate_out():
    slo = SLO(response_p95_seconds=5, itl_mean_seconds=0.1, error_rate=0.01)
    assert slo.request_limits() == (Limit("response_latency", "p95", 5), Limit("itl", "mean", 0.1))


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("latency_p95", "latency_p95_seconds"),
        ("latency_p099_seconds", "latency_p99_seconds"),
        ("latency_p100_seconds", "latency_p90_seconds"),
        ("latency_p99_90_seconds", "latency_p99_seconds"),
        ("tfft_p99_seconds", "ttft_p99_seconds"),
        ("errors_rate", "error_rate"),
        ("error_rate_seconds", "error_rate"),
        ("zzz", "latency_p95_seconds"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name, nearest):
    with pytest.raises(ConfigError, match=rf"slo: '{name}' .*{nearest}"):
        SLO(**{name: 1})


@pytest.mark.parametrize(
    "limits",
    [
        {}, {"latency_p95_seconds": 0}, {"latency_p95_seconds": -1}, {"latency_p95_seconds": float("nan")},
        {"latency_p95_seconds": float("inf")}, {"latency_p95_seconds": "5"}, {"latency_p95_seconds": True}, {"error_rate": 1.1},
        {"error_rate": -0.1},
    ],
)  # fmt: skip
def test_what_cannot_be_a_limit_is_refused_in_one_line(limits):
    with pytest.raises(ConfigError) as caught:
        SLO(**limits)
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in limits)


@pytest.mark.parametrize("text", ["", "latency_p95_seconds", "latency_p95_seconds=", "latency_p95_seconds=fast"])
def test_what_is_no_list_of_limits_is_refused(text):
    with pytest.raises(ConfigError, match="latency_p95_seconds=5"):
        SLO.parse(text)


def test_a_limit_given_twice_is_refused():
    with pytest.raises(ConfigError, match="twice"):
        SLO.parse("error_rate=0,error_rate=1")


def test_the_quantile_is_the_one_that_its_name_says():
    assert [quantile_of(name) for name in ("p50", "p99_9", "p5", "mean")] == pytest.approx([0.5, 0.999, 0.05, None])


def test_an_slo_reads_well():
    assert str(SLO(ttft_p99_9_seconds=1)) == "TTFT p99.9 ≤ 1 s"
    assert SLO(ttft_p99_9_seconds=1, error_rate=0).labels() == {
        "ttft_p99_9_seconds": "TTFT p99.9 (s)",
        "error_rate": "error rate",
    }
    assert str(SLO(latency_p95_seconds=5, ttft_p99_seconds=0.2, error_rate=0.01)) == (
        "latency p95 ≤ 5 s, TTFT p99 ≤ 0.2 s, error rate ≤ 0.01"
    )
