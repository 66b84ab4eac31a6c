import json
import math
import random
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmbench.advice import SLO, advise
from fmbench.errors import ConfigError
from fmbench.metrics import Distribution

FIVE = SLO(latency_p95_seconds=5)
NONE = Distribution(np.empty(0), "s", reason="no reply was streamed")


@dataclass
class Tried:
    """An experiment, as far as a decision looks at one; every request took ``seconds``."""

    deployment: str
    concurrency: int | None
    seconds: float | None
    tps: float | None = 1.0
    facts: dict = field(default_factory=dict)
    requests: int = 130
    prompts: str = "prompts"
    parameters: dict = field(default_factory=dict)
    error_rate: float | None = 0.0
    per_second: float | None = None
    status: str = "measured"
    reason: str | None = None
    verdict: str = "pass"
    ttft: Distribution = NONE
    itl: Distribution = NONE
    tpot: Distribution = NONE
    prompt_tokens: Distribution = field(default_factory=lambda: Distribution(np.full(130, 2000.0), "tokens"))
    output_tokens: float = 100.0

    @property
    def name(self):
        return f"{self.deployment} {self.load} {self.prompts} {self.parameters}"

    @property
    def load(self):
        return f"{self.per_second}/s" if self.concurrency is None else f"concurrency {self.concurrency}"

    @property
    def latency(self):
        if self.seconds is None:
            return Distribution(np.empty(0), "s", reason="no request that was due in the window succeeded")
        return Distribution(np.full(self.requests, self.seconds), "s")

    response_latency = service_latency = latency

    @property
    def usd_per_million_output_tokens(self):
        per_1000 = self.cost_per_1000_requests_usd
        return None if per_1000 is None else per_1000 * 1000 / self.output_tokens

    @property
    def cost_per_1000_requests_usd(self):
        price = self.facts.get("usd_per_hour")
        return None if price is None or not self.tps else price * self.facts.get("instance_count", 1) / 3600 / self.tps * 1000


def test_the_highest_measured_load_that_meets_the_slo_is_taken():
    tried = [Tried("a", 1, 2, 0.5), Tried("a", 2, 3, 0.7), Tried("a", 4, 5, 0.8), Tried("a", 8, 5.1, 0.9)]
    best = advise(tried, FIVE, requests_per_minute=600).best
    assert (best.load, best.standing, best.highest) == ("concurrency 4", "met", False)
    assert best.requests_per_minute == pytest.approx(48)
    assert best.instances == math.ceil(600 / 48) == 13
    assert best.limited_by == "latency_p95_seconds is 5.1 s at concurrency 8, 5 s allowed"
    assert best.margin == 0


def test_where_more_load_only_makes_requests_wait_the_lower_load_is_taken():
    best = advise([Tried("a", 4, 1, 2.0), Tried("a", 8, 2, 1.9), Tried("a", 16, 4, 1.8)], FIVE).best
    assert (best.load, best.highest) == ("concurrency 4", False)
    assert best.limited_by == "throughput: concurrency 16 does no more requests a minute"
    assert best.margin == pytest.approx(0.8)


def test_costs_are_told_by_the_request_and_by_the_token_and_at_the_rate():
    best = advise([Tried("a", 4, 1, 2.0, {"usd_per_hour": 3.6})], FIVE, requests_per_minute=150).best
    assert best.usd_per_1000_requests == pytest.approx(0.5)
    assert best.usd_per_million_input_tokens == pytest.approx(0.5 / 2000 * 1000)
    assert best.usd_per_million_output_tokens == pytest.approx(0.5 / 100 * 1000)
    # Two instances for 150 a minute, of which one could do 120.
    assert (best.instances, best.usd_per_hour) == (2, 7.2)
    assert best.usd_per_1000_requests_at_rate == pytest.approx(7.2 / (150 * 60) * 1000)


def test_an_interval_that_reaches_over_the_limit_is_said():
    class Wide(Tried):
        @property
        def latency(self):
            return Distribution(np.linspace(1, 5.2, 200), "s")

        response_latency = service_latency = latency

    advice = advise([Wide("a", 4, 1)], FIVE)
    assert advice.best.sure is False
    assert any("the 95% interval of latency_p95_seconds reaches to" in told for told in advice.remarks)
    assert advise([Tried("a", 4, 1)], FIVE).best.sure is True


def test_what_is_taken_for_granted_is_said():
    remarks = advise([Tried("a", 4, 1), Tried("b", None, 1, per_second=2.0)], FIVE, requests_per_minute=600).remarks
    assert any("fixed number of requests in flight: a at concurrency 4;" in told for told in remarks)
    assert any("requests spread evenly" in told for told in remarks)
    assert any("no higher load was measured" in told for told in remarks)


