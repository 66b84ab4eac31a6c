"""What SageMaker's instances cost an hour: a dated price book, and AWS's own price list as its API tells it.

``book`` holds the book that is shipped, ``price_list`` reads the answers of AWS's Pricing API; nothing here asks a network.
"""

from __future__ import annotations

from fmbench.pricing.book import HostingPrice, PriceBook
from fmbench.pricing.price_list import price_in_list, price_list_query

__all__ = ["HostingPrice", "PriceBook", "price_in_list", "price_list_query"]
