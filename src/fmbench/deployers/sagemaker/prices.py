"""The rate of an endpoint: the user's, AWS's own where it may be asked, or the price book's."""

from __future__ import annotations

from datetime import UTC, datetime

from fmbench import ConfigError, HostingPrice, PriceBook, price_in_list, price_list_query
from fmbench.deployers.sagemaker.control import Aws, AwsError

__all__ = ["price_of"]


async def price_of(aws: Aws, instance_type: str) -> HostingPrice:
    """What an instance costs in the region of ``aws``, by AWS's Pricing API; by the price book where that tells nothing."""
    book = PriceBook.shipped().look_up(instance_type, aws.region)
    try:
        listed = await aws.pages("pricing", "get_products", "PriceList", **price_list_query(instance_type, aws.region))
    except (AwsError, ConfigError):
        return book  # not everybody may ask
    today = datetime.now(UTC).date().isoformat()
    price = price_in_list(listed, instance_type=instance_type, region=aws.region, retrieved=today)
    return book if price.usd_per_hour is None else price