def test_the_front_is_what_nothing_beats_in_all_three():
    tried = [
        Tried("fast", 1, 1, 1.0, {"usd_per_hour": 10.0}), Tried("fast", 4, 3, 3.0, {"usd_per_hour": 10.0}),
        Tried("slow", 1, 2, 1.0, {"usd_per_hour": 1.0}), Tried("slow", 4, 4, 0.9, {"usd_per_hour": 1.0}),
        Tried("dear", 1, 2, 1.0, {"usd_per_hour": 20.0}), Tried("dead", 1, None, None),
    ]  # fmt: skip
    advice = advise(tried, FIVE)
    assert {(one.deployment, one.load) for one in advice.front} == {
        ("fast", "concurrency 1"), ("fast", "concurrency 4"), ("slow", "concurrency 1"),
    }  # fmt: skip
    assert len(advice.points) == 5
    assert json.dumps(advice.as_dict())


def test_several_rates_give_a_table():
    big = Tried("big", 1, 1, 10.0, {"usd_per_hour": 10.0})
    small = Tried("small", 1, 1, 1.0, {"usd_per_hour": 2.0, "instance_type": "ml.g5.xlarge"})
    table = advise([big, small, Tried("late", 1, 9)], FIVE, requests_per_minute=[60, 240, 6000])
    assert table.rates == (60, 240, 6000)
    assert [advice.best.deployment for advice in table] == ["small", "small", "big"]
    assert table.sentence == (
        "Within latency p95 ≤ 5 s, the cheapest for 60 to 240 requests a minute is 1 to 4 x ml.g5.xlarge; "
        "6000 requests a minute is 10 x big."
    )
    header, *rows = table.table()
    assert list(header) == ["deployment", "requests/min each", "60/min", "240/min", "6000/min"]
    assert {row[0]: list(row[2:]) for row in rows} == {
        "small": ["1 (2.00 USD/h)*", "4 (8.00 USD/h)*", "100 (200.00 USD/h)"],
        "big": ["1 (10.00 USD/h)", "1 (10.00 USD/h)", "10 (100.00 USD/h)*"],
        "late": ["misses the SLO"] * 3,
    }
    assert json.loads(json.dumps(table.as_dict()))["requests_per_minute"] == [60, 240, 6000]
    assert str(table).startswith(table.sentence)
    assert "<td>4 (8.00 USD/h)*</td>" in table._repr_html_()
    missed = advise([Tried("late", 1, 9)], FIVE, requests_per_minute=[60])
    assert "80% over the 5 s allowed" in missed.sentence
    with pytest.raises(ConfigError, match="the list holds no rate"):
        advise([big], FIVE, requests_per_minute=[])
    with pytest.raises(ConfigError, match="above 0, not 0"):
        advise([big], FIVE, requests_per_minute=[60, 0])


def test_room_above_the_highest_measured_load_is_said():
    advice = advise([Tried("a", 1, 2), Tried("a", 2, 3)], FIVE)
    assert advice.best.highest
    assert "no higher load was measured" in advice.sentence


def test_the_cheapest_comes_first_not_the_fastest():
    fast = Tried("fast", 4, 1, 4.0, {"usd_per_hour": 30.0, "instance_type": "ml.p4d.24xlarge"})
    slow = Tried("slow", 4, 4, 1.0, {"usd_per_hour": 5.0, "instance_type": "ml.g5.12xlarge"})
    free = Tried("free", 4, 4, 9.0)
    advice = advise([free, fast, slow], FIVE, requests_per_minute=600)
    assert [candidate.deployment for candidate in advice.candidates] == ["slow", "fast", "free"]
    assert (advice.best.instances, advice.best.usd_per_hour) == (10, 50.0)
    assert (advice.candidates[1].instances, advice.candidates[1].usd_per_hour) == (3, 90.0)
    assert (advice.candidates[2].instances, advice.candidates[2].usd_per_hour) == (2, None)
    assert advice.sentence.startswith("10 x ml.g5.12xlarge (slow at concurrency 4) serve 600 requests a minute")
    assert "50.00 USD an hour" in advice.sentence


def test_whole_instances_can_turn_the_order_round():
    """Cheaper by the request, and dearer by the instance that has to be whole."""
    big = Tried("big", 1, 1, 10.0, {"usd_per_hour": 10.0})
    small = Tried("small", 1, 1, 1.0, {"usd_per_hour": 2.0})
    assert advise([big, small], FIVE).best.deployment == "big"
    assert advise([big, small], FIVE, requests_per_minute=60).best.deployment == "small"


def test_several_instances_behind_one_endpoint_are_counted_as_instances():
    best = advise([Tried("a", 8, 1, 4.0, {"usd_per_hour": 2.0, "instance_count": 2})], FIVE, requests_per_minute=600).best
    assert (best.requests_per_minute, best.instances, best.usd_per_hour) == (120, 5, 10.0)


