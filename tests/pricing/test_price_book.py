import json
import re

import pytest

from fmbench import ConfigError, PriceBook, price_in_list, price_list_query

EC2_USD_PER_HOUR = {
    "g5.12xlarge": 5.672,
    "g5.48xlarge": 16.288,
    "inf2.48xlarge": 12.98,
    "p5.48xlarge": 98.32,
    "p4d.24xlarge": 32.77,
}
"""What the same machines cost without SageMaker, in us-east-1: figures that older tables carry under SageMaker's names."""
ROW = {"region": "eu-west-1", "instance_type": "ml.g5.xlarge", "component": "Hosting", "usd_per_hour": 1.5}
ROW |= {"source": "a list", "retrieved": "2026-11-24"}


def product(usd="7.09", **attributes):
    told = {
        "servicecode": "AmazonSageMaker",
        "regionCode": "us-east-1",
        "instanceName": "ml.g5.12xlarge",
        "component": "Hosting",
    }
    dimension = {"unit": "Hrs", "pricePerUnit": {"USD": usd}}
    terms = {"OnDemand": {"A.B": {"effectiveDate": "2026-11-01T00:00:00Z", "priceDimensions": {"A.B.C": dimension}}}}
    return json.dumps({"product": {"attributes": told | attributes}, "terms": terms})


def asked(*products):
    return price_in_list(products, instance_type="ml.g5.12xlarge", region="us-east-1", retrieved="2026-11-24")


def test_the_shipped_book_tells_of_each_price_where_and_when_it_was_read():
    for price in PriceBook.shipped().rows():
        assert price.usd_per_hour > 0
        assert price.source
        assert re.fullmatch(r"20\d\d-\d\d-\d\d", price.retrieved)
        assert isinstance(price.verified, bool)


def test_no_price_of_ec2_passes_for_sagemakers():
    book = PriceBook.shipped()
    for name, usd in EC2_USD_PER_HOUR.items():
        price = book.look_up(f"ml.{name}", "us-east-1").usd_per_hour
        assert price is None or round(price, 2) != round(usd, 2)
    with pytest.raises(ConfigError, match="EC2's prices are others"):
        PriceBook([ROW | {"instance_type": "g5.xlarge"}])
    with pytest.raises(ConfigError, match="a price for Training is not one for Hosting"):
        PriceBook([ROW | {"component": "Training"}])


def test_the_seeds_instances_have_their_prices():
    book = PriceBook.shipped()
    assert book.look_up("ml.inf2.48xlarge", "us-east-1").usd_per_hour == 15.58
    assert book.look_up("ml.g5.12xlarge", "us-east-1").usd_per_hour == 7.09
    assert book.look_up("ml.g5.12xlarge", "us-east-1").verified
    # AWS has cut these since the book's list was read, and only Studio's prices were seen: they are others.
    for name in ("ml.p4d.24xlarge", "ml.p5.48xlarge"):
        assert book.look_up(name, "us-east-1").usd_per_hour is None


def test_an_unknown_price_is_none_with_a_reason():
    price = PriceBook.shipped().look_up("ml.g5.12xlarge", "eu-central-1")
    assert price.usd_per_hour is None
    assert price.reason.startswith("fmbench's price book has no price for ml.g5.12xlarge in eu-central-1")
    assert price.reason.endswith("(it has one for us-east-1); give usd_per_hour")
    assert price.facts() == {"price": {"reason": price.reason, "verified": False}}


def test_a_book_of_ones_own_is_used_as_it_is_and_holds_nothing_twice():
    assert PriceBook([ROW]).look_up("ml.g5.xlarge", "eu-west-1").facts()["usd_per_hour"] == 1.5
    with pytest.raises(ConfigError, match="two prices"):
        PriceBook([ROW, ROW])


def test_the_pricing_apis_one_hosting_price_is_taken():
    price = asked(product(), product("9.99", component="Training"), product("5.672", servicecode="AmazonEC2"))
    assert (price.usd_per_hour, price.verified) == (7.09, True)
    assert price.source == "AWS Pricing API, AmazonSageMaker Hosting, in effect since 2026-11-01"
    assert asked(product(component="x", platoinstancetype="Hosting")).usd_per_hour == 7.09


@pytest.mark.parametrize(
    ("products", "told"),
    [
        ((), "no price"),
        ((product(), product("8.00")), "2 prices"),
        ((product(servicecode="AmazonEC2"),), "no price"),
        ((product(regionCode="us-west-2"),), "no price"),
        ((product(instanceName="ml.g5.24xlarge"),), "no price"),
        ((product("0.0000000000"),), "no price"),
    ],
)
def test_without_exactly_one_hosting_price_there_is_none(products, told):
    price = asked(*products)
    assert price.usd_per_hour is None
    assert told in price.reason


def test_the_question_to_the_pricing_api_fits_its_service_model():
    session = pytest.importorskip("botocore.session")
    from botocore.validate import ParamValidator

    shape = session.Session().get_service_model("pricing").operation_model("GetProducts").input_shape
    report = ParamValidator().validate(price_list_query("ml.g5.12xlarge", "us-east-1"), shape)
    assert not report.has_errors(), report.generate_report()
