import pytest

from fmbench.metrics import Prices, money, usd_of_time

S = 1_000_000_000


@pytest.fixture
def sample(make_record, make_sample):
    rows = [
        make_record(id=str(n), due_ns=n * S, sent_ns=n * S, arrivals_ns=[(n + 1) * S], completion_tokens=20, prompt_tokens=100)
        for n in range(4)
    ]
    return make_sample(rows, [(0, 8 * S)])


def test_time_costs_rate_times_instances_times_hours():
    assert usd_of_time(7.2, 2, 1800) == pytest.approx(7.2)


def test_per_thousand_requests_and_million_tokens_by_the_hour(sample):
    prices = Prices(usd_per_hour=3.6, instances=2)
    assert money.usd_per_1000_requests(sample, prices).value == pytest.approx(2 * 0.001 / 0.5 * 1000)
    assert money.usd_per_million_output_tokens(sample, prices).value == pytest.approx(2 * 0.001 / 10 * 1e6)


def test_per_thousand_requests_and_million_tokens_by_tokens(sample):
    prices = Prices(usd_per_million_input_tokens=1, usd_per_million_output_tokens=10)
    assert money.usd_per_1000_requests(sample, prices).value == pytest.approx((100 * 1 + 20 * 10) / 1e6 * 1000)
    assert money.usd_per_million_output_tokens(sample, prices).value == pytest.approx(300 / 20)


def test_prices_come_from_the_facts_and_one_instance_is_meant_unless_told():
    assert Prices.of({"usd_per_hour": 2.0}) == Prices(usd_per_hour=2.0, instances=1)
    assert Prices.of({"usd_per_hour": 2.0, "instance_count": 3}).instances == 3
    assert Prices.of({}).by_tokens is False
    assert Prices.of({"usd_per_million_input_tokens": 0, "usd_per_million_output_tokens": 0}).by_tokens is True


def test_what_cannot_be_known_is_none_with_a_reason(sample, make_record, make_sample):
    unpriced = money.usd_per_1000_requests(sample, Prices())
    assert unpriced.value is None
    assert "usd_per_hour" in unpriced.reason
    half = money.usd_per_1000_requests(sample, Prices(usd_per_million_input_tokens=1))
    assert half.value is None
    failed = make_sample([make_record(due_ns=0, status="error", end_ns=S)])
    for prices in (Prices(usd_per_hour=1), Prices(usd_per_million_input_tokens=1, usd_per_million_output_tokens=1)):
        for find in (money.usd_per_1000_requests, money.usd_per_million_output_tokens):
            found = find(failed, prices)
            assert found.value is None
            assert found.reason


def test_uncounted_tokens_have_no_price(make_record, make_sample):
    sample = make_sample([make_record(due_ns=0, sent_ns=0, arrivals_ns=[S], prompt_tokens=None)])
    found = money.usd_per_1000_requests(sample, Prices(usd_per_million_input_tokens=1, usd_per_million_output_tokens=1))
    assert (found.value, found.reason) == (None, "some requests' tokens were not counted")