def test_a_price_by_the_token_is_that_of_the_rate():
    class ByTokens(Tried):
        cost_per_1000_requests_usd = 2.0

    prices = {"usd_per_million_input_tokens": 1.0, "usd_per_million_output_tokens": 2.0}
    best = advise([ByTokens("api", 8, 1, 4.0, prices)], FIVE, requests_per_minute=600).best
    assert best.usd_per_hour == pytest.approx(72)


def test_a_missed_slo_says_by_how_much():
    advice = advise([Tried("a", 1, 6.1), Tried("a", 2, 9), Tried("b", 1, 7)], FIVE, requests_per_minute=60)
    assert advice.best is None
    assert [candidate.deployment for candidate in advice.candidates] == ["a", "b"]
    assert advice.candidates[0].load == "concurrency 1"
    assert advice.sentence == (
        "Nothing measured keeps to latency p95 ≤ 5 s: the nearest, a at concurrency 1, has latency p95 6.1 s, "
        "22% over the 5 s allowed."
    )


def test_the_limit_missed_by_most_is_the_one_that_is_told():
    tried = Tried("a", 1, 6, ttft=Distribution(np.full(130, 3.0), "s"))
    assert "TTFT" not in (sentence := advise([tried], SLO(latency_p95_seconds=5, ttft_p95_seconds=1)).sentence).split(": ")[1]
    assert "ttft p95 3 s, 200% over" in sentence


def test_without_a_price_or_a_rate_the_fastest_comes_first():
    advice = advise([Tried("slow", 1, 1, 1.0), Tried("fast", 1, 1, 2.0)], FIVE)
    assert advice.sentence.startswith("The fastest that keeps to latency p95 ≤ 5 s is fast at concurrency 1")


def test_a_percentile_that_is_not_known_meets_nothing():
    advice = advise([Tried("a", 1, 1, requests=50)], FIVE)
    assert advice.best is None
    assert advice.candidates[0].standing == "unknown"
    assert "p95 needs 130 requests, and there are 50" in advice.sentence


def test_any_percentile_can_be_asked_for_and_needs_its_requests():
    tried = Tried("a", 1, 1, requests=7000)
    best = advise([tried], SLO(latency_p99_9_seconds=2, latency_p80_seconds=1.5)).best
    assert {judged.name: judged.value for judged in best.judged}["latency_p99_9_seconds"] == 1
    few = advise([Tried("a", 1, 1, requests=700)], SLO(latency_p99_9_seconds=2))
    assert "p99.9 needs 6636 requests, and there are 700" in few.sentence
    assert "latency p99.9 1 s" in advise([tried], SLO(latency_p99_9_seconds=2)).sentence


def test_what_was_not_streamed_has_no_ttft_to_judge():
    advice = advise([Tried("a", 1, 1)], SLO(ttft_p95_seconds=1))
    assert "no reply was streamed" in advice.sentence


@pytest.mark.parametrize(
    ("tried", "told"),
    [
        (Tried("a", 1, None, None, error_rate=None, status="not_sent", reason="no quota"), "no quota"),
        (Tried("a", 1, None, 0.0, error_rate=1.0), "error rate 1"),
    ],
)
def test_what_failed_or_was_not_measured_is_said(tried, told):
    advice = advise([tried], FIVE, requests_per_minute=60)
    assert advice.best is None
    assert told in advice.sentence
    assert str(advice)
    assert json.dumps(advice.as_dict())


def test_no_experiment_is_said():
    advice = advise([], FIVE)
    assert advice.best is None
    assert "no experiment" in advice.sentence
    assert str(advice)
    assert advice._repr_html_()


def test_failures_count_even_where_the_slo_does_not_name_them():
    flaky = Tried("a", 1, 1, error_rate=0.06)
    assert advise([flaky], FIVE).best is None
    assert "error rate 0.06" in advise([flaky], FIVE).sentence
    assert advise([flaky], SLO(latency_p95_seconds=5, error_rate=0.1)).best is not None
    assert advise([Tried("a", 1, 1, error_rate=0.01)], SLO(error_rate=0)).best is None


def test_doubt_about_the_measurement_is_passed_on():
    assert "do not rely on it" in advise([Tried("a", 1, 1, verdict="fail")], FIVE).sentence


def test_a_simulation_is_called_one():
    assert advise([Tried("a", 1, 1)], FIVE, simulated=True).sentence.startswith("Simulated: ")


