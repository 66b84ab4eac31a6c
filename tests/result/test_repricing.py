"""Prices changed after the fact."""

import json

import pytest

from fmbench import SLO, Result
from fmbench.errors import ConfigError

HOURLY = {"instance_type": "ml.g5.12xlarge", "usd_per_hour": 7.2, "region": "us-east-1"}
TOKENS = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 10.0}


@pytest.fixture
def result(write_run):
    return Result.load(write_run(facts=HOURLY))


def test_everything_that_costs_is_made_anew_and_nothing_else_changes(result):
    before = json.loads((result.directory / "run.json").read_text())
    cheap = result.with_prices({"ml.g5.12xlarge": 3.6})
    assert cheap.cost.usd == pytest.approx(result.cost.usd / 2)
    for old, new in zip(result.experiments, cheap.experiments, strict=True):
        assert new.cost_per_1000_requests_usd == pytest.approx(old.cost_per_1000_requests_usd / 2)
        assert new.usd_per_million_output_tokens == pytest.approx(old.usd_per_million_output_tokens / 2)
        assert (new.latency.p95, new.tps) == (old.latency.p95, old.tps)
    assert cheap.summary.usd_per_hour.tolist() == [3.6, 3.6]
    slo = SLO(latency_p95_seconds=5)
    assert cheap.advise(slo, requests_per_minute=6000).best.usd_per_hour == pytest.approx(
        result.advise(slo, requests_per_minute=6000).best.usd_per_hour / 2
    )
    assert result.experiments[0].facts["usd_per_hour"] == 7.2
    assert json.loads((result.directory / "run.json").read_text()) == before
    assert cheap.repriced == ({"prices": {"ml.g5.12xlarge": {"usd_per_hour": 3.6}}, "multiplier": 1.0, "region": None},)
    assert result.repriced == ()


def test_a_deployments_own_price_wins_over_its_types(result):
    dear = result.with_prices({"ml.g5.12xlarge": 3.6, "engine": 100})
    assert dear.experiments[0].facts["usd_per_hour"] == 100


def test_a_multiplier_is_a_discount_on_all_prices_and_stacks(result):
    spot = result.with_prices(multiplier=0.3)
    assert spot.cost.usd == pytest.approx(result.cost.usd * 0.3)
    assert spot.with_prices(multiplier=0.5).cost.usd == pytest.approx(result.cost.usd * 0.15)
    assert result.with_prices({"engine": 10}, multiplier=0.5).experiments[0].facts["usd_per_hour"] == 5
    assert len(spot.with_prices(multiplier=0.5).repriced) == 2


def test_an_hourly_price_can_become_one_by_tokens(result):
    tokens = result.with_prices({"engine": TOKENS})
    # 50 prompt tokens and 5 completion tokens a request.
    assert tokens.experiments[0].cost_per_1000_requests_usd == pytest.approx((50 * 1 + 5 * 10) / 1e6 * 1000)
    assert tokens.cost.usd == pytest.approx(260 * 100 / 1e6)
    assert tokens.with_prices({"engine": 7.2}).cost.usd == pytest.approx(result.cost.usd)


def test_another_region_keeps_no_price_that_was_not_given_for_it(result):
    there = result.with_prices(region="eu-west-1")
    assert there.cost.usd is None
    assert "no price was given for ml.g5.12xlarge in eu-west-1" in there.cost.reason
    assert there.experiments[0].reasons["cost_per_1000_requests_usd"] == "no price was given for ml.g5.12xlarge in eu-west-1"
    assert there.with_prices({"ml.g5.12xlarge": 8}).cost.usd is not None
    assert result.with_prices({"ml.g5.12xlarge": 8}, region="eu-west-1").experiments[0].facts["region"] == "eu-west-1"
    assert result.with_prices(region="us-east-1").cost.usd == result.cost.usd


def test_a_price_that_nobody_knows_is_not_known(result):
    unknown = result.with_prices({"engine": None})
    assert unknown.experiments[0].cost_per_1000_requests_usd is None
    assert "was given as not known" in unknown.experiments[0].reasons["usd_per_million_output_tokens"]
    assert "was given as not known" in unknown.cost.reason
    assert "price is not known" in unknown.advise(SLO(latency_p95_seconds=5), requests_per_minute=60).sentence


@pytest.mark.parametrize(
    ("prices", "options", "told"),
    [
        ({"ml.g5.24xlarge": 1}, {}, "ml.g5.12xlarge"),
        ({"engine": -1}, {}, "usd_per_hour"),
        ({"engine": float("nan")}, {}, "usd_per_hour"),
        ({"engine": "7"}, {}, "usd_per_hour"),
        ({"engine": {"usd": 1}}, {}, "usd is no price"),
        ({"engine": {}}, {}, "nothing is no price"),
        ({"engine": {"usd_per_million_input_tokens": 1}}, {}, "both per-token prices"),
        ({}, {"multiplier": 0}, "multiplier"),
        ({}, {"multiplier": True}, "multiplier"),
    ],
)
def test_what_cannot_be_a_price_is_refused_in_one_line(result, prices, options, told):
    with pytest.raises(ConfigError, match=told) as caught:
        result.with_prices(prices, **options)
    assert "\n" not in str(caught.value)


def test_a_report_at_other_prices_can_go_elsewhere(result, tmp_path):
    [path] = result.with_prices({"engine": 1.0}).report("csv", tmp_path / "cheap")
    assert path == tmp_path / "cheap" / "summary.csv"
    assert not (result.directory / "summary.csv").exists()
