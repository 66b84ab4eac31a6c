"""The Pricing API. Its figures are the shipped price book's; what is not for hosting is made up, to be told from what is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import orjson

from fmbench import PriceBook
from fmbench.simulator.aws.account import Call
from fmbench.simulator.aws.paging import page

__all__ = ["OPERATIONS"]

SERVICE = "AmazonSageMaker"
PARTS = {"Hosting": 1.0, "Notebook": 1.07, "Training": 1.11, "Studio-JupyterLab": 1.13}
"""SageMaker's parts, and what each costs compared to hosting: made up, but for the first."""
EFFECTIVE = "2026-09-01T00:00:00Z"
HOSTED_REGIONS = ("us-east-1", "eu-central-1", "ap-south-1")
"""Where there is a Pricing API."""


def _get_products(call: Call) -> dict[str, Any]:
    wanted = {one["Field"]: one["Value"] for one in call.given.get("Filters", ())}
    products: list[str] = []
    if call.given["ServiceCode"] == SERVICE:
        products = [text for text in _products(call, wanted) if text]
    shown, token = page(
        products, call.given.get("MaxResults", 100), call.given.get("NextToken"), call.account.options.page_size
    )
    told: dict[str, Any] = {"FormatVersion": "aws_v1", "PriceList": list(shown)}
    return told if token is None else {**told, "NextToken": token}


def _products(call: Call, wanted: Mapping[str, str]) -> Iterator[str]:
    region = wanted.get("regionCode", call.account.options.region)
    named = wanted.get("instanceName")
    kinds = sorted(call.account.shapes.values("sagemaker", "ProductionVariantInstanceType")) if named is None else [named]
    for kind in kinds:
        rate = PriceBook.shipped().look_up(kind, region).usd_per_hour
        if rate is None:
            continue
        for part, times in PARTS.items():
            attributes = {
                "servicecode": SERVICE,
                "servicename": "Amazon SageMaker",
                "regionCode": region,
                "instanceName": kind,
                "instanceType": f"{kind.removeprefix('ml.')}-{part}",
                "platoinstancename": kind,
                "platoinstancetype": part,
                "component": part,
                "operation": "RunInstance",
                "usagetype": f"{region}-{part}:{kind}",
            }
            if all(attributes.get(field) == value for field, value in wanted.items()):
                yield _product(attributes, rate * times)


def _product(attributes: Mapping[str, str], usd: float) -> str:
    sku = "OFFLINE" + "".join(filter(str.isalnum, attributes["usagetype"])).upper()
    dimension = {
        "unit": "Hrs",
        "beginRange": "0",
        "endRange": "Inf",
        "description": f"made up: ${usd:.4f} per hour of {attributes['usagetype']}",
        "appliesTo": [],
        "rateCode": f"{sku}.OFFER.RATE",
        "pricePerUnit": {"USD": f"{usd:.10f}"},
    }
    offer = {
        "priceDimensions": {f"{sku}.OFFER.RATE": dimension},
        "sku": sku,
        "effectiveDate": EFFECTIVE,
        "offerTermCode": "OFFER",
        "termAttributes": {},
    }
    product = {"productFamily": "ML Instance", "attributes": attributes, "sku": sku}
    terms = {"OnDemand": {f"{sku}.OFFER": offer}}
    told = {"product": product, "serviceCode": SERVICE, "terms": terms, "version": "offline", "publicationDate": EFFECTIVE}
    return orjson.dumps(told).decode()


OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {"GetProducts": _get_products}
"""The Pricing API's."""
