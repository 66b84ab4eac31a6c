"""Who the caller is, which roles there are, and how many instances the account may have: STS, IAM, Service Quotas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fmbench.simulator.aws.account import Call
from fmbench.simulator.aws.options import ACCOUNT
from fmbench.simulator.aws.paging import page
from fmbench.simulator.aws.problems import AwsError

__all__ = ["IAM_OPERATIONS", "QUOTA_OPERATIONS", "ROLE", "STS_OPERATIONS"]

ROLE = "offline-execution-role"
"""The one role; every caller is a session of it, as in a notebook of SageMaker's."""


def _caller(call: Call) -> dict[str, Any]:  # noqa: ARG001 - an operation's
    arn = f"arn:aws:sts::{ACCOUNT}:assumed-role/{ROLE}/offline"
    return {"Arn": arn, "UserId": "AROAOFFLINE000000000:offline", "Account": ACCOUNT}


def _role(call: Call) -> dict[str, Any]:
    name = call.given.get("RoleName")
    if name != ROLE:
        raise AwsError("NoSuchEntity", f"The role with name {name} cannot be found.", 404)
    role = {"Path": "/", "RoleName": name, "RoleId": "AROAOFFLINE000000000", "Arn": f"arn:aws:iam::{ACCOUNT}:role/{name}"}
    return {"Role": {**role, "CreateDate": "2026-01-01T00:00:00Z"}}


def _quotas(call: Call) -> dict[str, Any]:
    if call.given["ServiceCode"] != "sagemaker":
        raise AwsError("NoSuchResourceException", "The request failed because the specified service does not exist.")
    options = call.account.options
    kinds = sorted(call.account.shapes.values("sagemaker", "ProductionVariantInstanceType"))
    quotas = [
        {
            "ServiceCode": "sagemaker",
            "ServiceName": "Amazon SageMaker",
            "QuotaCode": f"L-{number:08X}",
            "QuotaName": f"{kind} for endpoint usage",
            "QuotaArn": f"arn:aws:servicequotas:{call.region}:{ACCOUNT}:sagemaker/L-{number:08X}",
            "Value": float(options.quotas.get(kind, options.quota)),
            "Unit": "None",
            "Adjustable": True,
            "GlobalQuota": False,
        }
        for number, kind in enumerate(kinds)
    ]
    shown, token = page(quotas, call.given.get("MaxResults", 100), call.given.get("NextToken"), 100)
    return {"Quotas": list(shown)} | ({} if token is None else {"NextToken": token})


STS_OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {"GetCallerIdentity": _caller}
"""STS's."""
IAM_OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {"GetRole": _role}
"""IAM's."""
QUOTA_OPERATIONS: dict[str, Callable[[Call], dict[str, Any]]] = {"ListServiceQuotas": _quotas}
"""Service Quotas'."""
