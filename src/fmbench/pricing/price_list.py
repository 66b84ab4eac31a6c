"""AWS's Pricing API: what to ask it for, and the one price in its answer.

Source: GetProducts of the AWS Price List Query API. Its answers hold one JSON text for each product of the offer
``AmazonSageMaker``, and of those only the ones for hosting are what endpoints cost.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from fmbench.pricing.book import HOSTING, HostingPrice

__all__ = ["price_in_list", "price_list_query"]

SERVICE = "AmazonSageMaker"
API = "AWS Pricing API"


def price_list_query(instance_type: str, region: str) -> dict[str, Any]:
    """What GetProducts is to be asked: every product of SageMaker's for this type and region."""
    filters = {"regionCode": region, "instanceName": instance_type}
    return {
        "ServiceCode": SERVICE,
        "FormatVersion": "aws_v1",
        "Filters": [{"Type": "TERM_MATCH", "Field": field, "Value": value} for field, value in filters.items()],
    }


def price_in_list(products: Iterable[str], *, instance_type: str, region: str, retrieved: str) -> HostingPrice:
    """The hosting price among GetProducts' ``PriceList``; without a figure where there is not exactly one.

    Args:
        products: The JSON texts of ``PriceList``, of all pages.
        instance_type: Such as ``ml.g5.12xlarge``.
        region: Such as ``us-east-1``.
        retrieved: The day on which they were asked for.
    """
    found: dict[float, str | None] = {}
    for text in products:
        product = orjson.loads(text)
        if _is_hosting(product, instance_type, region):
            found |= dict(_on_demand(product))
    if len(found) != 1:
        told = "no price" if not found else f"{len(found)} prices"
        reason = f"the {API} tells {told} for hosting on {instance_type} in {region}; give usd_per_hour"
        return HostingPrice(instance_type=instance_type, region=region, usd_per_hour=None, reason=reason)
    [(usd, effective)] = found.items()
    since = f", in effect since {effective[:10]}" if effective else ""
    return HostingPrice(
        instance_type=instance_type,
        region=region,
        usd_per_hour=usd,
        source=f"{API}, {SERVICE} {HOSTING}{since}",
        retrieved=retrieved,
        verified=True,
    )


def _is_hosting(product: Mapping[str, Any], instance_type: str, region: str) -> bool:
    """Whether it is what an endpoint on this type costs there. The part is told by one of two attributes."""
    attributes = product.get("product", {}).get("attributes", {})
    service = product.get("serviceCode") or attributes.get("servicecode")
    part = {attributes.get("platoinstancetype"), attributes.get("component")}
    kind = attributes.get("instanceName") or attributes.get("instanceType")
    return service == SERVICE and HOSTING in part and attributes.get("regionCode") == region and kind == instance_type


def _on_demand(product: Mapping[str, Any]) -> Iterator[tuple[float, str | None]]:
    """Prices an hour without reservation, each with the day from which it holds."""
    for offer in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in offer.get("priceDimensions", {}).values():
            usd = dimension.get("pricePerUnit", {}).get("USD")
            if usd is not None and dimension.get("unit") in {"Hrs", "Hours"} and float(usd) > 0:
                yield float(usd), offer.get("effectiveDate")
