import pytest

from fmbench.metrics import METRICS, RULES, Distribution, Figure

DESIGN = {
    "latency": "s", "response_latency": "s", "ttft": "s", "itl": "s", "tpot": "s", "token_throughput": "tokens/s",
    "tps": "1/s", "output_throughput": "tokens/s", "goodput": "1/s", "cost": "USD",
}  # fmt: skip


def test_every_metric_of_the_design_is_there_with_its_unit():
    units = {metric.name: metric.unit for metric in METRICS}
    assert DESIGN.items() <= units.items()
    assert len(units) == len(METRICS)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_explained(metric):
    assert all((metric.formula, metric.definition, metric.peers))
    assert metric.over in {"request", "gap", "experiment", "run"}
    assert metric.function.__doc__


@pytest.mark.parametrize("metric", [one for one in METRICS if one.over in {"request", "gap"}], ids=lambda one: one.name)
def test_a_distribution_has_the_unit_the_table_says(metric, make_record, make_sample):
    found = metric.function(make_sample([make_record(due_ns=0, sent_ns=0, arrivals_ns=[1, 2, 3])]))
    assert isinstance(found, Distribution)
    assert found.unit == metric.unit


@pytest.mark.parametrize("name", ["tps", "output_throughput", "error_rate"])
def test_a_figure_has_the_unit_the_table_says(name, make_sample):
    metric = next(metric for metric in METRICS if metric.name == name)
    found = metric.function(make_sample([]))
    assert isinstance(found, Figure)
    assert found.unit == metric.unit


def test_the_rules_name_the_bounds_that_the_code_keeps():
    assert any("p50 needs 11, p90 64, p95 130, p99 662" in rule for rule in RULES)