def test_prompt_sets_and_parameters_are_decided_on_apart():
    tried = [
        Tried("a", 1, 1, prompts="long"), Tried("a", 1, 9, prompts="short"), Tried("b", 1, 1, prompts="short"),
        Tried("b", 2, 1, prompts="short", parameters={"temperature": 0.5}),
    ]  # fmt: skip
    advice = advise(tried, FIVE, requests_per_minute=60)
    assert [candidate.prompts for candidate in advice.candidates] == ["long", "short", "short", "short"]
    assert advice.best.prompts == "long"
    assert advice.best_for("short").deployment == "b"
    assert "long: " in advice.sentence
    assert "short: " in advice.sentence


def test_open_and_closed_loads_are_not_compared_by_their_levels():
    tried = [Tried("a", 8, 1, 2.0), Tried("a", None, 1, 3.0, per_second=3.0), Tried("a", None, 9, 4.0, per_second=5.0)]
    assert advise(tried, FIVE).best.load == "3.0/s"


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan])
def test_a_rate_that_is_none_is_refused(rate):
    with pytest.raises(ConfigError, match="requests_per_minute"):
        advise([Tried("a", 1, 1)], FIVE, requests_per_minute=rate)


def test_the_table_and_the_page_tell_the_same():
    advice = advise([Tried("<a>", 4, 1, 2.0, {"usd_per_hour": 1.5})], FIVE, requests_per_minute=600)
    lines = str(advice).splitlines()
    assert lines[0] == advice.sentence
    assert "latency p95 (s)" in lines[2]
    assert "USD" not in str(advise([Tried("a", 4, 1)], FIVE))
    assert lines[4].split()[0] == "<a>"
    assert "&lt;a&gt;" in advice._repr_html_()
    assert "<a>" not in advice._repr_html_()
    assert json.loads(json.dumps(advice.as_dict()))["candidates"][0]["instances"] == 5


def test_in_a_grid_of_speeds_and_prices_the_right_number_of_the_right_type_is_named():
    """Against every way of buying: each type, at each load that was measured, as many as are needed."""
    draw = random.Random(7)
    types = {f"type-{index}": draw.choice([0.5, 1.2, 4.1, 12.0, 37.7]) for index in range(5)}
    seen = set()
    for _ in range(400):
        tried = [
            Tried(name, level, draw.uniform(0.5, 8), draw.choice([0.2, 1.0, 2.5, 7.0, 31.0]) * level**0.7,
                  {"instance_type": name, "usd_per_hour": price, "instance_count": draw.choice([1, 1, 2])})
            for name, price in types.items() for level in (1, 4, 16)
        ]  # fmt: skip
        limit, rate = draw.choice([1.0, 3.0, 5.0]), draw.choice([7, 60, 600, 12_345, 1e6])
        ways = [
            (count * one.facts["usd_per_hour"], count, one.deployment)
            for one in tried
            if one.seconds <= limit
            for count in [-(-rate // (one.tps * 60 / one.facts["instance_count"]))]
        ]
        best = advise(tried, SLO(latency_p95_seconds=limit), requests_per_minute=rate).best
        if not ways:
            assert best is None
            continue
        usd_per_hour = min(ways)[0]
        assert best.usd_per_hour == pytest.approx(usd_per_hour)
        # Two types may cost the same to the cent.
        assert any(
            (best.instances, best.instance_type) == (count, name)
            for usd, count, name in ways
            if usd <= usd_per_hour * (1 + 1e-9)
        )
        seen.add(best.instance_type)
    assert len(seen) > 2


loads = st.lists(
    st.builds(
        Tried, st.sampled_from("abc"), st.integers(1, 64), st.floats(0.1, 10), st.floats(0.01, 100),
        st.sampled_from([{}, {"usd_per_hour": 2.0}, {"usd_per_hour": 30.0}]),
    ),
    max_size=12, unique_by=lambda one: (one.deployment, one.concurrency),
)  # fmt: skip


@given(loads, st.floats(0.1, 10), st.floats(1, 10_000))
def test_whatever_was_measured_the_answer_keeps_its_promises(tried, limit, rate):
    advice = advise(tried, SLO(latency_p95_seconds=limit), requests_per_minute=rate)
    by_name = {one.name: one for one in tried}
    assert {candidate.deployment for candidate in advice.candidates} == {one.deployment for one in tried}
    met = [candidate for candidate in advice.candidates if candidate.standing == "met"]
    for candidate in met:
        chosen = by_name[candidate.experiment]
        assert chosen.seconds <= limit
        assert not any(
            one.deployment == candidate.deployment and one.tps > chosen.tps and one.seconds <= limit for one in tried
        )
        assert (
            (candidate.instances - 1) * candidate.requests_per_minute
            < rate
            <= candidate.instances * candidate.requests_per_minute * (1 + 1e-12)
        )
    priced = [candidate.usd_per_hour for candidate in met if candidate.usd_per_hour is not None]
    assert priced == sorted(priced)
    assert (advice.best is None) == (not any(one.seconds <= limit for one in tried))
